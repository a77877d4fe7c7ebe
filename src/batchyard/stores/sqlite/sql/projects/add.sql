INSERT INTO projects (id, name, created_at) VALUES (:id, :name, :created_at)
ON CONFLICT DO NOTHING
