-- What uploaders call their files, and callers their batches; batches that came without a file, and deleted ones.

ALTER TABLE files ADD COLUMN name TEXT;
ALTER TABLE files ADD COLUMN display_name TEXT;
ALTER TABLE files ADD COLUMN mime_type TEXT;

CREATE UNIQUE INDEX files_by_name ON files (project, name) WHERE deleted_at IS NULL AND name IS NOT NULL;

ALTER TABLE batches ADD COLUMN asked_model TEXT;
ALTER TABLE batches ADD COLUMN display_name TEXT;
ALTER TABLE batches ADD COLUMN inline INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN deleted_at INTEGER;
