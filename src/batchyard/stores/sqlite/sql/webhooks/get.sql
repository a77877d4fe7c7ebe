SELECT * FROM webhooks WHERE project = :project AND id = :id AND deleted_at IS NULL AND only_batch IS NULL
