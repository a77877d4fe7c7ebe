SELECT * FROM batches
WHERE project = :project AND (created_at, position) < (:created_at, :position)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
  AND (:created_from IS NULL OR created_at >= :created_from)
  AND (:created_until IS NULL OR created_at <= :created_until)
ORDER BY created_at DESC, position DESC
LIMIT :limit
