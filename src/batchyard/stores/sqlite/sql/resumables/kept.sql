-- Bytes of a project's unfinished resumables, but for one.
SELECT COALESCE(SUM(received), 0) AS bytes
FROM resumables
WHERE project = :project AND state = 'pending' AND expires_at > :at AND id IS NOT :but
