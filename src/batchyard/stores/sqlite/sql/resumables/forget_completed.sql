DELETE FROM resumables WHERE state = 'completed' AND expires_at <= :at
