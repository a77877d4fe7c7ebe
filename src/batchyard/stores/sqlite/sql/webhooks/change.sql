UPDATE webhooks
SET name = :name, url = :url, event_kinds = :event_kinds, secrets = :secrets, enabled = :enabled,
    updated_at = :updated_at
WHERE project = :project AND id = :id AND deleted_at IS NULL
