UPDATE resumables SET state = 'completed', received = :received
WHERE project = :project AND id = :id AND state = 'pending' AND expires_at > :at
