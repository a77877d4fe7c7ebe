SELECT COUNT(*) AS webhooks FROM webhooks WHERE project = :project AND deleted_at IS NULL AND only_batch IS NULL
