SELECT * FROM resumables WHERE secret_hash = :secret_hash
