SELECT * FROM webhooks
WHERE project = :project AND deleted_at IS NULL AND only_batch IS NULL AND (:form IS NULL OR form = :form)
  AND (created_at, position) < (:created_at, :position)
ORDER BY created_at DESC, position DESC
LIMIT :limit
