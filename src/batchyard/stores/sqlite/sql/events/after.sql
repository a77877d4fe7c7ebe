SELECT * FROM events
WHERE number > :number AND (:project IS NULL OR project = :project)
ORDER BY number
LIMIT :limit
