SELECT MIN(endpoint_id) AS id FROM deliveries WHERE state = 'pending' AND endpoint_id > :after
