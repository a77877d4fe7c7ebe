-- Deleted or not: what an idempotency key has made stays its answer.
SELECT id, project, filename, purpose, bytes, created_at, expires_at, status, sha256, COALESCE(blob, '') AS blob, name,
    display_name, mime_type
FROM files
WHERE project = :project AND id = :id
