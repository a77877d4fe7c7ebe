UPDATE files SET blob = NULL
WHERE deleted_at IS NOT NULL AND blob IN (SELECT value FROM json_each(:blobs))
