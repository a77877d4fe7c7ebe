UPDATE keys SET expires_at = MIN(COALESCE(expires_at, :expires_at), :expires_at)
WHERE project = :project AND id = :id AND revoked_at IS NULL
