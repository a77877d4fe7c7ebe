SELECT webhooks.id FROM deliveries JOIN webhooks ON webhooks.id = deliveries.endpoint_id
WHERE state <> 'pending' AND due_at < :before AND only_batch IS NOT NULL
