INSERT INTO webhooks (
    id, project, name, url, event_kinds, secrets, created_at, updated_at, form, enabled, only_batch
)
VALUES (
    :id, :project, :name, :url, :event_kinds, :secrets, :created_at, :updated_at, :form, :enabled, :only_batch
)
