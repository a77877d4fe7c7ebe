SELECT id, name, created_at FROM projects ORDER BY position
