-- How far the version of an entry may be from the neighbouring version of its customer; NULL if the version is a time.
ALTER TABLE waiting ADD COLUMN jump_max INTEGER;
ALTER TABLE parked ADD COLUMN jump_max INTEGER;
ALTER TABLE held ADD COLUMN jump_max INTEGER;
ALTER TABLE undecided ADD COLUMN jump_max INTEGER;
