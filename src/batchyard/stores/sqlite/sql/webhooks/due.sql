SELECT deliveries.*, name, url, event_kinds, secrets, created_at, updated_at, form, enabled, only_batch
FROM deliveries JOIN webhooks ON webhooks.id = deliveries.endpoint_id
WHERE endpoint_id = :endpoint_id AND state = 'pending' AND due_at <= :at AND enabled
ORDER BY due_at
LIMIT :each
