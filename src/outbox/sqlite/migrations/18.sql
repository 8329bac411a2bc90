-- The same index with a condition that costs nothing. SQLite builds a temporary table for each evaluation of `IN` with
-- several values, and evaluated this condition for each entry that ended. A parked entry also has a time in `settled_at`.
DROP INDEX entry_ended;
CREATE INDEX entry_ended ON entry (lane) WHERE settled_at IS NOT NULL;
