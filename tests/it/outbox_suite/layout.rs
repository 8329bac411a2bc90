//! What is in the file itself: stores of older layouts, and a record that nobody may change.

use rusqlite::Connection;

use super::*;
use imprint_bridge::outbox::{AuditEvent, verify};

use crate::support::wait_for;

/// Opens a store that was closed just now: a command that another test is starting may still hold its lock.
pub(super) fn reopen(path: &Path) -> SqliteOutbox {
    wait_for("the store is free", || match open(path) {
        Err(OpenError::Locked { .. }) => None,
        opened => Some(opened.unwrap()),
    })
}

/// P12: what was kept by the first release is delivered by this one.
#[tokio::test]
async fn a_store_of_the_first_layout_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let file = Connection::open(&path).unwrap();
    let first = include_str!("../../../src/outbox/sqlite/migrations/1.sql");
    file.execute_batch(first).unwrap();
    file.execute_batch(
        r#"
        PRAGMA application_id = 1231908978;
        PRAGMA user_version = 1;
        INSERT INTO meta VALUES ('digest_key', zeroblob(32));
        INSERT INTO lane (id, kind, customer, received, due_at) VALUES (1, 0, 'CUST-1', 'CUST-1', 5);
        INSERT INTO entry (id, source, ce_source, event_id, event_type, digest, lane, accepted_at, state)
            VALUES (7, 'crm', '/crm/us', 'a', 'customer.changed', zeroblob(16), 1, 5, 0),
                   (8, 'crm', '/crm/us', 'b', 'customer.changed', zeroblob(16), 1, 5, 4);
        INSERT INTO entry (id, source, ce_source, event_id, event_type, digest, accepted_at, state)
            VALUES (11, 'crm', '/crm/us', 'forgotten', 'customer.changed', zeroblob(16), 5, 1);
        DELETE FROM entry WHERE id = 11;
        INSERT INTO waiting VALUES (7, 1, 0, 3, CAST('{"email":"a@example.com"}' AS BLOB), x'7b7d');
        INSERT INTO parked VALUES (8, 1, 0, NULL, 0, 4, CAST('{"email":"b@example.com"}' AS BLOB), x'7b7d');
        "#,
    )
    .unwrap();
    drop(file);
    let store = reopen(&path);
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.parked), (1, 1));
    let claimed = claim_one(&store).await;
    assert_eq!(claimed.key, key("CUST-1"));
    assert_eq!(claimed.waiting[0].entry, EntryId(7));
    // Whether the process before had sent it, nobody knows.
    assert_eq!(claimed.maybe_sent_to, Some(EntryId(11)));
    let kept = append(&store, &[entry("c", "CUST-1", 5)]).await;
    assert_eq!(kept[0].entry, EntryId(12), "no number is given again");
}

/// X52: a line of the record that was changed or taken out is found.
#[tokio::test]
async fn a_changed_line_of_the_record_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let store = reopen(&path);
    for who in ["alice", "bob", "carol"] {
        let act = AuditEvent {
            operator: who.to_owned(),
            action: "reveal",
            target: "7".to_owned(),
            reason: None,
            at: NOW,
        };
        store.append_audit(act).await.unwrap();
    }
    assert!(
        store
            .audit(0, 10)
            .await
            .unwrap()
            .iter()
            .all(|act| act.is_intact)
    );
    store.close();
    let file = || Connection::open(&path).unwrap();
    for change in [
        "UPDATE act SET who = 'mallory' WHERE number = 2",
        "DELETE FROM act WHERE number = 2",
    ] {
        assert!(
            file().execute(change, []).is_err(),
            "the store itself says no: {change}"
        );
    }
    for (change, fault) in [
        ("UPDATE act SET who = 'mallory' WHERE number = 2", "line 2"),
        ("DELETE FROM act WHERE number = 2", "line 3"),
    ] {
        let copy = folder.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        let file = Connection::open(&copy).unwrap();
        file.execute_batch("DROP TRIGGER act_is_not_changed; DROP TRIGGER act_is_not_removed;")
            .unwrap();
        assert_eq!(file.execute(change, []).unwrap(), 1);
        drop(file);
        let looked = verify(&copy).unwrap();
        assert!(
            looked.faults[0].starts_with(fault),
            "{change}: {:?}",
            looked.faults
        );
    }
}
