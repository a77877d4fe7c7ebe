SELECT blob, bytes, sha256 FROM files WHERE deleted_at IS NULL AND blob IS NOT NULL
UNION
SELECT input_blob, NULL, NULL FROM batches
WHERE ended = 0 AND input_blob IS NOT NULL
  AND input_blob NOT IN (SELECT blob FROM files WHERE deleted_at IS NULL AND blob IS NOT NULL)
UNION
SELECT parts.blob, parts.bytes, NULL FROM parts JOIN uploads ON uploads.id = parts.upload_id
WHERE uploads.state = 'pending'
UNION
SELECT files.blob, files.bytes, files.sha256
FROM batches AS retry
JOIN batches AS retried ON retried.id = retry.retry_of
JOIN files ON files.id = retried.error_file_id
WHERE retry.ended = 0 AND retry.input_blob = retried.input_blob AND files.deleted_at IS NOT NULL AND files.blob IS NOT NULL
