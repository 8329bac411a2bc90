-- The lanes of erased customers that a replica possibly still has in memory. The replica forgets them and deletes the rows.
-- A store of an earlier program lacks this table, so each start adds it if it is missing.
CREATE TABLE imprint_bridge.forgetting (
    owner bigint NOT NULL REFERENCES imprint_bridge.replica (owner) ON DELETE CASCADE,
    lane  bigint NOT NULL,
    PRIMARY KEY (owner, lane)
);
