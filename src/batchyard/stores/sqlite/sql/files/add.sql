INSERT INTO files (
    id, project, filename, purpose, bytes, created_at, expires_at, status, sha256, blob, name, display_name, mime_type
)
VALUES (
    :id, :project, :filename, :purpose, :bytes, :created_at, :expires_at, :status, :sha256, :blob, :name, :display_name,
    :mime_type
)
