SELECT * FROM keys WHERE project = :project AND id = :id
