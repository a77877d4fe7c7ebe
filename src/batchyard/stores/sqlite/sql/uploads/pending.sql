SELECT COUNT(parts.id) AS parts
FROM uploads LEFT JOIN parts ON parts.upload_id = uploads.id
WHERE uploads.project = :project AND uploads.id = :id AND uploads.state = 'pending' AND uploads.expires_at > :at
GROUP BY uploads.id
