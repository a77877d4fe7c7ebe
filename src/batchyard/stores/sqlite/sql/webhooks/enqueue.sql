-- One delivery of an event for each endpoint that wants its kind, in the transaction that writes the event. A batch's own
-- hooks stand for the endpoints of their form.
INSERT INTO deliveries (event_id, endpoint_id, project, kind, batch_id, at, due_at)
SELECT :id, webhooks.id, :project, :kind, :batch_id, :at, :at FROM webhooks
WHERE webhooks.project = :project AND deleted_at IS NULL AND only_batch IS NULL AND enabled
  AND :kind IN (SELECT value FROM json_each(event_kinds))
  AND NOT EXISTS (SELECT 1 FROM webhooks AS hooks WHERE hooks.only_batch = :batch_id AND hooks.form = webhooks.form)
UNION ALL
SELECT :id, webhooks.id, :project, :kind, :batch_id, :at, :at FROM webhooks
WHERE only_batch = :batch_id AND :kind IN (SELECT value FROM json_each(event_kinds))
