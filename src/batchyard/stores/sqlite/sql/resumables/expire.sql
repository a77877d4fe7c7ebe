UPDATE resumables SET state = 'expired' WHERE state = 'pending' AND expires_at <= :at
