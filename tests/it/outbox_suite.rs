//! One test suite for every storage engine of the outbox: the guarantees of the outbox ports.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imprint_bridge::event::{Attribute, Identity, SourceName, SourceVersion, Version};
use imprint_bridge::fold::{Candidate, FoldEnd, LaneVersions, MaxFold, fold};
use imprint_bridge::imprint::{CustomerChange, CustomerRef, Field, FieldValue, ImprintId};
use imprint_bridge::outbox::{
    Appended, AppendedEntry, AuditEvent, Claim, ClaimBounds, ClaimedLane, ConflictingEvent, Detail,
    Digest, Disposition, Ending, EntryFilter, EntryId, EntrySelection, Error, FailingShare,
    IgnoreReason, Inbox as _, LaneKey, LaneShares, Ledger as _, Lifecycle as _, Lookup, MaybeSent,
    MemoryOutbox, NewEntry, OpenError, Outbox, ParkReason, Pick, Priority, Receipt, Recognition,
    Replay, ReplayChange, Setting, Settled, Settlement, SqliteOutbox, Standing, State, Trials,
    Unproven, UntriedOrder, Withdrawal, WithdrawnState,
};
use imprint_bridge::time::Timestamp;
use serde_json::json;

use crate::postgres;
use crate::support::wait_for;

mod bound;
mod damage;
mod database_keys;
mod database_verify;
mod doubt;
mod erased;
mod find;
mod held_snapshot;
mod invalid;
mod layout;
mod model;
mod moved;
mod named;
mod pruning;
mod replicas;
mod retired;
mod sealed;
mod sealed_ids;
mod set_aside;
mod shared_ledger;
mod spelling;
mod turns;
mod withdraw;

const IGNORED: Ending = Ending::Ignored(IgnoreReason::UnknownCustomer);
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// Creates an empty store of each storage engine. Dropping the last value deletes the store.
fn engines() -> Vec<(&'static str, Arc<dyn Outbox>, StoreFolder)> {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(&folder.path().join("outbox.db")).unwrap();
    let sealed_folder = tempfile::tempdir().unwrap();
    let sealed = sealed::open_with(&sealed_folder.path().join("outbox.db"), &[1]);
    let [database, sealed_database, failing_database] = [(); 3].map(|()| postgres::database());
    let bounds = ClaimBounds::default();
    let postgres = database.open(bounds, Arc::default());
    let failing_postgres = failing_database.open_with_failures();
    let sealed_postgres = sealed_database.open(bounds, sealed::ring(&[1]));
    vec![
        (
            "memory",
            Arc::new(MemoryOutbox::default()),
            StoreFolder::Memory,
        ),
        ("sqlite", Arc::new(sqlite), StoreFolder::Folder(folder)),
        (
            "sealed sqlite",
            Arc::new(sealed),
            StoreFolder::Folder(sealed_folder),
        ),
        (
            "postgres",
            Arc::new(postgres),
            StoreFolder::Database(database),
        ),
        (
            "sealed postgres",
            Arc::new(sealed_postgres),
            StoreFolder::Database(sealed_database),
        ),
        (
            "failing postgres",
            Arc::new(failing_postgres),
            StoreFolder::Database(failing_database),
        ),
    ]
}

/// The place of a store. Dropping it deletes the store.
enum StoreFolder {
    Memory,
    Folder(tempfile::TempDir),
    Database(postgres::PostgresDatabase),
}

/// The free memory that a [`fast_folder`] needs: each store keeps a reserve there, and tests run at the same time.
const FAST_FOLDER_BYTES: u64 = 1024 * 1024 * 1024;

/// Creates a temporary folder in memory, if the machine has one, for a test that opens hundreds of stores.
fn fast_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
    let folder = if free >= FAST_FOLDER_BYTES {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.unwrap()
}

fn open(path: &Path) -> Result<SqliteOutbox, OpenError> {
    when_free(|| SqliteOutbox::open(path, 1000, NOW))
}

/// Opens a store as soon as its lock is free. A process that another test starts at this moment has the lock file of this
/// process until it executes its program.
fn when_free<T>(open: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    wait_for("the store is free", || match open() {
        Err(OpenError::Locked { .. }) => None,
        opened => Some(opened),
    })
}

fn identity(id: &str) -> Identity {
    Identity {
        source: SourceName::parse("crm").unwrap(),
        ce_source: Some(Attribute::parse("/crm/us").unwrap()),
        id: Attribute::parse(id).unwrap(),
    }
}

fn entry(id: &str, customer: &str, value: i64) -> NewEntry {
    let values = [(
        Field::parse("email").unwrap(),
        FieldValue::from_value(json!(format!("{id}@example.com"))),
    )];
    NewEntry {
        identity: identity(id),
        event_type: Attribute::parse("customer.changed").unwrap(),
        digest: Digest([7; 16]),
        accepted_at: NOW,
        disposition: Disposition::Enqueue(CustomerChange {
            customer: CustomerRef::Imprint(ImprintId::parse(customer).unwrap()),
            version: SourceVersion { epoch: 0, value },
            update: values.into_iter().collect(),
            jump_max: None,
            is_foreign: false,
            skipped: Vec::new(),
        }),
        priority: Priority::Live,
        event: b"{}".to_vec(),
    }
}

async fn append(outbox: &dyn Outbox, entries: &[NewEntry]) -> Vec<AppendedEntry> {
    match outbox.append(entries.to_vec()).await.unwrap() {
        Appended::Stored(stored) => stored,
        Appended::Conflict(places) => panic!("conflicts at {places:?}"),
    }
}

async fn claim(outbox: &dyn Outbox, now: Timestamp) -> Claim {
    outbox
        .claim(now, 10, Pick::LongestDue(LaneShares::UNLIMITED))
        .await
        .unwrap()
}

/// Claims lanes, and expects exactly one due lane.
async fn claim_one(outbox: &dyn Outbox) -> ClaimedLane {
    let mut claim = claim(outbox, NOW).await;
    assert_eq!(claim.lanes.len(), 1);
    claim.lanes.remove(0)
}

/// Settles a claim, and expects that the claim is still valid.
async fn record(outbox: &dyn Outbox, settlement: Settlement) {
    assert_eq!(
        outbox.settle(settlement.into()).await.unwrap(),
        Settled::Recorded
    );
}

fn settlement(
    claimed: &ClaimedLane,
    endings: Vec<(EntryId, Ending)>,
    due: Timestamp,
) -> Settlement {
    Settlement {
        lane: claimed.lane,
        token: claimed.token,
        attempted: claimed
            .waiting
            .iter()
            .map(|waiting| waiting.entry)
            .collect(),
        endings,
        omitted: Vec::new(),
        moved: None,
        new_link: None,
        recognition: Recognition::Unchanged,
        versions: None,
        trials: Trials::default(),
        unproven: Unproven::default(),
        unfold_to: None,
        due,
        reassert_at: None,
        at: NOW,
    }
}

fn after_failures(failures: u32) -> Trials {
    Trials {
        failures,
        ..Trials::default()
    }
}

fn key(customer: &str) -> Option<LaneKey> {
    ImprintId::parse(customer).ok().map(LaneKey::Imprint)
}

fn all(claimed: &ClaimedLane, ending: &Ending) -> Vec<(EntryId, Ending)> {
    claimed
        .waiting
        .iter()
        .map(|waiting| (waiting.entry, ending.clone()))
        .collect()
}

async fn receipt(outbox: &dyn Outbox, id: &str) -> Receipt {
    let Identity { source, id, .. } = identity(id);
    outbox
        .find(Lookup {
            source,
            ce_source: None,
            id,
        })
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn an_appended_entry_waits_until_it_is_settled() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[entry("a", "CUST-1", 1)]).await;
        assert_eq!(
            (stored[0].state, stored[0].duplicate),
            (State::Waiting, false),
            "{engine}"
        );
        let depth = outbox.depth().await.unwrap();
        assert_eq!((depth.waiting, depth.oldest), (1, Some(NOW)), "{engine}");
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.key, key("CUST-1"),);
        assert_eq!(
            claimed.waiting[0].version,
            Version {
                epoch: 0,
                value: 1,
                arrival: stored[0].entry.0
            }
        );
        record(
            outbox,
            settlement(&claimed, all(&claimed, &Ending::Delivered), NOW),
        )
        .await;
        let receipt = receipt(outbox, "a").await;
        assert_eq!(
            (receipt.state, receipt.attempts, receipt.settled_at),
            (State::Delivered, 1, Some(NOW)),
            "{engine}"
        );
        assert_eq!(outbox.depth().await.unwrap().waiting, 0, "{engine}");
        assert!(claim(outbox, NOW).await.lanes.is_empty(), "{engine}");
    }
}

/// FAULTS V9: the lane for a probe of the destination is never a lane that always fails.
#[tokio::test]
async fn a_probe_takes_the_lane_that_has_failed_least() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("a", "CUST-1", 1)]).await;
        let failed = claim_one(outbox).await;
        record(
            outbox,
            Settlement {
                trials: after_failures(1),
                ..settlement(&failed, Vec::new(), NOW)
            },
        )
        .await;
        append(outbox, &[entry("b", "CUST-2", 1)]).await;
        let probe = outbox.claim(NOW, 1, Pick::LeastFailed(5)).await.unwrap();
        assert_eq!(
            (probe.lanes[0].trials.failures, probe.next_due),
            (0, Some(NOW)),
            "{engine}"
        );
        let rest = outbox.claim(NOW, 1, Pick::LeastFailed(5)).await.unwrap();
        assert_eq!(
            (rest.lanes[0].trials.failures, rest.next_due),
            (1, None),
            "{engine}"
        );
    }
}

/// Settles all lanes of a claim without a change.
async fn give_back(outbox: &dyn Outbox, claim: &Claim) {
    for lane in &claim.lanes {
        let back = Settlement {
            trials: lane.trials,
            attempted: Vec::new(),
            ..settlement(lane, Vec::new(), NOW)
        };
        record(outbox, back).await;
    }
}

fn failing_share(kept: usize, max: usize) -> Pick {
    Pick::LongestDue(LaneShares {
        failing: FailingShare { kept, max },
        ..LaneShares::UNLIMITED
    })
}

/// FAULTS U50: failing lanes take only their share of a claim, whatever their number and their due times are.
#[tokio::test]
async fn failing_lanes_take_a_share_of_a_claim() {
    let share = failing_share;
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        for number in 0..5 {
            append(
                outbox,
                &[entry(&format!("f-{number}"), &format!("F-{number}"), 1)],
            )
            .await;
            let mut claim = outbox.claim(NOW, 1, share(0, 0)).await.unwrap();
            let failed = claim.lanes.remove(0);
            let failed = Settlement {
                trials: after_failures(1),
                ..settlement(&failed, Vec::new(), NOW)
            };
            record(outbox, failed).await;
        }
        for number in 0..5 {
            append(
                outbox,
                &[entry(&format!("w-{number}"), &format!("W-{number}"), 1)],
            )
            .await;
        }
        for (max, pick, expected) in [
            (4, share(0, 4), "WWWW"),
            (4, share(1, 2), "WWWF"),
            (9, share(1, 2), "WWWWWFF"),
            (9, share(0, 0), "WWWWW"),
            (1, share(1, 1), "F"),
            (9, share(0, 9), "WWWWWFFFF"),
            (1, Pick::LeastFailed(9), "W"),
        ] {
            let claim = outbox.claim(NOW, max, pick).await.unwrap();
            let kinds = claim.lanes.iter().filter_map(|lane| match &lane.key {
                Some(LaneKey::Imprint(id)) => id.as_str().chars().next(),
                Some(LaneKey::Partner(_)) | None => None,
            });
            assert_eq!(kinds.collect::<String>(), expected, "{engine} {pick:?}");
            let failing = claim.lanes.iter().filter(|lane| lane.trials.failures > 0);
            let is_left = failing.count() < 5 && matches!(pick, Pick::LongestDue(_));
            assert_eq!(claim.is_failing_left, is_left, "{engine} {pick:?}");
            let is_well_left = expected.matches('W').count() < 5;
            let next_due = is_well_left.then_some(NOW);
            assert_eq!(claim.next_due, next_due, "{engine} {pick:?}");
            give_back(outbox, &claim).await;
        }
        // When the destination recovers, failing lanes return to the other lanes.
        outbox.release(NOW).await.unwrap();
        let claim = outbox.claim(NOW, 99, share(0, 0)).await.unwrap();
        assert_eq!(claim.lanes.len(), 10, "{engine}");
        let mut standings = claim.lanes.iter().map(|lane| lane.standing);
        assert!(standings.all(|one| one != Standing::Failing), "{engine}");
        give_back(outbox, &claim).await;
        let mut claim = outbox.claim(NOW, 9, share(2, 1)).await.unwrap();
        let failing = claim.lanes.pop().unwrap();
        record(outbox, settlement(&failing, Vec::new(), NOW)).await;
        let recovered = outbox.claim(NOW, 1, share(0, 0)).await.unwrap();
        assert_eq!(recovered.lanes[0].lane, failing.lane, "{engine}");
    }
}

/// FAULTS N76: hundreds of thousands of lanes may rest. While they become due, the store serves other commands.
#[tokio::test]
async fn many_lanes_are_released_in_slices() {
    const LANES: usize = 4_500;
    let later = NOW.after(Duration::from_secs(600));
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let resting: Vec<_> = (0..LANES)
            .map(|number| NewEntry {
                accepted_at: later,
                ..entry(&format!("e-{number}"), &format!("C-{number}"), 1)
            })
            .collect();
        for batch in resting.chunks(900) {
            append(outbox, batch).await;
        }
        let due = Pick::LongestDue(LaneShares::UNLIMITED);
        let claim = outbox.claim(NOW, LANES, due).await.unwrap();
        assert_eq!(claim.lanes.len(), 0, "{engine}");
        let order = std::cell::RefCell::new(Vec::new());
        let release = async {
            outbox.release(NOW).await.unwrap();
            order.borrow_mut().push("release");
        };
        let append = async {
            append(outbox, &[entry("new", "C-new", 1)]).await;
            order.borrow_mut().push("append");
        };
        futures_util::future::join(release, append).await;
        let claim = outbox.claim(NOW, 2 * LANES, due).await.unwrap();
        assert_eq!(claim.lanes.len(), LANES + 1, "{engine}");
        if engine == "sqlite" {
            assert_eq!(*order.borrow(), ["append", "release"]);
        }
    }
}

/// Settles the lanes of a claim as if nothing was sent, so that the lanes keep their standing.
async fn keep_untried(outbox: &dyn Outbox, claim: &Claim) {
    for lane in &claim.lanes {
        let unsent = Settlement {
            attempted: Vec::new(),
            ..settlement(lane, Vec::new(), lane.waiting[0].accepted_at)
        };
        record(outbox, unsent).await;
    }
}

/// Makes entries wait for two customers that Imprint answered before, and for three new customers.
async fn append_for_tried_and_untried_customers(outbox: &dyn Outbox) {
    let at = |id: &str, second: u64| NewEntry {
        accepted_at: NOW.after(Duration::from_secs(second)),
        ..entry(id, id, 1)
    };
    append(outbox, &[at("W-1", 0), at("W-2", 0)]).await;
    let claim = outbox
        .claim(NOW, 9, Pick::LongestDue(LaneShares::UNLIMITED))
        .await
        .unwrap();
    for lane in &claim.lanes {
        assert_eq!(lane.standing, Standing::Untried, "{:?}", lane.key);
        record(outbox, settle_as_delivered(lane, None)).await;
    }
    append(outbox, &[at("U-1", 1), at("U-2", 2), at("U-3", 4)]).await;
    let again = |id: &str, customer: &str, second: u64| NewEntry {
        identity: identity(id),
        ..at(customer, second)
    };
    append(outbox, &[again("w-1", "W-1", 3), again("w-2", "W-2", 5)]).await;
}

/// FAULTS U53: untried lanes take only their share of a claim, and are otherwise claimed in the order of their due
/// times.
#[tokio::test]
async fn untried_lanes_take_a_share_of_a_claim() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append_for_tried_and_untried_customers(outbox).await;
        let now = NOW.after(Duration::from_secs(9));
        let longest = |untried_max, newest_first| {
            Pick::LongestDue(LaneShares {
                untried_max,
                newest_first,
                ..LaneShares::UNLIMITED
            })
        };
        let (share, newest) = (|max| longest(max, false), |max| longest(max, true));
        let last = |untried_max, kept| {
            Pick::LongestDue(LaneShares {
                untried_max,
                untried: UntriedOrder::Last { kept },
                ..LaneShares::UNLIMITED
            })
        };
        for (max, pick, expected, is_left) in [
            (9, share(9), "U-1 U-2 W-1 U-3 W-2", false),
            (9, share(3), "U-1 U-2 W-1 U-3 W-2", false),
            (9, share(2), "U-1 U-2 W-1 W-2", true),
            (9, share(0), "W-1 W-2", true),
            (2, share(1), "U-1 W-1", true),
            (2, share(9), "U-1 U-2", false),
            (9, Pick::NotFailed, "W-1 W-2 U-1 U-2 U-3", false),
            // A newly arrived lane probes at once.
            (1, Pick::NotFailed, "W-2", false),
            (1, newest(9), "W-2", false),
            (2, newest(9), "W-2 U-3", false),
            (2, newest(0), "W-2 W-1", true),
            // FAULTS N783: new customers come last, and the newest of them comes first.
            (1, last(9, 0), "W-1", false),
            (2, last(9, 0), "W-1 W-2", false),
            (3, last(9, 0), "W-1 U-3 W-2", false),
            (9, last(9, 0), "U-1 U-2 W-1 U-3 W-2", false),
            (9, last(1, 0), "W-1 U-3 W-2", true),
            (1, last(9, 1), "U-3", false),
            (2, last(9, 1), "W-1 U-3", false),
            (2, last(0, 1), "W-1 W-2", true),
            (3, last(0, 1), "W-1 W-2", true),
        ] {
            let claim = outbox.claim(now, max, pick).await.unwrap();
            let keys = claim.lanes.iter().filter_map(|lane| match &lane.key {
                Some(LaneKey::Imprint(id)) => Some(id.as_str().to_owned()),
                Some(LaneKey::Partner(_)) | None => None,
            });
            let keys = keys.collect::<Vec<_>>().join(" ");
            assert_eq!(keys, expected, "{engine} {pick:?}");
            assert_eq!(claim.is_untried_left, is_left, "{engine} {pick:?}");
            keep_untried(outbox, &claim).await;
        }
    }
}

/// A probe prefers the lanes that do not fail, even if more failing lanes than a probe looks at have been due for
/// longer (FAULTS U50).
#[tokio::test]
async fn a_probe_finds_the_one_lane_that_does_not_fail() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        for number in 0..300 {
            append(
                outbox,
                &[entry(&format!("f-{number}"), &format!("F-{number}"), 1)],
            )
            .await;
        }
        let claim = outbox.claim(NOW, 300, Pick::LeastFailed(0)).await.unwrap();
        let rest = outbox.claim(NOW, 300, Pick::LeastFailed(0)).await.unwrap();
        let mut claim = claim;
        claim.lanes.extend(rest.lanes);
        assert_eq!(claim.lanes.len(), 300, "{engine}");
        for lane in &claim.lanes {
            let failed = Settlement {
                trials: after_failures(1),
                ..settlement(lane, Vec::new(), NOW)
            };
            record(outbox, failed).await;
        }
        let late = NewEntry {
            accepted_at: NOW.after(Duration::from_secs(1)),
            ..entry("w", "W", 1)
        };
        append(outbox, &[late]).await;
        let now = NOW.after(Duration::from_secs(2));
        let probe = outbox.claim(now, 1, Pick::LeastFailed(77)).await.unwrap();
        assert_eq!(probe.lanes[0].key, key("W"), "{engine}");
    }
}

/// FAULTS O01
#[tokio::test]
async fn a_duplicate_is_answered_with_the_stored_entry() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let first = append(outbox, &[entry("a", "CUST-1", 1)]).await;
        let again = append(
            outbox,
            &[
                entry("a", "CUST-1", 1),
                entry("b", "CUST-1", 2),
                entry("b", "CUST-1", 2),
            ],
        )
        .await;
        assert_eq!(
            again[0],
            AppendedEntry {
                duplicate: true,
                ..first[0]
            },
            "{engine}"
        );
        assert_eq!(
            (again[1].duplicate, again[2].duplicate),
            (false, true),
            "{engine}"
        );
        assert_eq!(again[1].entry, again[2].entry, "{engine}");
        assert_eq!(outbox.depth().await.unwrap().waiting, 2, "{engine}");
    }
}

/// FAULTS O02, N467
#[tokio::test]
async fn a_batch_with_a_conflict_stores_nothing() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[entry("a", "CUST-1", 1)]).await;
        let other = |id: &str| NewEntry {
            digest: Digest([8; 16]),
            ..entry(id, "CUST-1", 1)
        };
        let batch = vec![
            entry("b", "CUST-2", 1),
            other("a"),
            entry("c", "CUST-2", 1),
            other("c"),
        ];
        assert_eq!(
            outbox.append(batch).await.unwrap(),
            Appended::Conflict(vec![
                ConflictingEvent {
                    place: 1,
                    earlier: Some(stored[0].entry)
                },
                ConflictingEvent {
                    place: 3,
                    earlier: None
                },
            ]),
            "{engine}"
        );
        assert_eq!(outbox.depth().await.unwrap().waiting, 1, "{engine}");
    }
}

/// FAULTS O02: a conflict or a duplicate that names another customer than the stored event makes no lane of this
/// customer due.
#[tokio::test]
async fn a_refused_or_repeated_event_leaves_nothing_to_claim() {
    for (engine, outbox, _folder) in engines() {
        append(&*outbox, &[entry("a", "CUST-1", 1)]).await;
        let mut other = entry("a", "CUST-2", 1);
        let repeated = append(&*outbox, &[other.clone()]).await;
        assert!(repeated[0].duplicate, "{engine}");
        other.digest = Digest([8; 16]);
        let refused = outbox.append(vec![other]).await.unwrap();
        let conflict = ConflictingEvent {
            place: 0,
            earlier: Some(repeated[0].entry),
        };
        assert_eq!(refused, Appended::Conflict(vec![conflict]), "{engine}");
        let claimed = claim_one(&*outbox).await;
        assert_eq!(claimed.key, key("CUST-1"), "{engine}");
        // The refused event has created no lane for its customer.
        append(&*outbox, &[entry("b", "CUST-2", 1)]).await;
        assert_eq!(claim_one(&*outbox).await.key, key("CUST-2"), "{engine}");
    }
}

/// Entry numbers order the values of a customer for ever, so the outbox never uses a number twice, even after
/// retention has deleted receipts.
#[tokio::test]
async fn the_newest_receipt_is_never_deleted() {
    for (engine, outbox, _folder) in engines() {
        let both = [entry("a", "CUST-1", 1), entry("b", "CUST-1", 2)];
        let stored = append(&*outbox, &both).await;
        let claimed = claim_one(&*outbox).await;
        let endings = stored
            .iter()
            .map(|stored| (stored.entry, Ending::Delivered));
        let settlement = settlement(&claimed, endings.collect(), NOW);
        record(&*outbox, settlement).await;
        let second = Duration::from_secs(1);
        let young = NOW..=NOW.after(second);
        let go_on = outbox.prune_receipts(EntryId(0), young).await.unwrap();
        assert_eq!(go_on, None, "{engine}: all are stored");
        // A receipt from a time when the clock was ahead does not end the pruning of later receipts.
        let ahead = Timestamp::from_millis(0)..=Timestamp::from_millis(NOW.as_millis() - 1);
        let go_on = outbox.prune_receipts(EntryId(0), ahead).await.unwrap();
        assert!(go_on.is_some(), "{engine}");
        let old = NOW.after(second)..=NOW.after(2 * second);
        outbox.prune_receipts(EntryId(0), old).await.unwrap();
        let again = append(&*outbox, &both).await;
        assert_eq!(
            (again[0].duplicate, again[1].duplicate),
            (false, true),
            "{engine}"
        );
        assert!(again[0].entry > stored[1].entry, "{engine}");
    }
}

/// FAULTS O15
#[tokio::test]
async fn the_same_id_from_another_source_is_another_event() {
    for (engine, outbox, _folder) in engines() {
        let mut other = entry("a", "CUST-1", 1);
        other.identity.ce_source = Some(Attribute::parse("/crm/eu").unwrap());
        other.digest = Digest([9; 16]);
        let stored = append(outbox.as_ref(), &[entry("a", "CUST-1", 1), other]).await;
        assert!(!stored[1].duplicate, "{engine}");
    }
}

#[tokio::test]
async fn a_lane_is_claimed_once_and_stores_entries_meanwhile() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("a", "CUST-1", 1), entry("z", "CUST-2", 1)]).await;
        let claimed = outbox
            .claim(NOW, 1, Pick::LongestDue(LaneShares::UNLIMITED))
            .await
            .unwrap();
        assert_eq!(
            (claimed.lanes.len(), claimed.next_due),
            (1, Some(NOW)),
            "{engine}"
        );
        append(outbox, &[entry("b", "CUST-1", 2)]).await;
        let second = claim_one(outbox).await;
        assert_eq!(second.key, key("CUST-2"), "{engine}");
        assert!(claim(outbox, NOW).await.lanes.is_empty(), "{engine}");
        let first = &claimed.lanes[0];
        record(
            outbox,
            settlement(first, all(first, &Ending::Delivered), NOW),
        )
        .await;
        let again = claim_one(outbox).await;
        assert_eq!(
            (again.lane, again.waiting.len()),
            (first.lane, 1),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn uuid_shaped_ids_share_a_lane_whatever_their_case() {
    for (engine, outbox, _folder) in engines() {
        let upper = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
        append(
            outbox.as_ref(),
            &[entry("a", upper, 1), entry("b", &upper.to_lowercase(), 2)],
        )
        .await;
        assert_eq!(
            claim_one(outbox.as_ref()).await.waiting.len(),
            2,
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_lane_that_rests_is_not_due_before_its_time() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("a", "CUST-1", 1)]).await;
        let claimed = claim_one(outbox).await;
        let later = NOW.after(Duration::from_secs(5));
        record(
            outbox,
            Settlement {
                trials: after_failures(3),
                ..settlement(&claimed, Vec::new(), later)
            },
        )
        .await;
        append(outbox, &[entry("b", "CUST-1", 2)]).await;
        let early = claim(outbox, NOW).await;
        assert_eq!(
            (early.lanes.len(), early.next_due),
            (0, Some(later)),
            "{engine}"
        );
        let claimed = claim(outbox, later).await.lanes.remove(0);
        assert_eq!(
            (claimed.waiting.len(), claimed.trials.failures),
            (2, 3),
            "{engine}"
        );
        assert_eq!(receipt(outbox, "a").await.attempts, 1, "{engine}");
    }
}

#[tokio::test]
async fn settling_twice_changes_nothing_twice() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("a", "CUST-1", 1)]).await;
        let claimed = claim_one(outbox).await;
        record(
            outbox,
            settlement(&claimed, all(&claimed, &Ending::Delivered), NOW),
        )
        .await;
        let again = settlement(&claimed, all(&claimed, &IGNORED), NOW);
        assert_eq!(
            outbox.settle(again.into()).await.unwrap(),
            Settled::Stale,
            "{engine}"
        );
        assert_eq!(
            receipt(outbox, "a").await.state,
            State::Delivered,
            "{engine}"
        );
        assert_eq!(outbox.depth().await.unwrap().waiting, 0, "{engine}");
    }
}

/// The second of two settlements of one claim is stale, in the same commit and in a later commit.
#[tokio::test]
async fn a_claim_is_settled_once() {
    for (engine, outbox, _folder) in engines() {
        append(&*outbox, &[entry("a", "CUST-1", 1)]).await;
        let claimed = claim_one(&*outbox).await;
        let delivered = settlement(&claimed, all(&claimed, &Ending::Delivered), NOW);
        let ignored = settlement(&claimed, all(&claimed, &IGNORED), NOW);
        let both = (
            outbox.settle(delivered.clone().into()),
            outbox.settle(ignored.clone().into()),
        );
        let both = (both.0.await.unwrap(), both.1.await.unwrap());
        assert_eq!(both, (Settled::Recorded, Settled::Stale), "{engine}");
        for late in [delivered, ignored] {
            assert_eq!(
                outbox.settle(late.into()).await.unwrap(),
                Settled::Stale,
                "{engine}"
            );
        }
        let receipt = receipt(&*outbox, "a").await;
        assert_eq!(
            (receipt.state, receipt.attempts),
            (State::Delivered, 1),
            "{engine}"
        );
        assert_eq!(outbox.depth().await.unwrap().waiting, 0, "{engine}");
    }
}

/// Checks that a settlement from before a restart changes nothing: the lane was claimed again under another token.
async fn a_lost_claim_is_stale(
    engine: &str,
    before: Arc<dyn Outbox>,
    restart: impl FnOnce(Arc<dyn Outbox>) -> Arc<dyn Outbox>,
) {
    append(&*before, &[entry("a", "CUST-1", 1)]).await;
    let lost = claim_one(&*before).await;
    let outbox = restart(before);
    let late = settlement(&lost, all(&lost, &IGNORED), NOW);
    let settled = outbox.settle(late.clone().into()).await.unwrap();
    assert_eq!(settled, Settled::Stale, "{engine}: nobody has claimed it");
    let claimed = claim_one(&*outbox).await;
    assert_eq!(claimed.lane, lost.lane, "{engine}");
    assert_ne!(claimed.token, lost.token, "{engine}");
    let settled = outbox.settle(late.into()).await.unwrap();
    assert_eq!(
        settled,
        Settled::Stale,
        "{engine}: somebody else has claimed it"
    );
    assert_eq!(
        receipt(&*outbox, "a").await.state,
        State::Waiting,
        "{engine}"
    );
    assert_eq!(receipt(&*outbox, "a").await.attempts, 0, "{engine}");
    assert!(
        claim(&*outbox, NOW).await.lanes.is_empty(),
        "{engine}: it is still claimed"
    );
    let current = settlement(&claimed, all(&claimed, &Ending::Delivered), NOW);
    let settled = outbox.settle(current.into()).await.unwrap();
    assert_eq!(settled, Settled::Recorded, "{engine}");
}

#[tokio::test]
async fn a_settlement_of_a_lost_claim_changes_nothing() {
    let memory = Arc::new(MemoryOutbox::default());
    let restarted = Arc::clone(&memory);
    a_lost_claim_is_stale("memory", memory, move |_| {
        restarted.crash();
        restarted
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let sqlite = Arc::new(open(&path).unwrap());
    a_lost_claim_is_stale("sqlite", sqlite, move |before| {
        before.close();
        drop(before);
        Arc::new(open(&path).unwrap())
    })
    .await;
    let database = postgres::database();
    let open = || database.open(ClaimBounds::default(), Arc::default());
    a_lost_claim_is_stale("postgres", Arc::new(open()), |before| {
        before.close();
        drop(before);
        Arc::new(open())
    })
    .await;
}

#[tokio::test]
async fn a_setting_is_read_as_it_is_now() {
    for (engine, outbox, _folder) in engines() {
        let mode = Setting::DestinationMode;
        assert_eq!(outbox.setting(mode).await.unwrap(), None, "{engine}");
        let store = |value: &str| outbox.store_setting(mode, value.to_owned());
        for value in ["paused", "open"] {
            store(value).await.unwrap();
            let read = outbox.setting(mode).await.unwrap();
            assert_eq!(read.as_deref(), Some(value), "{engine}");
        }
        let other = outbox.setting(Setting::ThrottledUntil).await.unwrap();
        assert_eq!(other, None, "{engine}");
    }
}

/// FAULTS N1153: two processes change parts of one setting at the same time.
#[tokio::test]
async fn a_setting_is_replaced_only_if_it_is_still_the_known_one() {
    for (engine, outbox, _folder) in engines() {
        let brakes = Setting::OpenBrakes;
        for (known, value, is_replaced) in [
            (Some("a"), "b", false),
            (None, "a", true),
            (None, "b", false),
            (Some("a"), "b", true),
            (Some("a"), "c", false),
        ] {
            let known = known.map(str::to_owned);
            let replaced = outbox.replace_setting(brakes, known, value.to_owned());
            assert_eq!(replaced.await.unwrap(), is_replaced, "{engine} {value}");
        }
        let read = outbox.setting(brakes).await.unwrap();
        assert_eq!(read.as_deref(), Some("b"), "{engine}");
        let evidence = outbox.replace_setting(Setting::Evidence, None, "x".to_owned());
        assert!(!evidence.await.unwrap(), "{engine}");
    }
}

/// FAULTS N1494: a setting in a database is damaged. Its next value replaces it. A store in a file has the same test with a
/// restart, because only one process opens the file.
#[tokio::test]
async fn a_damaged_optional_setting_is_replaced() {
    for (engine, outbox, folder) in engines() {
        let StoreFolder::Database(database) = folder else {
            continue;
        };
        for damage in ["00ff", "05", ""] {
            let stored = outbox.store_setting(Setting::LastEvents, "{}".to_owned());
            stored.await.unwrap();
            database.psql(&format!(
                "UPDATE imprint_bridge.meta SET value = '\\x{damage}' WHERE name = 'last_events'"
            ));
            replace_damaged(&*outbox, &format!("{engine} {damage}")).await;
        }
    }
}

/// FAULTS N1509: a setting that the bridge needs is damaged. If it were absent, the start would overwrite it.
#[tokio::test]
async fn a_damaged_needed_setting_is_an_error() {
    for (engine, outbox, folder) in engines() {
        let StoreFolder::Database(database) = folder else {
            continue;
        };
        for setting in [Setting::Destination, Setting::SourceOrders] {
            let stored = outbox.store_setting(setting, "{}".to_owned());
            stored.await.unwrap();
            let name = setting.name();
            database.psql(&format!(
                "UPDATE imprint_bridge.meta SET value = '\\x00ff' WHERE name = '{name}'"
            ));
            let read = outbox.setting(setting).await;
            assert!(read.is_err(), "{engine} {name}");
        }
    }
}

async fn replace_damaged(outbox: &dyn Outbox, place: &str) {
    let setting = Setting::LastEvents;
    let known = outbox.setting(setting).await.unwrap();
    assert_eq!(known.as_deref(), Some(""), "{place}");
    for (known, is_replaced) in [("a", false), ("", true), ("", false)] {
        let known = Some(known.to_owned());
        let replaced = outbox.replace_setting(setting, known, "b".to_owned());
        assert_eq!(replaced.await.unwrap(), is_replaced, "{place}");
    }
    let read = outbox.setting(setting).await.unwrap();
    assert_eq!(read.as_deref(), Some("b"), "{place}");
}

#[tokio::test]
async fn a_receipt_names_the_winner_and_the_reason() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(
            outbox,
            &[
                entry("new", "CUST-1", 3),
                entry("old", "CUST-1", 2),
                entry("bad", "CUST-1", 1),
            ],
        )
        .await;
        let claimed = claim_one(outbox).await;
        let detail = Some("INVALID_REQUEST_ERROR: email".to_owned());
        let parked = Ending::Parked {
            reason: ParkReason::Rejected,
            detail: detail.clone(),
        };
        let endings = vec![
            (stored[0].entry, Ending::Delivered),
            (stored[1].entry, Ending::Superseded(stored[0].entry)),
            (stored[2].entry, parked),
        ];
        record(outbox, settlement(&claimed, endings, NOW)).await;
        let old = receipt(outbox, "old").await;
        assert_eq!(
            old.superseded_by.as_ref().map(Attribute::as_str),
            Some("new"),
            "{engine}"
        );
        let bad = receipt(outbox, "bad").await;
        assert_eq!(
            (bad.state, bad.parked),
            (State::Parked, Some((ParkReason::Rejected, detail))),
            "{engine}"
        );
        let depth = outbox.depth().await.unwrap();
        assert_eq!((depth.waiting, depth.parked), (0, 1), "{engine}");
    }
}

#[tokio::test]
async fn an_event_to_ignore_leaves_only_a_receipt() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(
            outbox,
            &[NewEntry {
                disposition: Disposition::Ignore(IgnoreReason::ListedType.into()),
                ..entry("a", "CUST-1", 1)
            }],
        )
        .await;
        assert_eq!(stored[0].state, State::Ignored, "{engine}");
        assert_eq!(receipt(outbox, "a").await.settled_at, Some(NOW), "{engine}");
        assert!(claim(outbox, NOW).await.lanes.is_empty(), "{engine}");
    }
}

#[tokio::test]
async fn a_waiting_caller_learns_when_its_entry_is_settled() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[entry("a", "CUST-1", 1)]).await;
        let claimed = claim_one(outbox).await;
        let waiting = outbox.wait_settled(stored[0].entry);
        record(
            outbox,
            settlement(&claimed, all(&claimed, &Ending::Delivered), NOW),
        )
        .await;
        assert_eq!(waiting.await.unwrap(), State::Delivered, "{engine}");
        assert_eq!(
            outbox.wait_settled(stored[0].entry).await.unwrap(),
            State::Delivered,
            "{engine}"
        );
    }
}

/// FAULTS O16
#[tokio::test]
async fn an_append_resolves_a_wake_up_that_was_made_before() {
    for (_, outbox, _folder) in engines() {
        let woken = outbox.woken();
        append(outbox.as_ref(), &[entry("a", "CUST-1", 1)]).await;
        woken.await;
    }
}

/// Returns the versions of a claimed lane after the delivery of all waiting entries.
fn delivered(claimed: &ClaimedLane) -> LaneVersions {
    claimed.versions.clone().delivered(&fold(
        &claimed.versions,
        &claimed.candidates(),
        MaxFold(100),
        NOW,
    ))
}

#[tokio::test]
async fn lane_versions_outlive_the_entries_that_brought_them() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[entry("a", "CUST-1", 5)]).await;
        let claimed = claim_one(outbox).await;
        let versions = Some(delivered(&claimed));
        let done = Settlement {
            versions,
            ..settlement(&claimed, all(&claimed, &Ending::Delivered), NOW)
        };
        record(outbox, done).await;
        append(outbox, &[entry("late", "CUST-1", 4)]).await;
        let claimed = claim_one(outbox).await;
        let late = Candidate {
            version: claimed.waiting[0].version,
            update: &claimed.waiting[0].update,
            jump_max: None,
            floors: None,
        };
        let fold = fold(&claimed.versions, &[late], MaxFold(100), NOW);
        assert_eq!(
            fold.stale,
            [(late.version.arrival, FoldEnd::Superseded(stored[0].entry.0))],
            "{engine}"
        );
    }
}

/// The outbox knows the event that set a value for as long as Imprint has the value, even after retention deleted the
/// event's receipt.
#[tokio::test]
async fn the_origin_of_a_value_outlives_the_receipt_of_its_event() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let none = outbox.origins(key("CUST-1").unwrap()).await.unwrap();
        assert_eq!(none, [], "{engine}");
        let mut now = NOW;
        for (id, value) in [("first", 1), ("second", 2)] {
            let stored = append(outbox, &[entry(id, "CUST-1", value)]).await;
            let claimed = claim_one(outbox).await;
            let versions = Some(delivered(&claimed));
            let done = settle_as_delivered(&claimed, versions);
            record(outbox, done).await;
            append(outbox, &[entry(&format!("later-{id}"), "CUST-2", value)]).await;
            let later = claim(outbox, NOW).await.lanes.remove(0);
            record(outbox, settle_as_delivered(&later, None)).await;
            is_origin(outbox, id, stored[0].entry).await;
            now = now.after(Duration::from_secs(10));
            outbox.prune_receipts(EntryId(0), now..=now).await.unwrap();
            is_origin(outbox, id, stored[0].entry).await;
            let Identity { source, id, .. } = identity(id);
            let lookup = Lookup {
                source,
                ce_source: None,
                id,
            };
            assert_eq!(
                outbox.find(lookup).await.unwrap(),
                None,
                "{engine}: it is deleted"
            );
        }
    }
}

/// Checks that this event set the only value of the customer, and that one request delivered the event.
async fn is_origin(outbox: &dyn Outbox, id: &str, entry: EntryId) {
    let origins = outbox.origins(key("CUST-1").unwrap()).await.unwrap();
    assert_eq!(origins.len(), 1, "{id}");
    assert_eq!(origins[0].field, Field::parse("email").unwrap());
    assert_eq!(origins[0].version.arrival, entry.0, "{id}");
    let event = origins[0].event.as_ref().unwrap();
    assert_eq!(event.identity, identity(id));
    assert_eq!((event.delivered_at, event.attempts), (NOW, 1), "{id}");
}

fn settle_as_delivered(claimed: &ClaimedLane, versions: Option<LaneVersions>) -> Settlement {
    Settlement {
        versions,
        ..settlement(claimed, all(claimed, &Ending::Delivered), NOW)
    }
}

/// FAULTS P05, P06: a lane that was claimed before the restart is due again.
#[tokio::test]
async fn a_reopened_store_has_every_stored_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let store = open(&path).unwrap();
    append(&store, &[entry("a", "CUST-1", 1), entry("b", "CUST-2", 1)]).await;
    let claimed = claim(&store, NOW).await.lanes;
    record(
        &store,
        settlement(&claimed[0], all(&claimed[0], &Ending::Delivered), NOW),
    )
    .await;
    let digest_key = store.digest_key();
    store.close();
    assert!(matches!(
        store.append(vec![entry("c", "CUST-1", 1)]).await,
        Err(Error::Closed)
    ));
    let store = open(&path).unwrap();
    assert_eq!(store.digest_key(), digest_key);
    assert_eq!(receipt(&store, "a").await.state, State::Delivered);
    assert_eq!(claim_one(&store).await.key, key("CUST-2"));
}

/// FAULTS P22, D16
#[test]
fn a_second_process_learns_which_process_holds_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let first = open(&path).unwrap();
    let refused = SqliteOutbox::open(&path, 1000, NOW)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains(&format!("locked by process {}", std::process::id())),
        "{refused}"
    );
    drop(first);
    drop(open(&path).unwrap());
}

/// FAULTS D13
#[test]
fn a_file_that_is_not_a_store_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("empty", &b""[..]), ("text", b"not a database, and long enough for a header of 100 bytes or so, is it not? It is, by now, surely.")] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert!(matches!(open(&path), Err(OpenError::Empty(_) | OpenError::Foreign(_))), "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), content, "{name}");
    }
}

/// FAULTS I35: a store writer with a full queue refuses events at once.
#[tokio::test]
async fn a_full_queue_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteOutbox::open(&folder.path().join("outbox.db"), 1, NOW).unwrap();
    let two = vec![entry("a", "CUST-1", 1), entry("b", "CUST-1", 1)];
    assert!(matches!(store.append(two).await, Err(Error::Busy)));
    append(&store, &[entry("a", "CUST-1", 1)]).await;
    append(&store, &[entry("b", "CUST-1", 1)]).await;
}

/// FAULTS V7: the queue of the store writer is also limited in bytes, for the case of a slow disk.
#[tokio::test]
async fn a_queue_can_be_full_of_bytes_before_it_is_full_of_events() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("outbox.db")).unwrap();
    let large = NewEntry {
        event: vec![b' '; 65 * 1024 * 1024],
        ..entry("a", "CUST-1", 1)
    };
    assert!(matches!(store.append(vec![large]).await, Err(Error::Busy)));
    append(&store, &[entry("b", "CUST-1", 1)]).await;
}

/// FAULTS D18
#[test]
fn only_the_owner_reads_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let _store = open(&path).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            file.file_name()
        );
    }
}
