-- What the store knows of itself.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Everything waiting for one customer, and what Imprint has of that customer. Outlives its entries.
CREATE TABLE lane (
    id        INTEGER PRIMARY KEY,
    -- 0: known by Imprint's id. Other kinds are for lanes that wait for theirs.
    kind      INTEGER NOT NULL,
    -- The id in the spelling that finds it, and as it was received.
    customer  TEXT NOT NULL,
    received  TEXT NOT NULL,
    -- When it is to be looked at, in milliseconds; NULL while nothing waits.
    due_at    INTEGER,
    -- Requests that failed since one was applied.
    failures  INTEGER NOT NULL DEFAULT 0,
    -- Entries up to this one are sent one by one.
    unfold_to INTEGER,
    -- The newest version of each leaf that Imprint has; JSON.
    versions  BLOB,
    UNIQUE (kind, customer)
);
CREATE INDEX lane_due ON lane (due_at) WHERE due_at IS NOT NULL;

-- The receipt of every event that was ever accepted. AUTOINCREMENT: a number is never used twice, because it also
-- orders facts.
CREATE TABLE entry (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    source        TEXT NOT NULL,
    ce_source     TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    event_type    TEXT NOT NULL,
    digest        BLOB NOT NULL,
    lane          INTEGER,
    accepted_at   INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    settled_at    INTEGER,
    superseded_by INTEGER
);
CREATE UNIQUE INDEX entry_identity ON entry (source, event_id, ce_source);

-- What waits: the payload that is gone once the entry is settled. The oldest waiting entry is the first row.
CREATE TABLE waiting (
    entry INTEGER PRIMARY KEY,
    lane  INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    value INTEGER NOT NULL,
    facts BLOB NOT NULL,
    event BLOB NOT NULL
);
CREATE INDEX waiting_lane ON waiting (lane, entry);

-- What a person must look at, with the payload that a replay needs.
CREATE TABLE parked (
    entry  INTEGER PRIMARY KEY,
    lane   INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    detail TEXT,
    epoch  INTEGER NOT NULL,
    value  INTEGER NOT NULL,
    facts  BLOB NOT NULL,
    event  BLOB NOT NULL
);
