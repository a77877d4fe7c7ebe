-- A name is free again as soon as its file has expired, swept or not.
UPDATE files SET deleted_at = :at
WHERE project = :project AND name = :name AND deleted_at IS NULL AND expires_at <= :at
