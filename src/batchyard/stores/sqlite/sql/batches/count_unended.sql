SELECT COUNT(*) AS batches FROM batches WHERE ended = 0 AND project = :project AND deleted_at IS NULL
