SELECT MIN(endpoint_id) AS id FROM deliveries WHERE state = 'pending' AND due_at <= :at AND endpoint_id > :after
