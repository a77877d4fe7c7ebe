DELETE FROM parts
WHERE id IN (SELECT value FROM json_each(:ids))
  AND EXISTS (SELECT 1 FROM uploads WHERE uploads.id = parts.upload_id AND uploads.state <> 'pending')
