//! Tests of sealed updates: each is bound to the columns that route and order it.

use imprint_bridge::outbox::{ClaimBounds, PostgresOutbox};
use rusqlite::Connection;

use super::damage::LATER;
use super::find::by_partner;
use super::sealed::{claimed, open_with, reseal, ring, run, verified};
use super::*;

/// The changes of one column that routes or orders an entry.
const CHANGES: [&str; 5] = [
    "lane = 2",
    "epoch = epoch + 1",
    "value = value + 1",
    "stated = NOT stated",
    "jump_max = 5",
];

fn two() -> [NewEntry; 2] {
    [entry("E1", "CUST-1", 1), entry("E2", "CUST-2", 1)]
}

fn change(path: &Path, sql: &str) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(sql).unwrap();
}

/// FAULTS N1113: somebody without the sealing key gives an entry to another customer, or changes its version.
#[test]
fn an_entry_with_a_changed_column_is_unreadable_and_reported() {
    run(async {
        for column in CHANGES {
            let folder = fast_folder();
            let path = folder.path().join("outbox.db");
            let store = open_with(&path, &[1]);
            append(&store, &two()).await;
            reseal(&store).await;
            drop(store);
            assert_eq!(verified(&path, &[1]).unreadable, 0, "{column}");
            change(
                &path,
                &format!("UPDATE waiting SET {column} WHERE entry = 1"),
            );
            let report = verified(&path, &[1]);
            let expected = "update of entry 1: the customer or the version beside it was changed";
            assert_eq!(report.listed, [expected], "{column}");
            let store = open_with(&path, &[1]);
            assert_eq!(claimed(&store).await, (vec![2], vec![1]), "{column}");
        }
    });
}

/// FAULTS N1113: somebody without the sealing key swaps the digests by which the bridge finds two customers, or changes the
/// kind of a lane.
#[test]
fn a_lane_that_is_found_by_another_id_is_unreadable_and_reported() {
    run(async {
        for (sql, lanes) in [
            (
                "UPDATE lane SET customer = zeroblob(16) WHERE id = 1",
                vec![1],
            ),
            (
                "CREATE TEMP TABLE old AS SELECT id, customer FROM lane;
                 UPDATE lane SET customer = randomblob(16);
                 UPDATE lane SET customer = (SELECT customer FROM old WHERE old.id = 3 - lane.id)",
                vec![1, 2],
            ),
            ("UPDATE lane SET kind = 1 WHERE id = 1", vec![1]),
        ] {
            let folder = fast_folder();
            let path = folder.path().join("outbox.db");
            let store = open_with(&path, &[1]);
            append(&store, &two()).await;
            reseal(&store).await;
            drop(store);
            change(&path, sql);
            let report = verified(&path, &[1]);
            let expected = lanes.iter().map(|lane| {
                format!(
                    "customer of lane {lane}: the customer or the version beside it was changed"
                )
            });
            assert_eq!(report.listed, expected.collect::<Vec<_>>(), "{sql}");
            let (mut readable, mut unreadable) = claimed(&open_with(&path, &[1])).await;
            readable.sort_unstable();
            unreadable.sort_unstable();
            assert_eq!(unreadable, lanes, "{sql}");
            assert_eq!(readable.len() + lanes.len(), 2, "{sql}");
        }
    });
}

async fn claimed_of_database(store: &PostgresOutbox) -> (Vec<u64>, Vec<u64>) {
    let lanes = claim(store, LATER).await.lanes;
    let waiting = lanes.iter().flat_map(|lane| &lane.waiting);
    let unreadable = lanes.iter().flat_map(|lane| &lane.unreadable);
    (
        waiting.map(|waiting| waiting.entry.0).collect(),
        unreadable.map(|entry| entry.0).collect(),
    )
}

/// FAULTS N1113: the same in a database.
#[tokio::test]
async fn a_row_with_a_changed_column_is_unreadable() {
    for column in CHANGES {
        let database = postgres::database();
        let store = database.open(ClaimBounds::default(), ring(&[1]));
        let stored = append(&store, &two()).await;
        let [first, second] = [stored[0].entry.0, stored[1].entry.0];
        let column = column.replace(
            "lane = 2",
            &format!("lane = (SELECT lane FROM imprint_bridge.payload WHERE entry = {second})"),
        );
        let sql = format!("UPDATE imprint_bridge.payload SET {column} WHERE entry = {first}");
        database.psql(&sql);
        let found = claimed_of_database(&store).await;
        assert_eq!(found, (vec![second], vec![first]), "{column}");
    }
}

/// FAULTS N1114: the updates of an older program stay readable, and the bridge binds them in the background.
#[test]
fn the_updates_of_an_older_program_are_bound_in_the_background() {
    run(async {
        let folder = fast_folder();
        let path = folder.path().join("outbox.db");
        let older = Arc::new(ring(&[1]).with_older_form(true));
        let store =
            SqliteOutbox::open_sealed(&path, 1000, NOW, (ClaimBounds::default(), older)).unwrap();
        append(&store, &two()).await;
        append(&store, &[by_partner("E3", 1)]).await;
        drop(store);
        change(&path, "PRAGMA user_version = 21");
        drop(open_with(&path, &[1]));
        assert_eq!(verified(&path, &[1]).unreadable, 0);
        let store = open_with(&path, &[1]);
        reseal(&store).await;
        assert_eq!(claimed(&store).await, (vec![1, 2, 3], vec![]));
        drop(store);
        let file = Connection::open(&path).unwrap();
        let sql = "SELECT count(*) FROM meta WHERE name = 'unbound_updates'";
        let marks: u64 = file.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(marks, 0, "the pass has ended");
        drop(file);
        change(&path, "UPDATE waiting SET value = 9");
        assert_eq!(verified(&path, &[1]).unreadable, 3);
    });
}

/// FAULTS N1114: while an older program is one of the replicas, it must be able to read every new entry.
#[tokio::test]
async fn an_older_replica_reads_every_new_entry() {
    let database = postgres::database();
    let older = database.open(ClaimBounds::default(), ring(&[1]));
    database.psql(
        "UPDATE imprint_bridge.replica SET keys = array_remove(keys, convert_to('bound-up', 'UTF8'))",
    );
    let newer = database.open(ClaimBounds::default(), ring(&[1]));
    let stored = append(&newer, &two()).await;
    let stored = stored.iter().map(|stored| stored.entry.0);
    database.psql("UPDATE imprint_bridge.payload SET value = 9");
    let found = claimed_of_database(&newer).await;
    assert_eq!(found, (stored.collect(), vec![]), "the older form");
    drop(older);
}

/// FAULTS N1115: the bridge itself moves an entry to the customer that a search has found.
#[tokio::test]
async fn a_moved_entry_is_bound_to_its_new_customer() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[by_partner("a", 1)]).await;
        let claimed = find::linked(outbox).await;
        assert_eq!(claimed.key, key("CUST-1"), "{engine}");
        assert_eq!(claimed.unreadable, [], "{engine}");
        assert_eq!(claimed.waiting.len(), 1, "{engine}");
    }
}
