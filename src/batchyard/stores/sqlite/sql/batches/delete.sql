UPDATE batches SET deleted_at = :at WHERE project = :project AND id = :id AND deleted_at IS NULL
RETURNING *
