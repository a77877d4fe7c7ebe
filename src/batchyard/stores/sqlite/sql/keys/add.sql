INSERT INTO keys (id, project, name, role, prefix, hash, created_at, expires_at, revoked_at, last_used_at)
VALUES (:id, :project, :name, :role, :prefix, :hash, :created_at, :expires_at, :revoked_at, :last_used_at)
