INSERT INTO spending (
    day, project, model, batch, currency, requests, input_tokens, output_tokens, cached_tokens, reasoning_tokens, nanos
)
VALUES (
    :day, :project, :model, :batch, :currency, :requests, :input_tokens, :output_tokens, :cached_tokens,
    :reasoning_tokens, :nanos
)
ON CONFLICT (day, project, model, batch, currency) DO UPDATE SET
    requests = requests + excluded.requests,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    nanos = nanos + excluded.nanos
