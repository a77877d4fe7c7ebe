UPDATE resumables SET state = 'cancelled'
WHERE project = :project AND id = :id AND state = 'pending' AND expires_at > :at
RETURNING *
