INSERT INTO once (project, call, key, digest, made) VALUES (:project, :call, :key, :digest, :made)
