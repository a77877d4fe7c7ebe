SELECT * FROM spending
WHERE day >= :first AND day < :end AND (:project IS NULL OR project = :project)
ORDER BY day, project, model, batch, currency
