SELECT retry.input_blob, files.blob AS result_blob
FROM batches AS retry
JOIN batches AS retried ON retried.id = retry.retry_of
LEFT JOIN files ON files.id = COALESCE(retried.error_file_id, retried.output_file_id)
WHERE retry.id = :id AND (retry.input_blob IS NULL OR retry.input_blob = retried.input_blob)
