UPDATE webhooks SET deleted_at = :at, secrets = '[]'
WHERE project = :project AND id = :id AND deleted_at IS NULL AND only_batch IS NULL
