INSERT INTO resumables (
    id, project, key_id, secret_hash, file_id, blob, filename, purpose, name, display_name, mime_type, bytes, received,
    created_at, expires_at, file_expires_after_seconds, state
)
VALUES (
    :id, :project, :key_id, :secret_hash, :file_id, :blob, :filename, :purpose, :name, :display_name, :mime_type, :bytes,
    :received, :created_at, :expires_at, :file_expires_after_seconds, :state
)
