SELECT created_at, position FROM batches WHERE project = :project AND id = :id
