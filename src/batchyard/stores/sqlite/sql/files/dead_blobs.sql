SELECT blob FROM files
WHERE deleted_at IS NOT NULL AND blob IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM batches WHERE ended = 0 AND input_blob = files.blob)
ORDER BY position
LIMIT :limit
