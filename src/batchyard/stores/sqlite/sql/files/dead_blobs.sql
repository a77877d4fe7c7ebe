SELECT blob FROM files
WHERE deleted_at IS NOT NULL AND blob IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM batches WHERE ended = 0 AND input_blob = files.blob)
  AND NOT EXISTS (    -- a retry that has not been gathered yet
    SELECT 1 FROM batches AS retry JOIN batches AS retried ON retried.id = retry.retry_of
    WHERE retry.ended = 0 AND retry.input_blob = retried.input_blob AND files.id = COALESCE(retried.error_file_id, retried.output_file_id)
  )
ORDER BY position
LIMIT :limit
