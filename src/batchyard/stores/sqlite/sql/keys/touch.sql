UPDATE keys SET last_used_at = MAX(COALESCE(last_used_at, :at), :at) WHERE id = :id
