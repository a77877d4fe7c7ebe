-- Files on their way as one blob that grows. The row stays as long as its address may be asked, completed or not.

CREATE TABLE resumables (
    position                   INTEGER PRIMARY KEY AUTOINCREMENT,
    id                         TEXT    NOT NULL UNIQUE,
    project                    TEXT    NOT NULL REFERENCES projects (id),
    key_id                     TEXT,
    secret_hash                BLOB    NOT NULL UNIQUE,
    file_id                    TEXT    NOT NULL,
    blob                       TEXT    NOT NULL UNIQUE,
    filename                   TEXT    NOT NULL,
    purpose                    TEXT    NOT NULL,
    name                       TEXT,
    display_name               TEXT,
    mime_type                  TEXT,
    bytes                      INTEGER,
    received                   INTEGER NOT NULL,
    created_at                 INTEGER NOT NULL,
    expires_at                 INTEGER NOT NULL,
    file_expires_after_seconds INTEGER,
    state                      TEXT    NOT NULL
) STRICT;

CREATE INDEX resumables_of_project ON resumables (project) WHERE state = 'pending';
CREATE INDEX resumables_to_expire ON resumables (expires_at) WHERE state = 'pending';
CREATE INDEX resumables_to_forget ON resumables (expires_at) WHERE state = 'completed';
CREATE INDEX resumables_to_remove ON resumables (position) WHERE state IN ('cancelled', 'expired');
