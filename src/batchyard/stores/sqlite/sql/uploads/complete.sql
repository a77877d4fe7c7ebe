UPDATE uploads SET state = 'completed', file_id = :file_id, part_ids = :part_ids
WHERE project = :project AND id = :id AND state = 'pending' AND expires_at > :at
RETURNING *
