//! Tests of the spelling of a UUID in the key of a lane.

use rusqlite::Connection;

use super::*;
use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::Moved;

const UPPER: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";

/// FAULTS N216: the newest event decides until Imprint applies an update, and then the applied spelling stays.
#[tokio::test]
async fn the_newest_spelling_counts_until_one_is_proven() {
    let lower = UPPER.to_lowercase();
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("a", &lower, 1)]).await;
        append(outbox, &[entry("b", UPPER, 2)]).await;
        // A repeated event is not the newest.
        append(outbox, &[entry("a", &lower, 1)]).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.key, key(UPPER), "{engine}");
        assert_eq!(claimed.waiting.len(), 2, "{engine}");
        // An event comes while a request with the spelling of the claim is in flight, and Imprint does not find it.
        append(outbox, &[entry("c", &lower, 3)]).await;
        let ignored = settlement(&claimed, all(&claimed, &IGNORED), NOW);
        record(outbox, ignored).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.key, key(&lower), "{engine}");
        append(outbox, &[entry("d", UPPER, 4)]).await;
        let delivered = Settlement {
            recognition: Recognition::Applied(ImprintId::parse(&lower).unwrap()),
            ..settlement(&claimed, all(&claimed, &Ending::Delivered), NOW)
        };
        record(outbox, delivered).await;
        append(outbox, &[entry("e", UPPER, 5)]).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.key, key(&lower), "{engine}");
        // A request in another spelling than the proven one was applied.
        let applied = Settlement {
            recognition: Recognition::Applied(ImprintId::parse(UPPER).unwrap()),
            ..settlement(&claimed, Vec::new(), NOW)
        };
        record(outbox, applied).await;
        assert_eq!(claim_one(outbox).await.key, key(UPPER), "{engine}");
    }
}

/// FAULTS N216: Imprint's spelling in the result of a search counts like the spelling of the newest event, and a moved
/// event with both ids names the customer of its new lane.
#[tokio::test]
async fn a_moved_entry_takes_the_spelling_of_the_search() {
    let lower = UPPER.to_lowercase();
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("waits", &lower, 1)]).await;
        let mut both = entry("both", "OLD", 2);
        if let Disposition::Enqueue(change) = &mut both.disposition {
            change.customer = CustomerRef::Pair {
                imprint: ImprintId::parse("OLD").unwrap(),
                partner: PartnerCustomerId::parse("P-1").unwrap(),
            };
        }
        append(outbox, &[both]).await;
        let lanes = claim(outbox, NOW).await.lanes;
        let old = lanes.iter().find(|lane| lane.key == key("OLD")).unwrap();
        let found = ImprintId::parse(UPPER).unwrap();
        let moved = Settlement {
            moved: Some(Moved {
                to: found.clone(),
                entries: vec![old.waiting[0].entry],
            }),
            ..settlement(old, Vec::new(), NOW)
        };
        record(outbox, moved).await;
        let other = lanes.iter().find(|lane| lane.key != key("OLD")).unwrap();
        record(outbox, settlement(other, Vec::new(), NOW)).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.key, key(UPPER), "{engine}");
        let expected = CustomerRef::Pair {
            imprint: found,
            partner: PartnerCustomerId::parse("P-1").unwrap(),
        };
        let mut customers = claimed.waiting.iter().map(|waiting| &waiting.customer);
        assert!(customers.any(|customer| *customer == expected), "{engine}");
    }
}

/// FAULTS N217: the mark that a search must follow lasts until the next settlement, or until the id is spelled in another
/// way.
#[tokio::test]
async fn a_missing_customer_is_remembered_until_the_search() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let gone = |claimed: &ClaimedLane| Settlement {
            recognition: Recognition::Gone,
            ..settlement(claimed, Vec::new(), NOW)
        };
        append(outbox, &[entry("a", UPPER, 1)]).await;
        let claimed = claim_one(outbox).await;
        assert!(!claimed.is_gone, "{engine}");
        record(outbox, gone(&claimed)).await;
        append(outbox, &[entry("b", UPPER, 2)]).await;
        let claimed = claim_one(outbox).await;
        assert!(claimed.is_gone, "{engine}");
        record(outbox, settlement(&claimed, Vec::new(), NOW)).await;
        let claimed = claim_one(outbox).await;
        assert!(!claimed.is_gone, "{engine}");
        record(outbox, gone(&claimed)).await;
        append(outbox, &[entry("c", &UPPER.to_lowercase(), 3)]).await;
        assert!(!claim_one(outbox).await.is_gone, "{engine}");
    }
}

/// FAULTS P12, N216: in an older store, a lane with a delivered value has proven its spelling.
#[tokio::test]
async fn an_older_store_keeps_the_proven_spellings() {
    let lower = UPPER.to_lowercase();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch(include_str!("layout_5.sql")).unwrap();
    let other = UPPER.replace("BBB", "AAA");
    for (customer, versions) in [
        (UPPER, r#"{"delivered":[[0,1,1,["email"]]]}"#),
        (
            &other,
            r#"{"delivered":[],"doubt":{"until":5,"sent":[],"facts":{}}}"#,
        ),
    ] {
        file.execute(
            "INSERT INTO lane (kind, customer, received, versions, idle) VALUES (0, lower(?1), ?1, CAST(?2 AS BLOB), 1)",
            [customer, versions],
        )
        .unwrap();
    }
    drop(file);
    let store = open(&path).unwrap();
    append(&store, &[entry("proven", &lower, 9)]).await;
    append(&store, &[entry("unproven", &other.to_lowercase(), 9)]).await;
    let lanes = claim(&store, NOW.after(Duration::from_hours(1)))
        .await
        .lanes;
    let keys: Vec<_> = lanes.iter().map(|lane| lane.key.clone()).collect();
    assert!(keys.contains(&key(UPPER)), "{keys:?}");
    assert!(keys.contains(&key(&other.to_lowercase())), "{keys:?}");
}
