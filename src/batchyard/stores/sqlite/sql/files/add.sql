INSERT INTO files (id, project, filename, purpose, bytes, created_at, expires_at, status, sha256, blob)
VALUES (:id, :project, :filename, :purpose, :bytes, :created_at, :expires_at, :status, :sha256, :blob)
