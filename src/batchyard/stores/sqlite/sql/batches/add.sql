INSERT INTO batches (
    id, project, key_id, form, endpoint, input_file_id, input_blob, completion_window, window_seconds, metadata,
    output_expires_after_seconds, state, created_at, expires_at, deadline_at, in_progress_at, finalizing_at,
    completed_at, failed_at, expired_at, cancelling_at, cancelled_at, model, counts, usage, errors, error_count,
    output_file_id, error_file_id, retry_of, priority, enqueued_tokens, cost_nanos, currency, asked_model, display_name,
    inline, deleted_at, hooks
)
VALUES (
    :id, :project, :key_id, :form, :endpoint, :input_file_id, :input_blob, :completion_window, :window_seconds, :metadata,
    :output_expires_after_seconds, :state, :created_at, :expires_at, :deadline_at, :in_progress_at, :finalizing_at,
    :completed_at, :failed_at, :expired_at, :cancelling_at, :cancelled_at, :model, :counts, :usage, :errors, :error_count,
    :output_file_id, :error_file_id, :retry_of, :priority, :enqueued_tokens, :cost_nanos, :currency, :asked_model,
    :display_name, :inline, :deleted_at, :hooks
)
