SELECT * FROM webhooks
WHERE project = :project AND deleted_at IS NULL AND (created_at, position) > (:created_at, :position)
ORDER BY created_at, position
LIMIT :limit
