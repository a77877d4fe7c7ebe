SELECT * FROM files
WHERE project = :project AND name = :name AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > :at)
