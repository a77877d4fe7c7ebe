INSERT INTO parts (id, upload_id, bytes, created_at, blob) VALUES (:id, :upload_id, :bytes, :created_at, :blob)
