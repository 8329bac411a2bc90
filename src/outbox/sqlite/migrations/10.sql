-- What an earlier process may have sent of this lane without an answer: 0 nothing, a positive number the waiting entries
-- up to this number, -1 any value. A settlement sets it to 0, because the versions of the lane then contain the doubt.
ALTER TABLE lane ADD COLUMN maybe_sent INTEGER NOT NULL DEFAULT 0;
