SELECT
    COALESCE(SUM(enqueued_tokens), 0) AS tokens,
    COALESCE(SUM(enqueued_tokens) FILTER (WHERE model = :model), 0) AS of_model
FROM batches WHERE ended = 0 AND project = :project
