SELECT * FROM batches WHERE project = :project AND id = :id
