SELECT parts.* FROM parts JOIN uploads ON uploads.id = parts.upload_id
WHERE uploads.state <> 'pending'
ORDER BY parts.position
LIMIT :limit
