-- What a batch costs and may cost, what it was made from, and how urgent its owner calls it.

ALTER TABLE batches ADD COLUMN retry_of TEXT REFERENCES batches (id);
ALTER TABLE batches ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN enqueued_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN cost_nanos INTEGER;
