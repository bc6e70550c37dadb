-- The log. Columns up to `metadata` are postgres-es' layout, so a cqrs-es program can read it; the rest is ours.
-- Rows are only ever added: nothing updates or deletes them.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    sequence       INTEGER NOT NULL CHECK (sequence >= 1),
    event_type     TEXT    NOT NULL,
    event_version  TEXT    NOT NULL,
    payload        TEXT    NOT NULL,
    metadata       TEXT    NOT NULL,
    event_id       TEXT    NOT NULL,
    recorded_at    INTEGER NOT NULL,
    hash           BLOB    NOT NULL,
    UNIQUE (aggregate_type, aggregate_id, sequence)
);
CREATE UNIQUE INDEX events_by_id ON events (event_id);

-- What the log keeps unique; a function of the events and their metadata.
CREATE TABLE claims (
    key            TEXT    PRIMARY KEY,
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    sequence       INTEGER NOT NULL,
    value          TEXT    NOT NULL,
    taken_at       INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_by_age ON claims (taken_at);

-- One row: the identity of this life of the database, part of every position.
CREATE TABLE log (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    epoch INTEGER NOT NULL
);
