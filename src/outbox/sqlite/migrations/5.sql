-- The same receipts without AUTOINCREMENT, which looks up and writes a table of its own for every row. A number is still
-- never used twice: the next one follows the highest, and retention never takes the newest receipt.
CREATE TABLE receipt (
    id            INTEGER PRIMARY KEY,
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
-- The index comes first: made of a table that is full, it would be sorted in memory. Between tables that are alike, SQLite
-- copies rows and index as they lie.
CREATE UNIQUE INDEX receipt_identity ON receipt (source, event_id, ce_source);
INSERT INTO receipt SELECT * FROM entry;
-- Where the newest were forgotten already, their highest number is kept by a receipt of nothing; 5 is "discarded".
INSERT INTO receipt (id, source, ce_source, event_id, event_type, digest, accepted_at, state, settled_at)
    SELECT seq, 'bridge', '', 'highest-number', 'highest-number', zeroblob(16), 0, 5, 0 FROM sqlite_sequence
    WHERE name = 'entry' AND seq > (SELECT coalesce(max(id), 0) FROM entry);
DROP TABLE entry;
ALTER TABLE receipt RENAME TO entry;
