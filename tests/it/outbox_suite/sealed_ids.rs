//! Tests of the customer ids of sealed stores: stores that become sealed, stores of the layout before, and missing keys.

use imprint_bridge::outbox::{CustomerErasure, KeyUse, LaneId, LaterEvents, Settings as _};
use imprint_bridge::sealing::KeyRing;
use rusqlite::Connection;

use super::damage::LATER;
use super::erased::{erase, imprint};
use super::find::{by_partner, linked};
use super::sealed::{open_with, reseal, ring, run, status, with};
use super::set_aside::{event, settle_all};
use super::*;

/// The number of lanes and of identity links: more than one step of a pass seals.
const CUSTOMERS: u64 = 300;

/// Returns the entries of a customer.
async fn entries_of(store: &SqliteOutbox, customer: &str) -> Vec<u64> {
    let filter = EntryFilter {
        states: State::ALL.to_vec(),
        customer: Some(customer.to_owned()),
        ..EntryFilter::in_state(State::Waiting, 100)
    };
    let page = store.list(filter).await.unwrap();
    let entries = page.entries.iter();
    entries.map(|summary| summary.receipt.entry.0).collect()
}

/// Returns the lanes of a customer, and the Imprint ids of its links.
async fn lanes_of(store: &SqliteOutbox, customer: CustomerRef) -> (Vec<LaneId>, Vec<String>) {
    let loaded = store.lanes(vec![customer]).await.unwrap().remove(0);
    let links = loaded.links.iter().filter_map(|link| link.imprint.as_ref());
    (
        loaded.lanes,
        links.map(|imprint| imprint.as_str().to_owned()).collect(),
    )
}

fn partner_ref(id: &str) -> CustomerRef {
    let LaneKey::Partner(partner) = erased::partner_key(id) else {
        panic!("{id}")
    };
    CustomerRef::Partner(partner)
}

fn count(path: &Path, table: &str) -> u64 {
    let file = Connection::open(path).unwrap();
    let sql = format!("SELECT count(*) FROM {table}");
    file.query_row(&sql, [], |row| row.get(0)).unwrap()
}

fn has_text(path: &Path, text: &str) -> bool {
    let file = std::fs::read(path).unwrap();
    crate::erasure::holds(&file, text)
}

/// FAULTS N824, N825: after each step of the pass, and after a restart, every customer is found, new events enter the same
/// lane, and each link connects the same ids.
#[test]
fn every_customer_is_found_after_each_step_of_the_pass() {
    run(async {
        let folder = fast_folder();
        let path = folder.path().join("outbox.db");
        let store = open(&path).unwrap();
        for number in 0..CUSTOMERS {
            let id = format!("CANARY-{number}");
            append(&store, &[entry(&format!("E{number}"), &id, 1)]).await;
        }
        append(&store, &[by_partner("partner", 1)]).await;
        drop(store);
        let file = Connection::open(&path).unwrap();
        file.execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {CUSTOMERS})
             INSERT INTO pair SELECT 'CANARY-P' || i, 'CANARY-' || i, 'CANARY-' || i, 5 FROM n;
             INSERT INTO pair VALUES ('CANARY-UNKNOWN', NULL, NULL, 5), ('  ', 'damaged', 'da maged', 5);"
        ))
        .unwrap();
        drop(file);
        let (mut steps, mut more) = (0, true);
        while more {
            let store = open_with(&path, &[1]);
            for number in [0, 255, 256, CUSTOMERS - 1] {
                let id = format!("CANARY-{number}");
                let new = entry(&format!("E{number}-{steps}"), &id, 2 + steps);
                append(&store, &[new]).await;
                let found = entries_of(&store, &format!("CANARY-P{number}")).await;
                let expected = usize::try_from(steps).unwrap() + 2;
                assert_eq!(found.len(), expected, "{number} {steps}");
                let of_partner = lanes_of(&store, partner_ref(&format!("CANARY-P{number}"))).await;
                assert_eq!(of_partner, (vec![LaneId(number + 1)], vec![id]), "{steps}");
            }
            let unknown = lanes_of(&store, partner_ref("CANARY-UNKNOWN")).await;
            assert_eq!(unknown, (vec![], vec![]));
            assert_eq!(entries_of(&store, "P-1").await, [CUSTOMERS + 1]);
            for _ in 0..=steps {
                more = store.reseal().await.unwrap();
            }
            steps += 1;
            assert_eq!(status(&store).has_plain, more);
            drop(store);
        }
        assert!(steps > 5, "{steps}");
        drop(open_with(&path, &[1]));
        assert_eq!(count(&path, "lane"), CUSTOMERS + 1);
        assert_eq!(count(&path, "pair"), CUSTOMERS + 1);
        assert!(!has_text(&path, "CANARY"));
        for number in [0, CUSTOMERS - 1] {
            let store = open_with(&path, &[1]);
            let id = imprint(&format!("CANARY-{number}"));
            let erased = erase(&store, id, LaterEvents::Delivered).await;
            assert_eq!(erased.keys.len(), 2, "the link leads to the id of the CRM");
        }
        assert_eq!(count(&path, "pair"), CUSTOMERS - 1);
    });
}

/// Makes a sealed store, which has one lane, look as a program wrote it that did not seal customer ids.
fn back_to_layout_20(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(
        "UPDATE lane SET customer = 'CANARY-1', received = 'CANARY-1' WHERE kind = 0;
         UPDATE waiting SET partner = 'CANARY-P';
         INSERT INTO pair VALUES ('CANARY-P', 'CANARY-1', 'CANARY-1', 5);
         INSERT INTO meta (name, value) VALUES ('evidence', 'CANARY-1 is a witness');
         DELETE FROM sealing_key WHERE id = x'';
         PRAGMA user_version = 20;",
    )
    .unwrap();
}

/// FAULTS N826: a sealed store of the layout before gets its ids sealed, and the evidence, and can erase a customer before.
#[test]
fn the_ids_of_a_sealed_store_of_the_layout_before_are_sealed() {
    run(async {
        for erases_first in [false, true] {
            let folder = fast_folder();
            let path = folder.path().join("outbox.db");
            let store = open_with(&path, &[1]);
            append(&store, &[entry("E1", "CANARY-1", 1)]).await;
            drop(store);
            back_to_layout_20(&path);
            let store = open_with(&path, &[1]);
            assert!(status(&store).has_plain);
            let evidence = store.setting(Setting::Evidence).await.unwrap();
            assert_eq!(evidence.as_deref(), Some("CANARY-1 is a witness"));
            let (lanes, links) = lanes_of(&store, partner_ref("CANARY-P")).await;
            assert_eq!((lanes.len(), links), (1, vec!["CANARY-1".to_owned()]));
            if erases_first {
                let erased = erase(&store, imprint("CANARY-1"), LaterEvents::Ignored).await;
                assert_eq!((erased.entries, erased.keys.len()), (1, 2));
            }
            reseal(&store).await;
            assert!(!status(&store).has_plain);
            drop(store);
            let store = open_with(&path, &[1, 2]);
            reseal(&store).await;
            drop(store);
            assert!(!has_text(&path, "CANARY"), "{erases_first}");
            let store = open_with(&path, &[2]);
            if erases_first {
                let mut new = entry("E2", "CANARY-1", 2);
                new.identity.ce_source = None;
                let stored = append(&store, &[new]).await;
                assert_eq!(stored[0].state, State::Ignored);
                continue;
            }
            let evidence = store.setting(Setting::Evidence).await.unwrap();
            assert_eq!(evidence.as_deref(), Some("CANARY-1 is a witness"));
            let claimed = claim_one(&store).await;
            assert_eq!(claimed.key, key("CANARY-1"));
            let customer = claimed.waiting[0].customer.partner();
            assert_eq!(customer.unwrap().as_str(), "CANARY-P");
            assert_eq!(claimed.links.len(), 1);
            assert_eq!(claimed.links[0].imprint, ImprintId::parse("CANARY-1").ok());
        }
    });
}

/// FAULTS N827: without the key of a lane's customer id, an operator's replay leaves the entry as it is, and the receipt of
/// the sender stays readable. A new event brings the id of its customer, and an unreadable link is no link.
#[test]
fn a_new_event_brings_the_id_whose_sealing_key_is_missing() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let store = open_with(&path, &[1]);
        append(&store, &[by_partner("a", 1)]).await;
        let claimed = linked(&store).await;
        let parked = Ending::Parked {
            reason: ParkReason::Rejected,
            detail: None,
        };
        record(&store, settle_all(&claimed, &parked)).await;
        drop(store);
        drop(open_with(&path, &[1, 2]));
        let store = open_with(&path, &[2]);
        assert_eq!(with(&store, KeyUse::Missing).len(), 1);
        let replay = Replay {
            entry: EntryId(1),
            change: ReplayChange::Stored,
        };
        let replayed = store.replay(vec![replay.clone()], event("replay")).await;
        assert_eq!(replayed.unwrap(), []);
        assert_eq!(receipt(&store, "a").await.state, State::Parked);
        append(&store, &[entry("b", "CUST-1", 2), by_partner("c", 3)]).await;
        let lanes = claim(&store, LATER).await.lanes;
        let mut keys: Vec<_> = lanes.iter().map(|lane| lane.key.clone().unwrap()).collect();
        keys.sort_by_key(|key| matches!(key, LaneKey::Partner(_)));
        assert_eq!(keys, [imprint("CUST-1"), erased::partner_key("P-1")]);
        assert!(lanes.iter().all(|lane| lane.links.is_empty()));
        store.use_keys(ring(&[1, 2])).await.unwrap();
        let replayed = store.replay(vec![replay], event("replay")).await.unwrap();
        assert_eq!(replayed, [EntryId(1)]);
        let (lanes, links) = lanes_of(&store, partner_ref("P-1")).await;
        assert_eq!((lanes.len(), links), (2, vec!["CUST-1".to_owned()]));
        drop(store);
        assert_eq!(count(&path, "lane"), 2);
    });
}

/// FAULTS N820: a store whose ids are sealed is not opened without a key, whatever its list of keys says.
#[test]
fn a_sealed_id_is_never_taken_for_a_text() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let store = open_with(&path, &[1]);
        append(&store, &[entry("E1", "CUST-1", 1)]).await;
        drop(store);
        let file = Connection::open(&path).unwrap();
        file.execute("UPDATE sealing_key SET id = x''", []).unwrap();
        drop(file);
        let bounds = ClaimBounds::default();
        let plain = (bounds, Arc::new(KeyRing::default()));
        let opened = when_free(|| SqliteOutbox::open_sealed(&path, 10, NOW, plain.clone()));
        assert!(opened.is_err());
    });
}

/// FAULTS N822: links whose digests are damaged are counted as unreadable, and the walk through them ends.
#[test]
fn damaged_links_are_counted_and_the_walk_ends() {
    run(async {
        let folder = fast_folder();
        let path = folder.path().join("outbox.db");
        let store = open_with(&path, &[1]);
        append(&store, &[by_partner("a", 1)]).await;
        linked(&store).await;
        drop(store);
        let file = Connection::open(&path).unwrap();
        file.execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
             INSERT INTO pair SELECT CAST(printf('%.*c', 1 + i % 12, char(32 + i % 90)) || i AS BLOB), NULL, NULL, 5 FROM n;",
        )
        .unwrap();
        drop(file);
        let found = sealed::verified(&path, &[1]);
        assert_eq!(found.unreadable, 700, "{:?}", found.listed);
    });
}

/// FAULTS N827: a customer whose link needs a missing key is not erased in part. Evidence that needs the key may name the
/// customer, so an erasure deletes it.
#[test]
fn an_erasure_needs_the_key_of_the_link_and_deletes_unreadable_evidence() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let store = open_with(&path, &[1]);
        append(&store, &[by_partner("a", 1)]).await;
        linked(&store).await;
        let evidence = "CUST-2 is a witness".to_owned();
        let stored = store.store_setting(Setting::Evidence, evidence).await;
        stored.unwrap();
        drop(store);
        drop(open_with(&path, &[1, 2]));
        let store = open_with(&path, &[2]);
        assert_eq!(store.setting(Setting::Evidence).await.unwrap(), None);
        let erasure = CustomerErasure {
            keys: vec![erased::partner_key("P-1")],
            invalid: Vec::new(),
            later_events: LaterEvents::Delivered,
            at: NOW,
            progress: None,
        };
        let refused = store.erase_customer(erasure).await;
        assert!(matches!(refused, Err(Error::Failed { .. })), "{refused:?}");
        erase(&store, imprint("CUST-2"), LaterEvents::Delivered).await;
        drop(store);
        let store = open_with(&path, &[1, 2]);
        assert_eq!(store.setting(Setting::Evidence).await.unwrap(), None);
        let erased = erase(&store, erased::partner_key("P-1"), LaterEvents::Delivered).await;
        assert_eq!((erased.entries, erased.keys.len()), (1, 2));
    });
}
