//! The sealing keys and the erasure journal of a store in PostgreSQL.

use std::collections::BTreeMap;

use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::{
    ErasureStep, IdentityLink, KeyUse, LaterEvents, PostgresOutbox, RecordCounts, RecordCursor,
    Settings as _,
};

use super::erased::{erase, imprint, step};
use super::sealed::ring;
use super::set_aside::event;
use super::*;
use crate::postgres::PostgresDatabase;
use crate::sealing::key_id;

async fn reseal(store: &PostgresOutbox) {
    while store.reseal().await.unwrap() {}
}

async fn counts(store: &PostgresOutbox) -> RecordCounts {
    let (mut counts, mut place) = (RecordCounts::default(), Some(RecordCursor::START));
    while let Some(from) = place {
        let (more, next) = store.count_records(from).await.unwrap();
        counts.add(&more);
        place = next;
    }
    counts
}

fn by_key(counts: &RecordCounts) -> BTreeMap<String, u64> {
    let sealed = counts.sealed.iter();
    sealed.map(|(id, count)| (id.to_string(), *count)).collect()
}

fn keys(store: &PostgresOutbox, wanted: KeyUse) -> Vec<String> {
    let status = store.sealing().borrow().clone();
    status.with(wanted).map(|id| id.to_string()).collect()
}

fn open(database: &PostgresDatabase, seeds: &[u8]) -> PostgresOutbox {
    database.open(ClaimBounds::default(), ring(seeds))
}

fn by_partner(id: &str, partner: &str) -> NewEntry {
    let mut new = entry(id, "unused", 1);
    if let Disposition::Enqueue(change) = &mut new.disposition {
        change.customer = CustomerRef::Partner(PartnerCustomerId::parse(partner).unwrap());
    }
    new
}

/// Stores a value of every kind that the bridge seals.
async fn fill(store: &PostgresOutbox) {
    append(store, &[entry("a", "CUST-1", 1)]).await;
    let claimed = claim_one(store).await;
    let parked = Ending::Parked {
        reason: ParkReason::Rejected,
        detail: Some("Imprint's answer".to_owned()),
    };
    let partner = PartnerCustomerId::parse("P-1").unwrap();
    let settled = Settlement {
        versions: Some(LaneVersions::default()),
        new_link: Some(IdentityLink {
            partner,
            imprint: ImprintId::parse("CUST-1").ok(),
            confirmed_at: NOW,
        }),
        ..settlement(&claimed, all(&claimed, &parked), NOW)
    };
    record(store, settled).await;
    append(store, &[by_partner("b", "P-2")]).await;
    store.append_audit(event("note")).await.unwrap();
    let evidence = store.store_setting(Setting::Evidence, "about CUST-1".to_owned());
    evidence.await.unwrap();
}

/// Expects that the store has everything that [`fill`] has stored.
async fn is_full(store: &PostgresOutbox) {
    let audit = store.audit(0, 10).await.unwrap();
    assert!(audit.iter().all(|record| record.is_intact));
    assert_eq!(audit[0].reason, event("note").reason);
    let evidence = store.setting(Setting::Evidence).await.unwrap();
    assert_eq!(evidence.as_deref(), Some("about CUST-1"));
    let detail = receipt(store, "a").await.parked.unwrap().1;
    assert_eq!(detail.as_deref(), Some("Imprint's answer"));
    let customers = ["P-1", "P-2"].map(|id| PartnerCustomerId::parse(id).unwrap());
    let lanes = store.lanes(customers.map(CustomerRef::Partner).to_vec());
    let lanes = lanes.await.unwrap();
    assert_eq!(Some(&lanes[0].key), key("CUST-1").as_ref());
    assert_eq!(lanes[1].waiting.len(), 1);
}

/// FAULTS N960: the keys of a store in PostgreSQL are replaced while the store is in use; afterwards nothing needs the old key.
#[tokio::test]
async fn a_replaced_key_can_be_removed() {
    let database = postgres::database();
    let store = open(&database, &[1]);
    fill(&store).await;
    let before = counts(&store).await;
    assert_eq!(before.plain, 0);
    store.use_keys(ring(&[1, 2])).await.unwrap();
    assert_eq!(keys(&store, KeyUse::Opens), [key_id(1)]);
    reseal(&store).await;
    assert_eq!(keys(&store, KeyUse::Removable), [key_id(1)]);
    let after = counts(&store).await;
    let total: u64 = before.sealed.values().sum();
    assert_eq!(by_key(&after), BTreeMap::from([(key_id(2), total)]));
    is_full(&store).await;
    drop(store);
    let store = open(&database, &[2]);
    assert_eq!(keys(&store, KeyUse::Missing), Vec::<String>::new());
    is_full(&store).await;
}

/// FAULTS N971: an operator gives a new key to one replica after the other. Every replica can read all records meanwhile.
#[tokio::test]
async fn a_new_key_seals_when_every_replica_has_it() {
    let database = postgres::database();
    let (one, other) = (open(&database, &[1]), open(&database, &[1]));
    one.use_keys(ring(&[1, 2])).await.unwrap();
    assert_eq!(keys(&one, KeyUse::Waits), [key_id(2)]);
    append(&one, &[entry("a", "CUST-1", 1)]).await;
    let claimed = claim_one(&other).await;
    assert_eq!(claimed.waiting.len(), 1);
    let versions = Some(delivered(&claimed));
    record(&other, settle_as_delivered(&claimed, versions)).await;
    let sealed = by_key(&counts(&one).await);
    assert!(!sealed.contains_key(&key_id(2)), "{sealed:?}");
    other.use_keys(ring(&[1, 2])).await.unwrap();
    assert_eq!(keys(&other, KeyUse::Seals), [key_id(2)]);
    while keys(&one, KeyUse::Seals) != [key_id(2)] {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    append(&one, &[entry("b", "CUST-1", 2)]).await;
    assert_eq!(claim_one(&other).await.waiting.len(), 1);
    let sealed = by_key(&counts(&one).await);
    assert!(sealed.contains_key(&key_id(2)), "{sealed:?}");
    let keys = (ClaimBounds::default(), ring(&[1]));
    let refused = PostgresOutbox::open(&database.url(), 10, keys, None).unwrap_err();
    assert!(refused.to_string().contains(&key_id(2)), "{refused}");
}

/// FAULTS N961: a store that was not sealed gets a key, and nothing in the database stays readable without the key.
#[tokio::test]
async fn a_plain_store_is_sealed() {
    let database = postgres::database();
    let store = open(&database, &[]);
    fill(&store).await;
    assert!(counts(&store).await.plain > 0);
    store.use_keys(ring(&[1])).await.unwrap();
    reseal(&store).await;
    let after = counts(&store).await;
    assert_eq!((after.plain, after.sealed.len()), (0, 1));
    is_full(&store).await;
    assert_eq!(
        database.psql("SELECT count(partner) FROM imprint_bridge.payload"),
        "0"
    );
    for (table, column) in [
        ("payload", "facts"),
        ("lane", "received"),
        ("link", "ids"),
        ("audit", "reason"),
        ("meta", "value"),
    ] {
        let found = ["CUST-1", "P-1", "P-2", "example.com", "because"].map(|text| {
            let sql = format!(
                "SELECT count(*) FROM imprint_bridge.{table} WHERE position('{text}'::bytea IN {column}) > 0"
            );
            database.psql(&sql)
        });
        assert_eq!(found.join(""), "00000", "{table}.{column}");
    }
    drop(store);
    let opened = PostgresOutbox::open(
        &database.url(),
        10,
        (ClaimBounds::default(), Arc::default()),
        None,
    );
    assert!(opened.is_err());
}

/// FAULTS N962: after the restore of an older database, the bridge repeats the erasures of the journal.
#[tokio::test]
async fn an_erasure_is_in_the_journal_before_it_begins() {
    let (database, folder) = (postgres::database(), tempfile::tempdir().unwrap());
    let journal = folder.path().join("erasures");
    let store = open(&database, &[1]);
    assert!(
        store
            .keep_erasures(journal.clone())
            .await
            .unwrap()
            .unwrap()
            .is_empty()
    );
    for customer in ["CUST-1", "CUST-2"] {
        append(&store, &[entry(customer, customer, 1)]).await;
        erase(&store, imprint(customer), LaterEvents::Delivered).await;
    }
    let done = store.keep_erasures(journal.clone()).await.unwrap().unwrap();
    assert!(done.is_empty(), "{done:?}");
    drop(store);
    let older = "UPDATE imprint_bridge.meta SET value = '\\x0031' WHERE name = 'erasure_journal'";
    database.psql(older);
    let store = open(&database, &[1]);
    let left = store.keep_erasures(journal).await.unwrap().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].keys, [imprint("CUST-2")]);
    assert_eq!(left[0].later_events, LaterEvents::Delivered);
}

/// FAULTS N1140: the restored database lacks events of the erased customer.
#[tokio::test]
async fn a_repeated_erasure_blocks_what_an_older_database_lacks() {
    let (database, folder) = (postgres::database(), tempfile::tempdir().unwrap());
    let journal = folder.path().join("erasures");
    let store = open(&database, &[1]);
    let begun = store.keep_erasures(journal.clone()).await.unwrap();
    assert!(begun.unwrap().is_empty());
    let lost = entry("b", "CUST-2", 5);
    append(&store, &[entry("a", "CUST-1", 1), lost.clone()]).await;
    erase(&store, imprint("CUST-2"), LaterEvents::Delivered).await;
    drop(store);
    database.psql(
        "DELETE FROM imprint_bridge.meta WHERE name = 'erasure_journal';
         DELETE FROM imprint_bridge.lane WHERE erased IS NOT NULL;
         DELETE FROM imprint_bridge.entry WHERE id = 2",
    );
    let store = open(&database, &[1]);
    let left = store.keep_erasures(journal.clone()).await.unwrap().unwrap();
    assert_eq!(left.len(), 1);
    assert!(
        matches!(step(&store, &left[0]).await, ErasureStep::Erased(part) if part.progress.is_none())
    );
    let again = append(&store, &[lost, entry("c", "CUST-2", 3)]).await;
    let again: Vec<State> = again.iter().map(|stored| stored.state).collect();
    assert_eq!(again, [State::Ignored, State::Ignored]);
    let left = store.keep_erasures(journal).await.unwrap().unwrap();
    assert!(left.is_empty(), "{left:?}");
}

/// FAULTS N1141: an operator erases a customer whose waiting update is damaged.
#[tokio::test]
async fn an_unreadable_update_has_no_floor() {
    let database = postgres::database();
    let store = open(&database, &[1]);
    append(&store, &[entry("a", "CUST-1", 5), entry("b", "CUST-2", 5)]).await;
    database.psql(
        "UPDATE imprint_bridge.payload SET facts = set_byte(facts, length(facts) - 3, get_byte(facts, length(facts) - 3) # 1)
         WHERE entry = 1",
    );
    let damaged = erase(&store, imprint("CUST-1"), LaterEvents::Delivered).await;
    assert_eq!((damaged.entries, damaged.unversioned), (1, 1));
    let readable = erase(&store, imprint("CUST-2"), LaterEvents::Delivered).await;
    assert_eq!((readable.entries, readable.unversioned), (1, 0));
}
