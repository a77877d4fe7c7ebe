-- One delivery of an event for each endpoint that wants its kind, in the transaction that writes the event.
INSERT INTO deliveries (event_id, endpoint_id, project, kind, batch_id, at, due_at)
SELECT :id, webhooks.id, :project, :kind, :batch_id, :at, :at FROM webhooks
WHERE webhooks.project = :project AND deleted_at IS NULL AND :kind IN (SELECT value FROM json_each(event_kinds))
