DELETE FROM parts
WHERE id IN (SELECT value FROM json_each(:ids))
  AND upload_id IN (SELECT id FROM uploads WHERE state <> 'pending')
