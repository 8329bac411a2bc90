//! Tests of the SQLite store file: stores of older layouts, unknown state numbers, a tampered audit log.

use std::sync::Arc;

use rusqlite::Connection;

use super::*;
use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::{AuditEvent, AuditProof, Settings as _, verify};

/// FAULTS P12: this release claims entries that the first release stored.
#[tokio::test]
async fn a_store_of_the_first_layout_is_updated() {
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
    let store = open(&path).unwrap();
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.parked), (1, 1));
    let claimed = claim_one(&store).await;
    assert_eq!(claimed.key, key("CUST-1"));
    assert_eq!(claimed.waiting[0].entry, EntryId(7));
    // The earlier process may have sent every entry up to 11, the last number that it gave to an entry.
    assert_eq!(claimed.maybe_sent, MaybeSent::Entries(EntryId(11)));
    let stored = append(&store, &[entry("c", "CUST-1", 5)]).await;
    assert_eq!(stored[0].entry, EntryId(12), "no number is used again");
}

/// FAULTS P12: a store that a program with layout 5 wrote keeps all of its content and meaning.
#[tokio::test]
async fn a_store_of_layout_5_opens_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch(include_str!("layout_5.sql")).unwrap();
    drop(file);
    let store = open(&path).unwrap();
    for (id, state, attempts) in [
        ("delivered", State::Delivered, 1),
        ("superseded", State::Superseded, 1),
        ("ignored", State::Ignored, 0),
        ("discarded", State::Discarded, 0),
        ("waits", State::Waiting, 1),
        ("waits-by-partner", State::Waiting, 0),
        ("waits-by-both", State::Waiting, 0),
    ] {
        let receipt = receipt(&store, id).await;
        assert_eq!((receipt.state, receipt.attempts), (state, attempts), "{id}");
    }
    parked_entries_of_layout_5(&store).await;
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.parked), (3, 8));
    assert_eq!((depth.held, depth.undecided), (0, 0));
    let mode = store.setting(Setting::DestinationMode).await.unwrap();
    assert_eq!(mode.as_deref(), Some("paused"));
    let until = store.setting(Setting::ThrottledUntil).await.unwrap();
    assert_eq!(until.as_deref(), Some("1060000"));
    let audit = store.audit(0, 10).await.unwrap();
    let seen = audit
        .iter()
        .map(|record| (record.action.as_str(), record.entries, record.is_intact));
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [("discard", 1, true), ("reveal", 0, true)]
    );
    assert_eq!(audit[0].reason.as_deref(), Some("because"));
    assert_eq!(store.digest_key()[..4], [0xB0, 0x6B, 0x11, 0x95]);
    claims_of_layout_5(&store).await;
}

/// Checks the parked entries of the layout 5 fixture, one for each reason, and the winner over the superseded entry.
async fn parked_entries_of_layout_5(store: &SqliteOutbox) {
    let superseded = receipt(store, "superseded").await;
    let winner = superseded.superseded_by.unwrap();
    assert_eq!(winner.as_str(), "delivered");
    for (number, reason) in [
        "rejected",
        "attempts_exhausted",
        "unknown_customer",
        "unreadable",
        "identity_conflict",
        "ambiguous_customer",
        "foreign_address",
        "not_cleared",
    ]
    .into_iter()
    .enumerate()
    {
        let receipt = receipt(store, &format!("parked-{reason}")).await;
        let (parked, detail) = receipt.parked.unwrap();
        assert_eq!((receipt.state, parked.as_str()), (State::Parked, reason));
        assert_eq!(detail, Some(format!("detail {number}")));
        let inspection = store.inspect(receipt.entry).await.unwrap().unwrap();
        let (version, update) = inspection.update.unwrap();
        assert_eq!((version.value, update.len()), (1, 2), "{reason}");
        assert!(inspection.event.unwrap().starts_with(b"{\"id\":\"parked-"));
    }
}

/// Checks the lanes of the layout 5 fixture: customers, failures, identity links, and a value in doubt.
async fn claims_of_layout_5(store: &SqliteOutbox) {
    let lanes = claim(store, NOW).await.lanes;
    let keys = lanes.iter().map(|lane| lane.key.clone());
    let partner = PartnerCustomerId::parse("P-2").ok().map(LaneKey::Partner);
    assert_eq!(
        keys.collect::<Vec<_>>(),
        [partner, key("CUST-4"), key("CUST-3")],
        "a lane whose last request failed comes last"
    );
    let failed = &lanes[2];
    let trials = Trials {
        failures: 3,
        attempts: 2,
        tried_at: Some(NOW),
        blamed_since: None,
    };
    assert_eq!(
        (failed.trials, failed.unfold_to),
        (trials, Some(EntryId(13)))
    );
    assert_eq!(
        failed.maybe_sent,
        MaybeSent::Nothing,
        "the store was closed in order"
    );
    assert_eq!(lanes[1].links.len(), 1);
    assert_eq!(lanes[1].links[0].partner.as_str(), "P-1");
    let reassert_at = NOW.after(Duration::from_secs(60));
    let in_doubt = claim(store, reassert_at).await.lanes.remove(0);
    assert_eq!(in_doubt.key, key("CUST-1"));
    assert_eq!(in_doubt.versions.reassert_at(), Some(reassert_at));
    let fold = fold(&in_doubt.versions, &[], MaxFold(100), reassert_at);
    let field = Field::parse("email").unwrap();
    let value = fold.update.value(&field);
    let expected = FieldValue::from_value(json!("delivered@example.com"));
    assert_eq!(value, Some(&expected));
}

/// An entry whose stored state is unknown to this program fails only the operation that reads the entry.
#[tokio::test]
async fn an_unknown_state_fails_one_request_and_is_never_taken_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let store = open(&path).unwrap();
    append(&store, &[entry("a", "CUST-1", 1), entry("b", "CUST-2", 1)]).await;
    store.close();
    drop(store);
    let file = Connection::open(&path).unwrap();
    file.execute("UPDATE entry SET state = 99 WHERE event_id = 'a'", [])
        .unwrap();
    drop(file);
    let store = open(&path).unwrap();
    let Identity { source, id, .. } = identity("a");
    let lookup = Lookup {
        source,
        ce_source: None,
        id,
    };
    assert!(matches!(
        store.find(lookup).await,
        Err(Error::Failed { .. })
    ));
    // The store refuses a duplicate of the unreadable entry too, and continues to work.
    let repeated = store.append(vec![entry("a", "CUST-1", 1)]).await;
    assert!(matches!(repeated, Err(Error::Failed { .. })));
    assert_eq!(receipt(&store, "b").await.state, State::Waiting);
    append(&store, &[entry("c", "CUST-1", 1)]).await;
}

/// FAULTS X52: verifying the audit log finds a changed or deleted record.
#[tokio::test]
async fn a_tampered_audit_log_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let store = open(&path).unwrap();
    for who in ["alice", "bob", "carol"] {
        let event = AuditEvent {
            operator: who.to_owned(),
            action: "reveal",
            target: "7".to_owned(),
            reason: None,
            at: NOW,
        };
        store.append_audit(event).await.unwrap();
    }
    assert!(
        store
            .audit(0, 10)
            .await
            .unwrap()
            .iter()
            .all(|record| record.is_intact)
    );
    store.close();
    let file = || Connection::open(&path).unwrap();
    for change in [
        "UPDATE act SET who = 'mallory' WHERE number = 2",
        "DELETE FROM act WHERE number = 2",
    ] {
        assert!(
            file().execute(change, []).is_err(),
            "the store refuses {change}"
        );
    }
    for (change, error) in [
        (
            "UPDATE act SET who = 'mallory' WHERE number = 2",
            "record 2",
        ),
        ("DELETE FROM act WHERE number = 2", "record 3"),
    ] {
        let copy = folder.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        let file = Connection::open(&copy).unwrap();
        file.execute_batch("DROP TRIGGER act_is_not_changed; DROP TRIGGER act_is_not_removed;")
            .unwrap();
        assert_eq!(file.execute(change, []).unwrap(), 1);
        drop(file);
        let proof = AuditProof::default();
        let verified = when_free(|| verify(&copy, &proof, &Arc::default(), &mut |_| {}));
        let (report, _) = verified.unwrap();
        assert!(
            report.errors[0].starts_with(error),
            "{change}: {:?}",
            report.errors
        );
    }
}
