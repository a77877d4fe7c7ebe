SELECT COUNT(*) FILTER (WHERE purpose NOT IN ('batch_output', 'batch_inline')) AS files, COALESCE(SUM(bytes), 0) AS bytes
FROM files
WHERE project = :project AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > :at)
