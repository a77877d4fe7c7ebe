SELECT created_at, position FROM webhooks WHERE project = :project AND id = :id AND only_batch IS NULL
