//! Tests of the real program at its first start with a large store of an older program.

use std::fs;

use rusqlite::Connection;

use super::Bridge;
use crate::process;

/// The number of ended entries in the old store.
const ENTRIES: u32 = 500_000;

/// The additional memory that the update of the layout may take: a full page cache of SQLite, and a sort buffer of the
/// same size.
const MEMORY_KIB_MAX: u64 = 2 * (12 << 10) + (2 << 10);

/// Returns the largest memory that a process has had up to now, in KiB.
fn memory_kib(bridge: &Bridge) -> u64 {
    let status = format!("/proc/{}/status", bridge.process.child.id());
    let status = fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

/// FAULTS N540: SQLite sorts the entries for a new index, and a large store needs more memory for it than a pod has.
#[test]
fn the_update_of_a_large_store_takes_little_memory() {
    let bridge = Bridge::start();
    let usual = memory_kib(&bridge);
    let files = bridge.stop();
    let store = Connection::open(files.store_file("data/outbox.db")).unwrap();
    store
        .execute_batch(&format!(
            "DROP INDEX entry_ended;
             CREATE INDEX entry_ended ON entry (lane) WHERE lane IS NOT NULL AND state IN (1, 2, 3, 5);
             DROP INDEX receipt_identity;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ENTRIES})
             INSERT INTO entry (id, source, ce_source, event_id, event_type, digest, lane, accepted_at, state, settled_at)
             SELECT i, 'crm', '/crm', i, 't', zeroblob(16), i * 7919 % 100003, unixepoch() * 1000, 1, unixepoch() * 1000
             FROM n;
             CREATE UNIQUE INDEX receipt_identity ON entry (source, event_id, ce_source);
             DROP TABLE sealing_key;
             ALTER TABLE waiting DROP COLUMN event_bytes;
             ALTER TABLE parked DROP COLUMN event_bytes;
             ALTER TABLE held DROP COLUMN event_bytes;
             ALTER TABLE undecided DROP COLUMN event_bytes;
             PRAGMA user_version = 17;"
        ))
        .unwrap();
    store.close().unwrap();
    let bridge = Bridge::serve(files, process::command);
    let taken = memory_kib(&bridge).saturating_sub(usual);
    assert!(taken <= MEMORY_KIB_MAX, "{taken} KiB");
}
