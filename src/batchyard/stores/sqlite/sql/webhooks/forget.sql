DELETE FROM deliveries WHERE state <> 'pending' AND due_at < :before
