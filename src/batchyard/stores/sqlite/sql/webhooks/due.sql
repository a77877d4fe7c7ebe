SELECT deliveries.*, name, url, event_kinds, secrets, created_at, updated_at
FROM deliveries JOIN webhooks ON webhooks.id = deliveries.endpoint_id
WHERE endpoint_id = :endpoint_id AND state = 'pending' AND due_at <= :at
ORDER BY due_at
LIMIT :each
