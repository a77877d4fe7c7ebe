SELECT * FROM uploads WHERE project = :project AND id = :id
