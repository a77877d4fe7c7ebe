SELECT * FROM batches
WHERE project = :project AND deleted_at IS NULL AND (created_at, position) < (:created_at, :position)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
  AND (:forms IS NULL OR form IN (SELECT value FROM json_each(:forms)))
  AND (:created_from IS NULL OR created_at >= :created_from)
  AND (:created_until IS NULL OR created_at <= :created_until)
ORDER BY created_at DESC, position DESC
LIMIT :limit
