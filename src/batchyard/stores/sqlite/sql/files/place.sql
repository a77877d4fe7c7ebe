SELECT created_at, position FROM files WHERE project = :project AND id = :id
