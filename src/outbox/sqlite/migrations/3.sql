-- What people did, line by line; each line's hash covers the one before it, so that none can be changed unseen.
CREATE TABLE act (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    what    TEXT NOT NULL,
    on_what TEXT NOT NULL,
    entries INTEGER NOT NULL,
    reason  TEXT,
    hash    BLOB NOT NULL
);
CREATE TRIGGER act_is_not_changed BEFORE UPDATE ON act BEGIN SELECT raise(ABORT, 'the record is not changed'); END;
CREATE TRIGGER act_is_not_removed BEFORE DELETE ON act BEGIN SELECT raise(ABORT, 'the record is not changed'); END;
