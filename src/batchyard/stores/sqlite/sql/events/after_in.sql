SELECT * FROM events INDEXED BY events_of_project
WHERE project = :project AND number > :number
ORDER BY number
LIMIT :limit
