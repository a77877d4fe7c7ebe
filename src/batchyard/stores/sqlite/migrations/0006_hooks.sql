-- On which wire an endpoint was made, whether it is told anything, and the batch that it is the own hook of.

ALTER TABLE webhooks ADD COLUMN form TEXT NOT NULL DEFAULT 'openai';
ALTER TABLE webhooks ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1;
ALTER TABLE webhooks ADD COLUMN only_batch TEXT;

DROP INDEX webhooks_of_project;
CREATE INDEX webhooks_of_project ON webhooks (project, created_at) WHERE deleted_at IS NULL AND only_batch IS NULL;
CREATE INDEX webhooks_of_batch ON webhooks (only_batch) WHERE only_batch IS NOT NULL;

ALTER TABLE batches ADD COLUMN hooks TEXT;    -- JSON object
