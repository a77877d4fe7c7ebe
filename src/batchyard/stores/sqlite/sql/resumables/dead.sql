SELECT * FROM resumables WHERE state IN ('cancelled', 'expired') ORDER BY position LIMIT :limit
