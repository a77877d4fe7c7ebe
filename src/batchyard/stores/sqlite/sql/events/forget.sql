DELETE FROM events WHERE at < :before
