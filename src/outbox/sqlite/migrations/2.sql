-- Failures that can only be the lane's own, and when its last request failed.
ALTER TABLE lane ADD COLUMN spent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN tried_at INTEGER;
-- 1 while nothing waits, and the lane is due only to assert facts once more.
ALTER TABLE lane ADD COLUMN idle INTEGER NOT NULL DEFAULT 0;
-- 1 while nothing live waits: it goes behind all lanes in which something does.
ALTER TABLE lane ADD COLUMN low INTEGER NOT NULL DEFAULT 0;
DROP INDEX lane_due;
CREATE INDEX lane_due ON lane (low, due_at) WHERE due_at IS NOT NULL;

-- Whom the event named: the partner's own id, if it did, and whether it named Imprint's. And when it was accepted.
ALTER TABLE waiting ADD COLUMN partner TEXT;
ALTER TABLE waiting ADD COLUMN stated INTEGER NOT NULL DEFAULT 1;
ALTER TABLE waiting ADD COLUMN accepted_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked ADD COLUMN partner TEXT;
ALTER TABLE parked ADD COLUMN stated INTEGER NOT NULL DEFAULT 1;
ALTER TABLE parked ADD COLUMN accepted_at INTEGER NOT NULL DEFAULT 0;

-- What Imprint said of a partner's id: which customer that is, or that there is none (NULL).
CREATE TABLE pair (
    partner      TEXT PRIMARY KEY,
    -- The id in the spelling that finds it, and as Imprint spells it.
    imprint      TEXT,
    received     TEXT,
    confirmed_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX pair_imprint ON pair (imprint) WHERE imprint IS NOT NULL;
