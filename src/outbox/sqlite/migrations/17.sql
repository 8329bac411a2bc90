-- Why an entry is ignored: the number of a reason. NULL if the entry is not ignored, or if an older program ignored it.
ALTER TABLE entry ADD COLUMN ignored INTEGER;
