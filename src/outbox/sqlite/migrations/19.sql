-- The keys that possibly seal blobs of this store. No bytes stand for blobs that are not sealed. A program that does not
-- know sealed blobs must leave the store alone.
CREATE TABLE sealing_key (
    id BLOB PRIMARY KEY
) WITHOUT ROWID;
INSERT INTO sealing_key (id) VALUES (x'');

-- The size of the event before it was sealed; NULL if a program wrote the row that sealed nothing.
ALTER TABLE waiting ADD COLUMN event_bytes INTEGER;
ALTER TABLE parked ADD COLUMN event_bytes INTEGER;
ALTER TABLE held ADD COLUMN event_bytes INTEGER;
ALTER TABLE undecided ADD COLUMN event_bytes INTEGER;

-- The bridge seals the reason of an audit record again under a newer key. The hash covers the reason before the sealing.
-- Everything else in an audit record never changes.
DROP TRIGGER act_is_not_changed;
CREATE TRIGGER act_is_not_changed BEFORE UPDATE OF number, at, who, what, on_what, entries, hash ON act
    BEGIN SELECT raise(ABORT, 'the record is not changed'); END;
