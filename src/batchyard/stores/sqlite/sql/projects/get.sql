SELECT id, name, created_at FROM projects WHERE id = :id
