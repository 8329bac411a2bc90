-- The errors of an entry that is parked because its event is invalid (reason 12), as JSON. Such an entry belongs to no
-- customer yet: its `lane` is 0, and its `facts` are empty. A program that does not know this must leave the store alone.
ALTER TABLE parked ADD COLUMN errors BLOB;
