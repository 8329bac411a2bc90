-- The errors of the fields that the update of an entry leaves out because their values are invalid, as JSON. NULL means that
-- the update leaves out no field.
ALTER TABLE entry ADD COLUMN skipped BLOB;
