UPDATE batches SET input_blob = :input_blob
WHERE id = :id AND ended = 0
  AND input_blob = (SELECT retried.input_blob FROM batches AS retried WHERE retried.id = batches.retry_of)
