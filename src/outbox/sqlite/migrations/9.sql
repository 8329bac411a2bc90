-- The source of each entry beside its payload. Rows that an older program wrote have none: their receipts have it.
ALTER TABLE waiting ADD COLUMN source TEXT;
ALTER TABLE parked ADD COLUMN source TEXT;
ALTER TABLE held ADD COLUMN source TEXT;
ALTER TABLE undecided ADD COLUMN source TEXT;

-- The bytes of all events that have not ended, by source.
CREATE TABLE stored_bytes (
    source TEXT PRIMARY KEY,
    bytes  INTEGER NOT NULL
);
INSERT INTO stored_bytes (source, bytes)
    SELECT e.source, sum(p.bytes)
    FROM (
        SELECT entry, length(event) AS bytes FROM waiting
        UNION ALL SELECT entry, length(event) FROM parked
        UNION ALL SELECT entry, length(event) FROM held
        UNION ALL SELECT entry, length(event) FROM undecided
    ) p JOIN entry e ON e.id = p.entry
    GROUP BY e.source;
