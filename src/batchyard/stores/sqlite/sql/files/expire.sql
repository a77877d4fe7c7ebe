UPDATE files SET deleted_at = :at WHERE deleted_at IS NULL AND expires_at <= :at
