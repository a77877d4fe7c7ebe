UPDATE files SET deleted_at = :at
WHERE project = :project AND id = :id AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > :at)
RETURNING *
