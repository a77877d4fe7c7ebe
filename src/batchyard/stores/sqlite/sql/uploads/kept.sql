-- Bytes of the parts of a project's unfinished uploads, but for one.
SELECT COALESCE(SUM(parts.bytes), 0) AS bytes
FROM uploads JOIN parts ON parts.upload_id = uploads.id
WHERE uploads.project = :project AND uploads.state = 'pending' AND uploads.expires_at > :at
  AND uploads.id IS NOT :but
