-- The first schema. `position` is the order of insertion: it breaks ties between equal times of creation, and it stays
-- when the thing itself is gone, so that a cursor goes on from there.

CREATE TABLE projects (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    project      TEXT    NOT NULL REFERENCES projects (id),
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    prefix       TEXT    NOT NULL UNIQUE,
    hash         BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE INDEX keys_of_project ON keys (project);

CREATE TABLE files (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    project    TEXT    NOT NULL REFERENCES projects (id),
    filename   TEXT    NOT NULL,
    purpose    TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    status     TEXT    NOT NULL,
    sha256     TEXT    NOT NULL,
    blob       TEXT,    -- null once the bytes of a deleted file are gone
    deleted_at INTEGER
) STRICT;

CREATE INDEX files_of_project ON files (project, created_at) WHERE deleted_at IS NULL;
CREATE INDEX files_to_expire ON files (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX files_to_remove ON files (position) WHERE deleted_at IS NOT NULL AND blob IS NOT NULL;
CREATE INDEX files_by_blob ON files (blob) WHERE blob IS NOT NULL;

CREATE TABLE uploads (
    position                   INTEGER PRIMARY KEY AUTOINCREMENT,
    id                         TEXT    NOT NULL UNIQUE,
    project                    TEXT    NOT NULL REFERENCES projects (id),
    filename                   TEXT    NOT NULL,
    purpose                    TEXT    NOT NULL,
    mime_type                  TEXT    NOT NULL,
    bytes                      INTEGER NOT NULL,
    created_at                 INTEGER NOT NULL,
    expires_at                 INTEGER NOT NULL,
    file_expires_after_seconds INTEGER,
    state                      TEXT    NOT NULL,
    file_id                    TEXT    REFERENCES files (id),
    part_ids                   TEXT    NOT NULL
) STRICT;

CREATE INDEX uploads_pending ON uploads (project, expires_at) WHERE state = 'pending';
CREATE INDEX uploads_by_file ON uploads (file_id) WHERE file_id IS NOT NULL;

CREATE TABLE parts (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    upload_id  TEXT    NOT NULL REFERENCES uploads (id),
    bytes      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    blob       TEXT    NOT NULL UNIQUE
) STRICT;

CREATE INDEX parts_of_upload ON parts (upload_id);

CREATE TABLE batches (
    position                     INTEGER PRIMARY KEY AUTOINCREMENT,
    id                           TEXT    NOT NULL UNIQUE,
    project                      TEXT    NOT NULL REFERENCES projects (id),
    key_id                       TEXT    REFERENCES keys (id),
    form                         TEXT    NOT NULL,
    endpoint                     TEXT    NOT NULL,
    input_file_id                TEXT    NOT NULL,    -- no reference: a batch may name a file that never was, and fails
    input_blob                   TEXT,
    completion_window            TEXT    NOT NULL,
    window_seconds               INTEGER NOT NULL,
    metadata                     TEXT,                -- JSON object
    output_expires_after_seconds INTEGER NOT NULL,
    state                        TEXT    NOT NULL,
    ended                        INTEGER NOT NULL DEFAULT 0,
    created_at                   INTEGER NOT NULL,
    expires_at                   INTEGER NOT NULL,
    deadline_at                  INTEGER,
    in_progress_at               INTEGER,
    finalizing_at                INTEGER,
    completed_at                 INTEGER,
    failed_at                    INTEGER,
    expired_at                   INTEGER,
    cancelling_at                INTEGER,
    cancelled_at                 INTEGER,
    model                        TEXT,
    counts                       TEXT    NOT NULL,    -- JSON object
    usage                        TEXT    NOT NULL,    -- JSON object
    errors                       TEXT    NOT NULL,    -- JSON array
    error_count                  INTEGER NOT NULL,
    output_file_id               TEXT    REFERENCES files (id),
    error_file_id                TEXT    REFERENCES files (id)
) STRICT;

CREATE INDEX batches_of_project ON batches (project, created_at);
CREATE INDEX batches_unended ON batches (position) WHERE ended = 0;
CREATE INDEX batches_unended_of_project ON batches (project) WHERE ended = 0;
CREATE INDEX batches_reading ON batches (input_blob) WHERE ended = 0 AND input_blob IS NOT NULL;

CREATE TABLE events (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL UNIQUE,
    project  TEXT    NOT NULL REFERENCES projects (id),
    kind     TEXT    NOT NULL,
    batch_id TEXT    NOT NULL REFERENCES batches (id),
    at       INTEGER NOT NULL
) STRICT;

CREATE INDEX events_of_project ON events (project);

-- What idempotency keys have made.
CREATE TABLE once (
    project TEXT NOT NULL REFERENCES projects (id),
    call    TEXT NOT NULL,
    key     TEXT NOT NULL,
    digest  TEXT NOT NULL,
    made    TEXT NOT NULL,
    PRIMARY KEY (project, call, key)
) STRICT, WITHOUT ROWID;
