-- The time of the first failure since the last success that is the fault of this lane only.
ALTER TABLE lane ADD COLUMN blamed_since INTEGER;
