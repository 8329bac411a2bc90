//! Tests of stores that move from a file into a database, or back.

use std::path::Path;

use imprint_bridge::outbox::{
    AuditKeys, DatabaseAddress, LaterEvents, Settings as _, TransferError, TransferPlace, transfer,
};

use super::erased::{deliver, erase, imprint, partner_key};
use super::set_aside::{event, states};
use super::*;

fn file(path: &Path) -> TransferPlace {
    TransferPlace::File(path.to_owned())
}

fn place(database: &postgres::PostgresDatabase) -> TransferPlace {
    TransferPlace::Database(DatabaseAddress {
        url: database.url(),
        ..DatabaseAddress::default()
    })
}

/// Copies a store in a thread of its own: a test possibly runs inside a runtime.
fn copy(
    from: &TransferPlace,
    to: &TransferPlace,
    seeds: &[u8],
    now: Timestamp,
) -> Result<(), TransferError> {
    let ring = sealed::ring(seeds);
    std::thread::scope(|scope| {
        let copy = || transfer((from, to), &ring, now, &mut |_| {}).map(|_| ());
        scope.spawn(copy).join().unwrap()
    })
}

fn moved(from: &TransferPlace, to: &TransferPlace, seeds: &[u8], now: Timestamp) {
    let copied = wait_for("the store is free", || match copy(from, to, seeds, now) {
        Err(TransferError::File(OpenError::Locked { .. })) => None,
        done => Some(done),
    });
    copied.unwrap();
}

/// Copies a store from a file into a database.
#[track_caller]
pub(super) fn move_into(
    from: &Path,
    to: &postgres::PostgresDatabase,
    seeds: &[u8],
    now: Timestamp,
) {
    moved(&file(from), &place(to), seeds, now);
}

/// Copies a store from a database into a file.
#[track_caller]
pub(super) fn move_out(from: &postgres::PostgresDatabase, to: &Path, seeds: &[u8], now: Timestamp) {
    moved(&place(from), &file(to), seeds, now);
}

/// Erases one customer, and blocks another, of four. Customers 1 and 3 are known by Imprint's id.
async fn erase_two(outbox: &dyn Outbox) {
    for (id, customer) in [("a", "CUST-1"), ("b", "CUST-2"), ("c", "CUST-3")] {
        append(outbox, &[entry(id, customer, 5)]).await;
    }
    assert_eq!(deliver(outbox).await, 3);
    append(outbox, &[entry("d", "CUST-1", 6)]).await;
    erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
    erase(outbox, imprint("CUST-2"), LaterEvents::Ignored).await;
    erase(outbox, partner_key("P-9"), LaterEvents::Ignored).await;
}

/// Resends the erased events, and sends later events of the erased customers.
async fn expect_erased(outbox: &dyn Outbox, engine: &str) {
    // FAULTS N1127: an operator asks for erased, living and unknown customers before anything else happens.
    for (id, lanes) in [("CUST-1", 0), ("CUST-2", 0), ("CUST-3", 1), ("CUST-9", 0)] {
        let customer = CustomerRef::Imprint(ImprintId::parse(id).unwrap());
        let found = outbox.lanes(vec![customer]).await.unwrap();
        let found = found.iter().map(|lane| lane.lanes.len()).sum::<usize>();
        assert_eq!(found, lanes, "{engine}: {id}");
    }
    for (id, customer) in [("a", "CUST-1"), ("b", "CUST-2"), ("d", "CUST-1")] {
        let value = if id == "d" { 6 } else { 5 };
        let again = append(outbox, &[entry(id, customer, value)]).await;
        assert!(again[0].duplicate, "{engine}: {id}");
        let mut other = entry(id, customer, value);
        other.digest = Digest([9; 16]);
        let refused = outbox.append(vec![other]).await.unwrap();
        assert!(matches!(refused, Appended::Conflict(_)), "{engine}: {id}");
    }
    append(
        outbox,
        &[entry("older", "CUST-1", 6), entry("newer", "CUST-1", 7)],
    )
    .await;
    let blocked = append(outbox, &[entry("blocked", "CUST-2", 9)]).await;
    assert_eq!(blocked[0].state, State::Ignored, "{engine}");
    assert_eq!(deliver(outbox).await, 1, "{engine}");
    let ended = states(outbox, &["older", "newer"]).await;
    assert_eq!(ended, [State::Superseded, State::Delivered], "{engine}");
    // The block ends with an erasure that does not block.
    erase(outbox, imprint("CUST-2"), LaterEvents::Delivered).await;
    let stored = append(outbox, &[entry("unblocked", "CUST-2", 9)]).await;
    assert_eq!(stored[0].state, State::Waiting, "{engine}");
    assert_eq!(deliver(outbox).await, 1, "{engine}");
}

/// FAULTS N1011: an erased customer and its events are recognized after a move, in both directions, and after both.
#[tokio::test]
async fn erased_customers_and_events_are_recognized_after_a_move() {
    for seeds in [&[][..], &[1]] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let [database, second, third] = [(); 3].map(|()| postgres::database());
        let bounds = ClaimBounds::default();
        let open =
            |database: &postgres::PostgresDatabase| database.open(bounds, sealed::ring(seeds));

        let outbox = sealed::open_with(&path("first.db"), seeds);
        erase_two(&outbox).await;
        drop(outbox);
        std::fs::copy(path("first.db"), path("kept.db")).unwrap();
        move_into(&path("first.db"), &database, seeds, NOW);
        move_out(&database, &path("back.db"), seeds, NOW);
        expect_erased(&open(&database), "from a file into a database").await;
        move_into(&path("back.db"), &second, seeds, NOW);
        expect_erased(&sealed::open_with(&path("back.db"), seeds), "and back").await;
        expect_erased(&open(&second), "and into a database again").await;

        let outbox = open(&third);
        erase_two(&outbox).await;
        drop(outbox);
        move_out(&third, &path("third.db"), seeds, NOW);
        expect_erased(&open(&third), "the database").await;
        let moved = sealed::open_with(&path("third.db"), seeds);
        expect_erased(&moved, "from a database into a file").await;
    }
}

/// Appends a note. The audit log then has four records, all intact.
async fn expect_four_records(outbox: &dyn Outbox, keys: AuditKeys) {
    outbox.protect_audit(keys, NOW).await.unwrap();
    outbox.append_audit(event("note")).await.unwrap();
    let records = outbox.audit(0, 100).await.unwrap();
    assert!(records.iter().all(|it| it.is_intact && it.is_keyed));
    assert_eq!(records.len(), 4, "the key and three notes");
}

/// FAULTS N1010: the keyed audit log, the head of the erasure journal and the settings move along.
#[tokio::test]
async fn the_audit_log_and_the_journal_go_on_after_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let (path, journal) = (folder.path().join("a.db"), folder.path().join("journal"));
    let back = folder.path().join("b.db");
    let database = postgres::database();
    let keys = AuditKeys::new(["0123456789abcdef0123456789abcdef".to_owned().into()]);
    let evidence = "{\"customer\":\"CUST-1\"}".to_owned();

    let outbox = sealed::open_with(&path, &[1]);
    assert!(
        outbox
            .keep_erasures(journal.clone())
            .await
            .unwrap()
            .unwrap()
            .is_empty()
    );
    outbox.protect_audit(keys.clone(), NOW).await.unwrap();
    outbox.append_audit(event("note")).await.unwrap();
    let backup = outbox.store_setting(Setting::LastBackup, "1000".to_owned());
    backup.await.unwrap();
    append(&outbox, &[entry("a", "CUST-1", 5)]).await;
    erase(&outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
    outbox
        .store_setting(Setting::Evidence, evidence.clone())
        .await
        .unwrap();
    let head = outbox.audit_head().await.unwrap();
    drop(outbox);

    move_into(&path, &database, &[1], NOW);
    let outbox = database.open(ClaimBounds::default(), sealed::ring(&[1]));
    assert_eq!(outbox.audit_head().await.unwrap(), head);
    let stored = outbox.setting(Setting::Evidence).await.unwrap();
    assert_eq!(stored.as_ref(), Some(&evidence));
    // The alert about an old backup must not fire about the backups of the file.
    assert_eq!(outbox.setting(Setting::LastBackup).await.unwrap(), None);
    let pending = outbox.keep_erasures(journal.clone()).await.unwrap();
    assert!(pending.unwrap().is_empty(), "the erasure has finished");
    outbox.protect_audit(keys.clone(), NOW).await.unwrap();
    outbox.append_audit(event("note")).await.unwrap();
    append(&outbox, &[entry("b", "CUST-4", 5)]).await;
    erase(&outbox, imprint("CUST-4"), LaterEvents::Delivered).await;
    outbox
        .store_setting(Setting::Evidence, evidence.clone())
        .await
        .unwrap();
    drop(outbox);

    move_out(&database, &back, &[1], NOW);
    let outbox = sealed::open_with(&back, &[1]);
    assert!(
        outbox
            .keep_erasures(journal)
            .await
            .unwrap()
            .unwrap()
            .is_empty()
    );
    expect_four_records(&outbox, keys).await;
    let stored = outbox.setting(Setting::Evidence).await.unwrap();
    assert_eq!(stored, Some(evidence));
}

/// FAULTS N1014: a bridge uses one of the stores, or the target has a store.
#[tokio::test]
async fn a_store_in_use_or_a_target_with_a_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let [database, empty] = [(); 2].map(|()| postgres::database());
    let outbox = open(&path).unwrap();
    append(&outbox, &[entry("a", "CUST-1", 5)]).await;
    let refused = |from: &TransferPlace, to: &TransferPlace| copy(from, to, &[], NOW).unwrap_err();
    let locked = refused(&file(&path), &place(&empty));
    assert!(
        matches!(locked, TransferError::File(OpenError::Locked { .. })),
        "{locked}"
    );
    drop(outbox);

    let in_database = database.open(ClaimBounds::default(), Arc::default());
    let in_use = refused(&file(&path), &place(&database));
    assert!(matches!(in_use, TransferError::InUse(1)), "{in_use}");
    let in_use = refused(&place(&database), &file(&other));
    assert!(matches!(in_use, TransferError::InUse(1)), "{in_use}");
    assert!(in_use.to_string().contains("stop them first"));
    drop(in_database);
    let full = refused(&file(&path), &place(&database));
    assert!(matches!(full, TransferError::NotEmpty), "{full}");
    let full = refused(&place(&database), &file(&path));
    assert!(matches!(full, TransferError::NotEmpty), "{full}");
    let none = refused(&place(&empty), &file(&other));
    assert!(matches!(none, TransferError::NoStore), "{none}");
    let same = refused(&file(&path), &file(&other));
    assert!(matches!(same, TransferError::SameEngine), "{same}");
    let outbox = open(&path).unwrap();
    assert_eq!(states(&outbox, &["a"]).await, [State::Waiting]);
}

/// FAULTS N1015: the lanes that a crashed bridge has possibly sent are in doubt in the target too, in both directions.
#[tokio::test]
async fn what_a_crashed_bridge_possibly_sent_is_in_doubt_after_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let (path, back) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let database = postgres::database();
    let outbox = open(&path).unwrap();
    append(&outbox, &[entry("a", "CUST-1", 5)]).await;
    claim_one(&outbox).await;
    drop(outbox);
    move_into(&path, &database, &[], NOW);
    let outbox = database.open(ClaimBounds::default(), Arc::default());
    let claimed = claim_one(&outbox).await;
    assert_ne!(claimed.maybe_sent, MaybeSent::Nothing);
    record(&outbox, settlement(&claimed, Vec::new(), NOW)).await;
    claim_one(&outbox).await;
    // The replica ends without leaving, and its lease ends.
    database.psql("UPDATE imprint_bridge.lane SET owner = 77 WHERE owner IS NOT NULL");
    drop(outbox);
    move_out(&database, &back, &[], NOW);
    let outbox = open(&back).unwrap();
    assert_ne!(claim_one(&outbox).await.maybe_sent, MaybeSent::Nothing);
}
