DELETE FROM resumables
WHERE id IN (SELECT value FROM json_each(:ids)) AND state IN ('cancelled', 'expired')
