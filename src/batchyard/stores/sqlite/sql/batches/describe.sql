UPDATE batches SET display_name = :display_name, priority = :priority
WHERE project = :project AND id = :id AND deleted_at IS NULL AND ended = 0
RETURNING *
