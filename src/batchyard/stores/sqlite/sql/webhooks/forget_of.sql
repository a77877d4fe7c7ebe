DELETE FROM deliveries WHERE endpoint_id = :id
