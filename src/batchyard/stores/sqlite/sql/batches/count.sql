UPDATE batches SET counts = :counts, usage = :usage WHERE id = :id AND ended = 0
