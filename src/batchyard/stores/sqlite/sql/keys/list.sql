SELECT * FROM keys WHERE project = :project ORDER BY position
