UPDATE deliveries
SET state = :state, attempts = :attempts, due_at = :due_at, first_at = :first_at, status = :status
WHERE event_id = :event_id AND endpoint_id = :endpoint_id AND state = 'pending'
