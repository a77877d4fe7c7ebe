SELECT value AS blob FROM json_each(:blobs)
WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.blob = value)
  AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.blob = value)
  AND NOT EXISTS (SELECT 1 FROM resumables WHERE resumables.blob = value)
