-- What projects have spent. `currency` is empty where the model had no price; then `nanos` is 0.

ALTER TABLE batches ADD COLUMN currency TEXT;

CREATE TABLE spending (
    day              INTEGER NOT NULL,
    project          TEXT    NOT NULL REFERENCES projects (id),
    model            TEXT    NOT NULL,
    batch            INTEGER NOT NULL,
    currency         TEXT    NOT NULL,
    requests         INTEGER NOT NULL,
    input_tokens     INTEGER NOT NULL,
    output_tokens    INTEGER NOT NULL,
    cached_tokens    INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    nanos            INTEGER NOT NULL,
    PRIMARY KEY (day, project, model, batch, currency)
) STRICT, WITHOUT ROWID;
