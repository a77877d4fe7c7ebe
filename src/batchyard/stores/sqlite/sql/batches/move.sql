UPDATE batches SET
    state = :state, ended = :ended, in_progress_at = :in_progress_at, finalizing_at = :finalizing_at,
    completed_at = :completed_at, failed_at = :failed_at, expired_at = :expired_at, cancelling_at = :cancelling_at,
    cancelled_at = :cancelled_at, model = :model, errors = :errors, error_count = :error_count,
    output_file_id = :output_file_id, error_file_id = :error_file_id,
    enqueued_tokens = :enqueued_tokens, cost_nanos = :cost_nanos, currency = :currency,
    counts = iif(:ended, :counts, counts), usage = iif(:ended, :usage, usage)
WHERE project = :project AND id = :id AND state = :before
