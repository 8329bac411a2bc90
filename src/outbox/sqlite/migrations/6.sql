-- Entries of a mass change that an operator must approve, with their payload. State 6.
CREATE TABLE held (
    entry       INTEGER PRIMARY KEY,
    lane        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    value       INTEGER NOT NULL,
    facts       BLOB NOT NULL,
    event       BLOB NOT NULL,
    partner     TEXT,
    stated      INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL
);

-- Entries whose requests failed for a long time without proof whose fault that is, with their payload. State 7.
CREATE TABLE undecided (
    entry       INTEGER PRIMARY KEY,
    lane        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    value       INTEGER NOT NULL,
    facts       BLOB NOT NULL,
    event       BLOB NOT NULL,
    partner     TEXT,
    stated      INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL
);
