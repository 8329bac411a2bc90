-- In a sealed store, `lane.customer`, `pair.partner` and `pair.imprint` are keyed digests (blobs), `lane.received` and
-- `pair.received` are sealed, and `partner` in the tables of entries is part of the sealed update. A program that does not
-- know this must leave the store alone: it would find no customer. The bridge seals the ids of an older store in the
-- background: no bytes stand for records that are not sealed.
INSERT OR IGNORE INTO sealing_key (id) VALUES (x'');
