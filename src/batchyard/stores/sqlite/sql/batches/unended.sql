SELECT * FROM batches WHERE ended = 0 ORDER BY position
