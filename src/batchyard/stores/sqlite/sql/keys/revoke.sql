UPDATE keys SET revoked_at = COALESCE(revoked_at, :at) WHERE project = :project AND id = :id
RETURNING *
