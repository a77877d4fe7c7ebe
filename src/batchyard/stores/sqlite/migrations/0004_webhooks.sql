-- Who wants to hear of events, and what is on its way to them. A deleted endpoint keeps its row, without its secrets, as
-- the place of a cursor. A delivery holds its event whole, because events are forgotten after a while.

CREATE TABLE webhooks (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    project     TEXT    NOT NULL REFERENCES projects (id),
    name        TEXT    NOT NULL,
    url         TEXT    NOT NULL,
    event_kinds TEXT    NOT NULL,    -- JSON array
    secrets     TEXT    NOT NULL,    -- JSON array; as they are, because they sign
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    deleted_at  INTEGER
) STRICT;

CREATE INDEX webhooks_of_project ON webhooks (project, created_at) WHERE deleted_at IS NULL;

CREATE TABLE deliveries (
    event_id    TEXT    NOT NULL,
    endpoint_id TEXT    NOT NULL REFERENCES webhooks (id),
    project     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    batch_id    TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending',
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    first_at    INTEGER,
    status      INTEGER,
    PRIMARY KEY (endpoint_id, event_id)
) STRICT;

CREATE INDEX deliveries_pending ON deliveries (endpoint_id, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_ended ON deliveries (due_at) WHERE state <> 'pending';
CREATE INDEX events_by_time ON events (at);
