//! Measures the CPU time of one event in the store, compared with the smallest possible stores.
//!
//! The benchmark measures the CPU time of all threads and not the wall time, because a commit mostly waits for the
//! disk. Run the benchmark on one core: on two cores the writer thread starts with the first event of a group before
//! the others have arrived, and a group becomes several commits.
#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a bench ends at the first surprise"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::{join, join_all};
use imprint_bridge::event::{Attribute, Identity, SourceName, SourceVersion};
use imprint_bridge::fold::{MaxFold, fold};
use imprint_bridge::imprint::{CustomerChange, CustomerRef, Field, FieldValue, ImprintId, Update};
use imprint_bridge::outbox::{
    ClaimBounds, ClaimedLane, Digest, Disposition, Ending, Inbox, LaneShares, Lanes, Lifecycle,
    NewEntry, Pick, Priority, Recognition, Settlement, SqliteOutbox, Trials, Unproven,
};
use imprint_bridge::sealing::{KeyRing, SealingKey};
use imprint_bridge::time::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;

/// The number of events in one commit: about as many as 64 connections send during one commit.
const GROUP: u64 = 48;
/// The number of customers in the benchmarks in which every customer has many events: while the lanes of one group are
/// claimed, the next group arrives for the other customers.
const CUSTOMERS: u64 = 2 * GROUP;
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// The stored size of an event (700 bytes) and its 23 values (600 bytes).
const PAYLOAD_BYTES: usize = 700 + 600;

/// Returns the CPU time that all threads of this process have used so far.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.map(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanos.sum())
}

/// Measures a log file that is synced once per group of events: a store without receipts and lookups.
fn log(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut file = fs::File::create(folder.path().join("log")).unwrap();
    let payload = vec![b'x'; PAYLOAD_BYTES];
    measure(criterion, "smallest: a line of a log", |groups| {
        for _ in 0..groups {
            let group: Vec<u8> = (0..GROUP).flat_map(|_| payload.iter().copied()).collect();
            file.write_all(&group).unwrap();
            file.sync_data().unwrap();
        }
    });
}

/// Measures a small SQLite store that finds a receipt by the event's identity and deletes the payload at delivery.
/// This store has no lanes, no versions and no due times.
fn smallest(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let connection = database(&folder.path().join("least.db"));
    let payload = vec![b'x'; PAYLOAD_BYTES];
    let mut next = 0_u64;
    measure(
        criterion,
        "smallest: a receipt and a payload in SQLite",
        |groups| {
            for _ in 0..groups {
                let transaction = connection.unchecked_transaction().unwrap();
                for _ in 0..GROUP {
                    next += 1;
                    let identity = format!("bench:event_{next}");
                    connection
                        .prepare_cached(
                            "INSERT INTO receipt (id, identity, state) VALUES (?1, ?2, 0)",
                        )
                        .unwrap()
                        .execute(params![next, identity])
                        .unwrap();
                    connection
                        .prepare_cached("INSERT INTO waiting (id, payload) VALUES (?1, ?2)")
                        .unwrap()
                        .execute(params![next, payload])
                        .unwrap();
                    // The events of one group are delivered in the commit of the next group.
                    let delivered = next.saturating_sub(GROUP);
                    connection
                        .prepare_cached("DELETE FROM waiting WHERE id = ?1")
                        .unwrap()
                        .execute([delivered])
                        .unwrap();
                    connection
                        .prepare_cached("UPDATE receipt SET state = 1 WHERE id = ?1")
                        .unwrap()
                        .execute([delivered])
                        .unwrap();
                }
                transaction.commit().unwrap();
            }
        },
    );
}

fn database(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -16384;
             CREATE TABLE receipt (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, state INTEGER NOT NULL);
             CREATE TABLE waiting (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);",
        )
        .unwrap();
    connection
}

/// Measures the bridge's SQLite store: append, claim, fold and settle. Each event has a new customer.
fn outbox(criterion: &mut Criterion) {
    let name = "outbox: append, claim, fold and settle";
    measure_outbox(criterion, name, KeyRing::default(), |number| number);
}

/// Measures the bridge's SQLite store with few customers.
fn same_customers(criterion: &mut Criterion) {
    let name = "outbox: append, claim, fold and settle, same customers";
    measure_outbox(criterion, name, KeyRing::default(), |number| {
        number % CUSTOMERS
    });
}

/// Measures the bridge's SQLite store with a sealing key. Each event has a new customer.
fn sealed_outbox(criterion: &mut Criterion) {
    let name = "sealed outbox: append, claim, fold and settle";
    measure_outbox(criterion, name, sealing_key(), |number| number);
}

/// Measures the bridge's SQLite store with a sealing key and few customers.
fn sealed_same_customers(criterion: &mut Criterion) {
    let name = "sealed outbox: append, claim, fold and settle, same customers";
    measure_outbox(criterion, name, sealing_key(), |number| number % CUSTOMERS);
}

fn sealing_key() -> KeyRing {
    let key = "c077f67e6df09fea3f05032028064928f99134b6c1e8c7e98021117009501ca6";
    KeyRing::new([SealingKey::parse(&key.to_owned().into()).unwrap()])
}

fn measure_outbox(
    criterion: &mut Criterion,
    name: &str,
    keys: KeyRing,
    customer: impl Fn(u64) -> u64,
) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("outbox.db");
    let keys = (ClaimBounds::default(), Arc::new(keys));
    let outbox = SqliteOutbox::open_sealed(&path, 100_000, NOW, keys).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let update = update();
    let mut next = 0_u64;
    let mut claimed: Vec<ClaimedLane> = Vec::new();
    measure(criterion, name, |groups| {
        runtime.block_on(async {
            for _ in 0..groups {
                let first = next;
                next += GROUP;
                let appends = (first..next)
                    .map(|number| outbox.append(vec![entry(number, customer(number), &update)]));
                let settles = claimed
                    .drain(..)
                    .map(|lane| outbox.settle(delivered(lane).into()));
                let (appended, settled) = join(join_all(appends), join_all(settles)).await;
                assert!(appended.iter().all(Result::is_ok) && settled.iter().all(Result::is_ok));
                let claim = outbox
                    .claim(NOW, GROUP as usize, Pick::LongestDue(LaneShares::UNLIMITED))
                    .await;
                claimed = claim.unwrap().lanes;
                assert_eq!(claimed.len() as u64, GROUP);
            }
        });
    });
    outbox.close();
}

fn entry(number: u64, customer: u64, update: &Update) -> NewEntry {
    let id = format!("bench_{number}");
    NewEntry {
        identity: Identity {
            source: SourceName::parse("bench").unwrap(),
            ce_source: None,
            id: Attribute::parse(&id).unwrap(),
        },
        event_type: Attribute::parse("customer.updated").unwrap(),
        digest: Digest([7; 16]),
        accepted_at: NOW,
        disposition: Disposition::Enqueue(CustomerChange {
            customer: CustomerRef::Imprint(ImprintId::parse(&format!("bench_{customer}")).unwrap()),
            version: SourceVersion {
                epoch: 0,
                value: number.cast_signed(),
            },
            update: update.clone(),
            jump_max: None,
            is_foreign: false,
            skipped: Vec::new(),
        }),
        priority: Priority::Live,
        event: vec![b'x'; 700],
    }
}

fn update() -> Update {
    let paths = Field::paths().filter(|path| Field::parse(path).is_some());
    paths
        .take(23)
        .map(|path| {
            (
                Field::parse(path).unwrap(),
                FieldValue::from_value(json!("some 18 characters")),
            )
        })
        .collect()
}

fn delivered(lane: ClaimedLane) -> Settlement {
    let fold = fold(&lane.versions, &lane.candidates(), MaxFold(100), NOW);
    let entries = lane.waiting.iter().map(|waiting| waiting.entry);
    Settlement {
        lane: lane.lane,
        token: lane.token,
        endings: entries
            .clone()
            .map(|entry| (entry, Ending::Delivered))
            .collect(),
        attempted: entries.collect(),
        omitted: Vec::new(),
        moved: None,
        new_link: None,
        recognition: Recognition::Unchanged,
        versions: Some(lane.versions.delivered(&fold)),
        trials: Trials::default(),
        unproven: Unproven::default(),
        unfold_to: None,
        due: NOW,
        reassert_at: None,
        at: NOW,
    }
}

fn measure(criterion: &mut Criterion, name: &str, mut run: impl FnMut(u64)) {
    let mut group = criterion.benchmark_group("CPU of a group of 48 events");
    group.throughput(Throughput::Elements(GROUP));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|groups| {
            let before = cpu();
            run(groups);
            cpu().saturating_sub(before)
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    log,
    smallest,
    outbox,
    same_customers,
    sealed_outbox,
    sealed_same_customers
);
criterion_main!(benches);
