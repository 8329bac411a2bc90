-- Why an entry is ignored: the number of a reason. NULL if the entry is not ignored, or if an older program ignored it.
ALTER TABLE entry ADD COLUMN ignored INTEGER;

-- Finds all entries of a customer. The index of entries in a final state costs nothing when an event arrives: the entry
-- enters the index when it ends.
CREATE INDEX entry_ended ON entry (lane) WHERE lane IS NOT NULL AND state IN (1, 2, 3, 5);
CREATE INDEX parked_lane ON parked (lane);
CREATE INDEX held_lane ON held (lane);
CREATE INDEX undecided_lane ON undecided (lane);
