//! Tests of sealed stores: missing keys, damaged records, and records that are sealed again.

use std::collections::{BTreeMap, BTreeSet};

use imprint_bridge::outbox::{
    Absence, AuditProof, ClaimBounds, KeyMark, KeyUse, RecordReport, SealingStatus, count_keys,
    restore, verify,
};
use imprint_bridge::sealing::{KeyId, KeyRing, SealingKey};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::damage::{LATER, columns, settle_everything, template};
use super::*;
use crate::sealing::{hex, key_id};

/// The number of bytes before the ciphertext, and the first byte of each class of bytes in a sealed record.
pub(super) const CLASSES: [(&str, usize); 5] = [
    ("version", 0),
    ("key id", 3),
    ("salt", 12),
    ("commitment", 30),
    ("ciphertext", 60),
];

pub(super) fn ring(seeds: &[u8]) -> Arc<KeyRing> {
    let keys = seeds
        .iter()
        .map(|seed| SealingKey::parse(&hex(*seed).into()).unwrap());
    Arc::new(KeyRing::new(keys))
}

fn try_open(path: &Path, seeds: &[u8]) -> Result<SqliteOutbox, OpenError> {
    when_free(|| SqliteOutbox::open_sealed(path, 1000, NOW, (ClaimBounds::default(), ring(seeds))))
}

pub(super) fn open_with(path: &Path, seeds: &[u8]) -> SqliteOutbox {
    try_open(path, seeds).unwrap()
}

pub(super) async fn reseal(store: &SqliteOutbox) {
    while store.reseal().await.unwrap() {}
}

pub(super) fn status(store: &SqliteOutbox) -> SealingStatus {
    store.sealing().borrow().clone()
}

pub(super) fn with(store: &SqliteOutbox, wanted: KeyUse) -> Vec<String> {
    let status = status(store);
    status.with(wanted).map(|id| id.to_string()).collect()
}

/// Returns the ids of the entries in a claim, and the ids of the unreadable entries.
pub(super) async fn claimed(store: &SqliteOutbox) -> (Vec<u64>, Vec<u64>) {
    let lanes = claim(store, LATER).await.lanes;
    let waiting = lanes.iter().flat_map(|lane| &lane.waiting);
    let unreadable = lanes.iter().flat_map(|lane| &lane.unreadable);
    (
        waiting.map(|waiting| waiting.entry.0).collect(),
        unreadable.map(|entry| entry.0).collect(),
    )
}

pub(super) fn run(future: impl Future<Output = ()>) {
    crate::support::block_on(future);
}

/// FAULTS N482: the lane waits, nothing is parked, and every other lane is delivered. When the key is back, the lane is
/// claimed.
#[test]
fn a_lane_whose_sealing_key_is_missing_waits_for_the_key() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let store = open_with(&path, &[1]);
        append(&store, &[entry("E1", "CUST-1", 1)]).await;
        drop(store);
        let store = open_with(&path, &[1, 2]);
        append(&store, &[entry("E2", "CUST-2", 1)]).await;
        drop(store);
        let store = open_with(&path, &[2]);
        assert_eq!(with(&store, KeyUse::Missing), [key_id(1)]);
        assert_eq!(claimed(&store).await, (vec![2], vec![]));
        assert_eq!(status(&store).locked_lanes, 1);
        assert_eq!(claimed(&store).await, (vec![], vec![]));
        let shown = store.inspect(EntryId(1)).await;
        assert!(matches!(shown, Err(Error::Failed { .. })), "{shown:?}");
        let parked = store.list(EntryFilter::in_state(State::Parked, 10)).await;
        assert_eq!(parked.unwrap().entries.len(), 0);
        // A pass cannot seal the record again, and the store still needs the key.
        reseal(&store).await;
        assert_eq!(with(&store, KeyUse::Missing), [key_id(1)]);
        store.use_keys(ring(&[1, 2])).await.unwrap();
        assert_eq!(claimed(&store).await, (vec![1], vec![]));
        assert_eq!(with(&store, KeyUse::Missing), Vec::<String>::new());
        assert_eq!(status(&store).locked_lanes, 0);
    });
}

/// FAULTS N482: an operator can withdraw the entries of a lane whose key is lost.
#[test]
fn an_entry_whose_sealing_key_is_lost_can_be_discarded() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let store = open_with(&path, &[1]);
        append(&store, &[entry("E1", "CUST-1", 1)]).await;
        let claimed_lane = claim_one(&store).await;
        let versions = LaneVersions::default();
        let settled = Settlement {
            versions: Some(versions),
            ..settlement(&claimed_lane, Vec::new(), NOW)
        };
        record(&store, settled).await;
        drop(store);
        drop(open_with(&path, &[1, 2]));
        let store = open_with(&path, &[2]);
        assert_eq!(claimed(&store).await, (vec![], vec![]));
        let event = AuditEvent {
            operator: "alice".to_owned(),
            action: "discard",
            target: "1".to_owned(),
            reason: Some("the key is lost".to_owned()),
            at: NOW,
        };
        let withdrawal = Withdrawal {
            entries: vec![EntryId(1)],
            from: vec![State::Waiting],
            to: WithdrawnState::Discarded,
        };
        let withdrawn = store.withdraw(withdrawal, event).await.unwrap();
        assert_eq!(withdrawn.entries, [EntryId(1)]);
        let audit = store.audit(0, 10).await.unwrap();
        assert!(audit.iter().all(|record| record.is_intact));
        assert_eq!(store.depth().await.unwrap().waiting, 0);
    });
}

/// Appends an event of two customers to a sealed store, and then changes the stored update of the first event.
async fn after_change(change: impl Fn(Vec<u8>, Vec<u8>) -> Value) -> (Vec<u64>, Vec<u64>) {
    let folder = fast_folder();
    let path = folder.path().join("outbox.db");
    let store = open_with(&path, &[1]);
    append(
        &store,
        &[entry("E1", "CUST-1", 1), entry("E2", "CUST-2", 1)],
    )
    .await;
    reseal(&store).await;
    drop(store);
    let file = Connection::open(&path).unwrap();
    let facts = |entry: u64| {
        let sql = "SELECT facts FROM waiting WHERE entry = ?1";
        file.query_row(sql, [entry], |row| row.get::<_, Vec<u8>>(0))
            .unwrap()
    };
    let changed = change(facts(1), facts(2));
    let update = "UPDATE waiting SET facts = ?1 WHERE entry = 1";
    file.execute(update, [changed]).unwrap();
    drop(file);
    claimed(&open_with(&path, &[1])).await
}

/// FAULTS N480, N483, N484: only the damaged, moved or forged record is unreadable.
#[test]
fn a_damaged_record_is_unreadable_and_every_other_record_is_delivered() {
    run(async {
        let only_the_first = (vec![2], vec![1]);
        for (class, at) in CLASSES.into_iter().chain([("tag", usize::MAX)]) {
            let flip = |mut own: Vec<u8>, _other| {
                let at = at.min(own.len() - 1);
                own[at] ^= 4;
                Value::Blob(own)
            };
            assert_eq!(after_change(flip).await, only_the_first, "{class}");
        }
        let swapped = |_own, other| Value::Blob(other);
        assert_eq!(after_change(swapped).await, only_the_first, "swapped");
        let forged = |_own, _other| Value::Blob(b"[]".to_vec());
        assert_eq!(after_change(forged).await, only_the_first, "forged");
        let unchanged = |own, _other| Value::Blob(own);
        assert_eq!(after_change(unchanged).await, (vec![1, 2], vec![]));
    });
}

/// Returns every blob of the store, by table, column and row.
fn blobs(path: &Path) -> BTreeMap<String, Value> {
    let file = Connection::open(path).unwrap();
    let mut blobs = BTreeMap::new();
    for (table, number, columns) in [
        ("waiting", "entry", &["facts", "event"][..]),
        ("held", "entry", &["facts", "event"]),
        ("undecided", "entry", &["facts", "event"]),
        ("parked", "entry", &["facts", "event", "detail", "errors"]),
        ("entry", "id", &["skipped"]),
        ("lane", "id", &["versions", "absence", "received"]),
        ("pair", "confirmed_at", &["received"]),
        ("act", "number", &["reason"]),
    ] {
        for column in columns {
            let sql = format!("SELECT {number}, {column} FROM {table} WHERE length({column}) > 0");
            let mut rows = file.prepare(&sql).unwrap();
            let rows = rows.query_map([], |row| {
                let number: u64 = row.get(0)?;
                Ok((format!("{table}.{column} {number}"), row.get(1)?))
            });
            blobs.extend(rows.unwrap().map(Result::unwrap));
        }
    }
    blobs
}

/// Returns the id of the key with which a value is sealed.
fn sealed_with(value: &Value) -> Option<String> {
    let Value::Blob(blob) = value else {
        return None;
    };
    let (&[1, ref key @ ..], _) = blob.split_first_chunk::<9>()? else {
        return None;
    };
    Some(key.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns what the ports show of all entries, without the parts that a restart changes.
async fn content(store: &SqliteOutbox) -> Vec<String> {
    let mut content = Vec::new();
    for number in 1..30 {
        let inspection = store.inspect(EntryId(number)).await.unwrap();
        let Some(inspection) = inspection else {
            continue;
        };
        content.push(format!(
            "{:?} {:?} {:?}",
            inspection.summary, inspection.update, inspection.event
        ));
    }
    content.push(format!("{:?}", store.audit(0, 100).await.unwrap()));
    content.push(format!("{:?}", store.depth().await.unwrap()));
    content
}

/// FAULTS N486, N487: a plain store, and a store with an older key, get every record sealed with the newest key. Nothing
/// else changes. Afterwards the store does not need the older key.
#[test]
fn every_record_is_sealed_again_with_the_newest_key() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        template(&path).await;
        let store = open(&path).unwrap();
        let skips = invalid::skipping("skips", &["email"]);
        append(&store, &[invalid::invalid("invalid"), skips]).await;
        let before = content(&store).await;
        let digest_key = store.digest_key();
        drop(store);
        let plain = blobs(&path);
        assert!(plain.len() > 15, "{:?}", plain.keys());
        assert!(plain.values().all(|value| sealed_with(value).is_none()));
        for (keys, newest) in [(&[1][..], 1), (&[1, 2], 2)] {
            let store = open_with(&path, keys);
            assert_eq!(content(&store).await, before);
            assert!(store.reseal().await.unwrap(), "a pass has several steps");
            reseal(&store).await;
            assert!(!status(&store).has_plain);
            assert_eq!(status(&store).left, 0);
            let removable: Vec<String> = (1..newest).map(key_id).collect();
            assert_eq!(with(&store, KeyUse::Removable), removable);
            assert_eq!(content(&store).await, before);
            drop(store);
            let sealed = blobs(&path);
            assert!(sealed.keys().eq(plain.keys()));
            for (place, value) in sealed {
                assert_eq!(sealed_with(&value), Some(key_id(newest)), "{place}");
            }
        }
        let store = open_with(&path, &[2]);
        assert_eq!(content(&store).await, before);
        assert_eq!(store.digest_key(), digest_key);
        assert!(!store.reseal().await.unwrap());
        drop(store);
        let file = std::fs::read(&path).unwrap();
        assert!(!file.windows(32).any(|part| part == digest_key));
    });
}

/// Opens every record of a closed store.
pub(super) fn verified(path: &Path, seeds: &[u8]) -> RecordReport {
    let verified = when_free(|| {
        let mut progress = 0;
        let (_, records) = verify(path, &AuditProof::default(), &ring(seeds), &mut |records| {
            progress = records;
        })?;
        assert_eq!(progress, records.total());
        Ok(records)
    });
    verified.unwrap()
}

/// Returns every column of every table with a value in the form of a sealed record, and counts these values.
fn sealed_columns(path: &Path) -> BTreeMap<String, u64> {
    let file = Connection::open(path).unwrap();
    let mut sealed = BTreeMap::new();
    for (table, column) in columns(&file) {
        let sql = format!(
            "SELECT count(*) FROM {table} WHERE typeof({column}) = 'blob' AND length({column}) >= 73 AND substr({column}, 1, 1) = x'01'"
        );
        let count: u64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        if count > 0 {
            sealed.insert(format!("{table}.{column}"), count);
        }
    }
    sealed
}

/// FAULTS N841: `verify` opens each record of a store with records in every table, and counts them by key.
#[test]
fn every_record_is_opened_and_counted_by_its_key() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        template(&path).await;
        let store = open(&path).unwrap();
        let skips = invalid::skipping("skips", &["email"]);
        append(&store, &[invalid::invalid("invalid"), skips]).await;
        drop(store);
        let plain = verified(&path, &[]);
        assert!(plain.readable.plain > 15, "{plain:?}");
        assert_eq!(
            (plain.total(), &plain.listed[..]),
            (plain.readable.plain, &[][..])
        );

        let store = open_with(&path, &[1]);
        reseal(&store).await;
        append(&store, &[entry("later", "CUST-LATER", 1)]).await;
        drop(store);
        let sealed = sealed_columns(&path);
        let all: u64 = sealed.values().sum();
        let one = verified(&path, &[1]);
        assert_eq!(one.readable.sealed.values().sum::<u64>(), all, "{sealed:?}");
        assert_eq!(
            (one.readable.plain, one.unreadable, one.locked.len()),
            (0, 0, 0)
        );
        // Each new entry has an update, an event and a lane.
        assert_eq!(all, plain.total() + 3);

        // Only the new entry and the digest key have the second key.
        let store = open_with(&path, &[1, 2]);
        append(&store, &[entry("newest", "CUST-NEWEST", 1)]).await;
        drop(store);
        let both = verified(&path, &[1, 2]);
        let by_key = |counts: &BTreeMap<KeyId, u64>| -> BTreeMap<String, u64> {
            counts
                .iter()
                .map(|(key, count)| (key.to_string(), *count))
                .collect()
        };
        let expected = BTreeMap::from([(key_id(1), all - 1), (key_id(2), 4)]);
        assert_eq!(by_key(&both.readable.sealed), expected);
        let counted = when_free(|| count_keys(&path, &ring(&[1, 2]))).unwrap();
        let counted = counted
            .keys
            .iter()
            .map(|line| (line.id.to_string(), line.records.unwrap()));
        let in_tables = BTreeMap::from([(key_id(1), all - 1), (key_id(2), 3)]);
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), in_tables);

        let one_missing = verified(&path, &[2]);
        assert_eq!(
            by_key(&one_missing.locked),
            BTreeMap::from([(key_id(1), all - 1)])
        );
        assert_eq!(one_missing.unreadable, 0);
        let no_key = verified(&path, &[]);
        assert_eq!((by_key(&no_key.locked), no_key.unreadable), (expected, 0));
    });
}

/// Creates a store with sealed records of every kind.
pub(super) async fn sealed_template(path: &Path) {
    template(path).await;
    let store = open_with(path, &[1]);
    let skips = invalid::skipping("skips", &["email"]);
    let absent = entry("absent", "CUST-ABSENT", 1);
    append(&store, &[invalid::invalid("invalid"), skips, absent]).await;
    for claimed in claim(&store, LATER).await.lanes {
        let absence = Absence {
            at: NOW,
            is_typed: true,
            by_search: false,
            by_id: true,
            key: KeyMark(1),
        };
        let unproven = Unproven {
            since: Some(NOW),
            absence: (claimed.key == key("CUST-ABSENT")).then_some(absence),
        };
        let settled = settlement(&claimed, Vec::new(), NOW);
        record(
            &store,
            Settlement {
                unproven,
                ..settled
            },
        )
        .await;
    }
    reseal(&store).await;
}

/// Returns the number that `verify` reports for a place of [`blobs`]: of an identity link, the first half of its digest.
fn reported_number(path: &Path, place: &str) -> String {
    let (column, number) = place.split_once(' ').unwrap();
    if column != "pair.received" {
        return number.to_owned();
    }
    let file = Connection::open(path).unwrap();
    let sql = "SELECT partner FROM pair WHERE confirmed_at = ?1";
    let digest: Vec<u8> = file.query_row(sql, [number], |row| row.get(0)).unwrap();
    u64::from_be_bytes(digest[..8].try_into().unwrap()).to_string()
}

/// Checks that `verify` finds a changed bit of each class of bytes in a sealed record, and a forged record.
fn check_changes(path: &Path, place: &str, blob: &[u8]) {
    let number = reported_number(path, place);
    for (class, at) in CLASSES.into_iter().chain([("tag", usize::MAX)]) {
        let mut changed = blob.to_vec();
        let at = at.min(changed.len() - 1);
        changed[at] ^= 4;
        write(path, place, Value::Blob(changed));
        let found = verified(path, &[1]);
        assert_eq!(found.unreadable, 1, "{place} {class}: {found:?}");
        let listed = found.listed.join("");
        assert!(
            listed.contains(&format!(" {number}")),
            "{place} {class}: {listed}"
        );
        // Without keys, only a changed version or key id shows.
        let shows = ["version", "key id"].contains(&class);
        assert_eq!(
            verified(path, &[]).unreadable,
            u64::from(shows),
            "{place} {class}"
        );
    }
    write(path, place, Value::Text("forged".to_owned()));
    assert_eq!(verified(path, &[1]).unreadable, 1, "{place}");
    write(path, place, Value::Blob(blob.to_vec()));
    assert_eq!(verified(path, &[1]).unreadable, 0, "{place}");
}

/// FAULTS N841: one changed bit in any class of bytes, in any kind of record, is found, and the record is named.
#[test]
fn a_flipped_bit_of_any_record_is_found_and_named() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        sealed_template(&path).await;
        let mut columns = BTreeSet::new();
        for (place, value) in blobs(&path) {
            let Value::Blob(blob) = value else {
                panic!("{place}");
            };
            // One row of each column is enough.
            if columns.insert(place.split_once(' ').unwrap().0.to_owned()) {
                check_changes(&path, &place, &blob);
            }
        }
        assert_eq!(columns.len(), 16, "{columns:?}");
        let file = Connection::open(&path).unwrap();
        let damage = "UPDATE meta SET value = x'01ff' WHERE name = 'digest_key'";
        file.execute(damage, []).unwrap();
        drop(file);
        let found = verified(&path, &[1]);
        assert!(found.listed[0].starts_with("digest key 0"), "{found:?}");
    });
}

/// Returns the entries that a damage at a place of [`blobs`] concerns: one entry, those of one lane, or none.
fn concerned(path: &Path, place: &str) -> BTreeSet<u64> {
    let (column, number) = place.split_once(' ').unwrap();
    let sql = match column.split_once('.').unwrap().0 {
        "lane" => format!("SELECT id FROM entry WHERE lane = {number}"),
        "pair" | "act" => return BTreeSet::new(),
        _ => return BTreeSet::from([number.parse().unwrap()]),
    };
    let file = Connection::open(path).unwrap();
    let mut rows = file.prepare(&sql).unwrap();
    let rows = rows.query_map([], |row| row.get(0));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Opens a store, accepts one more event, claims and settles everything that waits, and returns the state of each entry.
async fn settled_states(path: &Path, what: &str) -> BTreeMap<u64, State> {
    let store = open_with(path, &[1]);
    append(&store, &[entry("one more", "CUST-MORE", 1)]).await;
    settle_everything(&store, what).await;
    let mut states = BTreeMap::new();
    for state in State::ALL {
        let page = store.list(EntryFilter::in_state(state, 100)).await.unwrap();
        let entries = page.entries.iter().map(|found| found.receipt.entry.0);
        states.extend(entries.map(|entry| (entry, state)));
    }
    states
}

/// Flips a bit of each class of bytes in the record at a place of copies of a store, and checks that every entry that the
/// record does not concern ends as in the `sound` store.
async fn check_around((template, place): (&Path, &str), blob: &[u8], sound: &BTreeMap<u64, State>) {
    let concerned = concerned(template, place);
    for (class, at) in CLASSES.into_iter().chain([("tag", usize::MAX)]) {
        let own = fast_folder();
        let path = own.path().join("outbox.db");
        std::fs::copy(template, &path).unwrap();
        let mut changed = blob.to_vec();
        let at = at.min(changed.len() - 1);
        changed[at] ^= 4;
        write(&path, place, Value::Blob(changed));
        let what = format!("{place} {class}");
        let states = settled_states(&path, &what).await;
        assert!(states.keys().eq(sound.keys()), "{what}: an entry is lost");
        let others = sound.iter().filter(|(entry, _)| !concerned.contains(entry));
        for (entry, state) in others {
            assert_eq!(states.get(entry), Some(state), "{what}: entry {entry}");
        }
        let is_parked = |entry: &u64| states[entry] == State::Parked;
        if place.starts_with("waiting.facts") {
            assert!(concerned.iter().all(is_parked), "{what}: {states:?}");
        }
    }
}

/// FAULTS N1446: a flipped bit of any class of bytes, in any kind of record, concerns only the entry or the customer of the
/// record: every other waiting entry is claimed and settled.
#[test]
fn everything_else_is_delivered_around_a_flipped_bit() {
    run(async {
        let folder = fast_folder();
        let template = folder.path().join("template.db");
        sealed_template(&template).await;
        // The store of the template is closed when this command can open it.
        assert_eq!(verified(&template, &[1]).unreadable, 0);
        let unchanged = folder.path().join("unchanged.db");
        std::fs::copy(&template, &unchanged).unwrap();
        let sound = settled_states(&unchanged, "unchanged").await;
        let delivered = sound.values().filter(|state| **state == State::Delivered);
        assert!(delivered.count() > 3, "{sound:?}");
        let mut columns = BTreeSet::new();
        for (place, value) in blobs(&template) {
            let Value::Blob(blob) = value else {
                panic!("{place}");
            };
            if !columns.insert(place.split_once(' ').unwrap().0.to_owned()) {
                continue;
            }
            check_around((&template, &place), &blob, &sound).await;
        }
        assert_eq!(columns.len(), 16, "{columns:?}");
    });
}

/// Replaces the value at a place of [`blobs`].
fn write(path: &Path, place: &str, value: Value) {
    let (column, number) = place.split_once(' ').unwrap();
    let (table, column) = column.split_once('.').unwrap();
    let id = match table {
        "entry" | "lane" => "id",
        "act" => "number",
        "pair" => "confirmed_at",
        _ => "entry",
    };
    let file = Connection::open(path).unwrap();
    let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {id} = {number}");
    assert_eq!(file.execute(&sql, [value]).unwrap(), 1, "{place}");
}

/// FAULTS N841: a store with a million unreadable records has a report of a bounded size, and the walk goes in steps.
#[test]
fn many_unreadable_records_are_counted_and_only_the_first_are_listed() {
    run(async {
        let folder = fast_folder();
        let path = folder.path().join("outbox.db");
        let store = open_with(&path, &[1]);
        let entries: Vec<_> = (1..=600)
            .map(|number| entry(&format!("E{number}"), &format!("C-{number}"), 1))
            .collect();
        append(&store, &entries).await;
        reseal(&store).await;
        drop(store);
        let file = Connection::open(&path).unwrap();
        let swap = "UPDATE waiting SET facts = (SELECT event FROM waiting WHERE entry = 1)";
        file.execute(swap, []).unwrap();
        drop(file);
        let proof = AuditProof::default();
        let verified = when_free(|| {
            let mut steps = Vec::new();
            let verified = verify(&path, &proof, &ring(&[1]), &mut |records| {
                steps.push(records);
            })?;
            Ok((steps, verified))
        });
        let (steps, (report, records)) = verified.unwrap();
        assert_eq!(report.errors, Vec::<String>::new());
        assert_eq!((records.unreadable, records.listed.len()), (600, 20));
        assert_eq!(
            records.listed[0],
            "update of entry 1: the sealed bytes are damaged"
        );
        assert!(steps.len() > 8, "{steps:?}");
        // A restore is possible: the bridge parks only the unreadable entries.
        let other = folder.path().join("other.db");
        assert!(when_free(|| restore(&path, &other, &proof, &ring(&[1]))).is_ok());
    });
}

/// FAULTS N488: a process without the necessary key does not start, because it would recognize no duplicate, or would
/// store new records unsealed.
#[test]
fn a_sealed_store_is_not_opened_without_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    drop(open_with(&path, &[1]));
    let refusal = |seeds: &[u8]| try_open(&path, seeds).unwrap_err().to_string();
    let id = key_id(1);
    let text = refusal(&[]);
    assert!(
        text.contains(&format!("is sealed with the key {id}")),
        "{text}"
    );
    let text = refusal(&[2]);
    assert!(
        text.contains(&format!("sealed with the key {id}, whose file")),
        "{text}"
    );
    drop(open_with(&path, &[1, 2]));
    drop(open_with(&path, &[2]));
    let file = Connection::open(&path).unwrap();
    let damage = "UPDATE meta SET value = x'01ff' WHERE name = 'digest_key'";
    file.execute(damage, []).unwrap();
    drop(file);
    assert!(refusal(&[2]).contains("is damaged"));
}

/// FAULTS N489: a damaged list of keys makes no record unreadable.
#[test]
fn a_damaged_list_of_keys_makes_no_record_unreadable() {
    run(async {
        for damage in [
            "UPDATE sealing_key SET id = x'ff00fe'",
            "UPDATE sealing_key SET id = 'text'",
            "DELETE FROM sealing_key",
        ] {
            for keys in [&[][..], &[1]] {
                let folder = fast_folder();
                let path = folder.path().join("outbox.db");
                let store = open_with(&path, keys);
                append(&store, &[entry("E1", "CUST-1", 1)]).await;
                drop(store);
                Connection::open(&path)
                    .unwrap()
                    .execute(damage, [])
                    .unwrap();
                let store = open_with(&path, keys);
                reseal(&store).await;
                assert_eq!(
                    claimed(&store).await,
                    (vec![1], vec![]),
                    "{damage} {keys:?}"
                );
                assert!(!store.reseal().await.unwrap(), "{damage} {keys:?}");
            }
        }
    });
}
