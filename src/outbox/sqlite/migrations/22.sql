-- In a sealed store, the sealed update of an entry contains its lane, its version, the bound of the version's jump and whether
-- the event names Imprint's id, so that nobody can change them unnoticed. A program that does not know this must leave the
-- store alone: it could not read the updates. The bridge seals the updates of an older store again in the background.
INSERT OR IGNORE INTO meta (name, value) SELECT 'unbound_updates', 1
    WHERE EXISTS (SELECT 1 FROM waiting) OR EXISTS (SELECT 1 FROM held) OR EXISTS (SELECT 1 FROM undecided)
        OR EXISTS (SELECT 1 FROM parked);
