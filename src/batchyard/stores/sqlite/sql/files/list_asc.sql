SELECT * FROM files
WHERE project = :project AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > :at)
  AND (created_at, position) > (:created_at, :position)
  AND (:purpose IS NULL OR purpose = :purpose) AND purpose <> 'batch_inline'
ORDER BY created_at, position
LIMIT :limit
