SELECT * FROM keys WHERE prefix = :prefix
