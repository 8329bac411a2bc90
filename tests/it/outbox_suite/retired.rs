//! Tests of the retirement of idle customers, in every storage engine.

use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::{
    AuditEvent, AuditKeys, AuditProof, IdentityLink, LaneId, LaterEvents, RETIRE_MAX,
    RebindConsent, Withdrawal, WithdrawnState, rebind, verify,
};

use super::damage::LATER;
use super::erased::{deliver, erase, imprint, overtaken};
use super::moved::{move_into, move_out};
use super::set_aside::states;
use super::*;
use crate::erasure::contains;

/// Deletes the receipts of all ended entries, except the newest receipt. Then retires the idle customers whose last delivery
/// is older than `before`. Returns the number of these customers.
async fn retire(outbox: &dyn Outbox, before: Timestamp) -> usize {
    let mut from = EntryId(0);
    while let Some(next) = outbox.prune_receipts(from, LATER..=LATER).await.unwrap() {
        from = next;
    }
    let (mut lane, mut customers) = (Some(LaneId(0)), 0);
    while let Some(from) = lane {
        let retired = outbox.retire_customers(from, before).await.unwrap();
        customers += retired.customers;
        lane = retired.next;
    }
    customers
}

/// Returns whether a store has a lane of a customer. The customer is not blocked.
async fn is_known(outbox: &dyn Outbox, customer: &str) -> bool {
    let customer = CustomerRef::Imprint(ImprintId::parse(customer).unwrap());
    let found = outbox.lanes(vec![customer]).await.unwrap();
    assert!(!found[0].is_blocked);
    !found[0].lanes.is_empty()
}

/// Delivers version 5 of the customer `CUST-1`, and retires the customer.
async fn retire_one(outbox: &dyn Outbox) {
    append(outbox, &[entry("five", "CUST-1", 5)]).await;
    assert_eq!(deliver(outbox).await, 1);
    append(outbox, &[parked("newest", "CUST-9")]).await;
    assert_eq!(retire(outbox, LATER).await, 1);
    assert!(!is_known(outbox, "CUST-1").await);
}

/// Sends an older and a newer event of the customer `CUST-1`: only the newer event is delivered.
async fn expect_order(outbox: &dyn Outbox, engine: &str) {
    let events = [entry("older", "CUST-1", 4), entry("newer", "CUST-1", 6)];
    append(outbox, &events[..1]).await;
    assert_eq!(deliver(outbox).await, 0, "{engine}");
    append(outbox, &events[1..]).await;
    assert_eq!(deliver(outbox).await, 1, "{engine}");
    let ended = states(outbox, &["older", "newer"]).await;
    assert_eq!(ended, [State::Superseded, State::Delivered], "{engine}");
}

fn parked(id: &str, customer: &str) -> NewEntry {
    let mut new = entry(id, customer, 1);
    if let Disposition::Enqueue(change) = new.disposition {
        new.disposition = Disposition::Park(change, ParkReason::ForeignAddress);
    }
    new
}

/// FAULTS N1455, N1456: the id of an idle customer leaves the store, and an older event never overwrites a newer value.
#[tokio::test]
async fn an_idle_customer_keeps_only_digests_and_versions() {
    for (engine, outbox, folder) in engines() {
        let outbox = outbox.as_ref();
        let has_id = || match &folder {
            StoreFolder::Folder(folder) => contains(folder.path(), "CUST-1"),
            StoreFolder::Memory | StoreFolder::Database(_) => false,
        };
        append(outbox, &[entry("five", "CUST-1", 5)]).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        append(outbox, &[parked("newest", "CUST-9")]).await;
        let customer = CustomerRef::Imprint(ImprintId::parse("CUST-1").unwrap());
        let before = outbox.lanes(vec![customer]).await.unwrap();
        assert_eq!(
            retire(outbox, NOW).await,
            0,
            "{engine}: the delivery is new"
        );
        assert_eq!(has_id(), engine == "sqlite");
        assert_eq!(retire(outbox, LATER).await, 1, "{engine}");
        assert_eq!(
            retire(outbox, LATER).await,
            0,
            "{engine}: it is a tombstone"
        );
        outbox.erase().await.unwrap();
        assert!(!has_id(), "{engine}");
        let origins = outbox.origins(imprint("CUST-1")).await.unwrap();
        assert!(origins.is_empty(), "{engine}");

        // A repeated event with another customer changes nothing.
        let mut again = parked("newest", "CUST-1");
        again.digest = Digest([7; 16]);
        assert!(append(outbox, &[again]).await[0].duplicate, "{engine}");
        assert!(!is_known(outbox, "CUST-1").await, "{engine}");

        append(outbox, &[entry("same", "CUST-1", 4)]).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.versions, before[0].versions, "{engine}");
        assert_eq!(claimed.key, key("CUST-1"), "{engine}");
        let back = settlement(&claimed, all(&claimed, &Ending::Delivered), NOW);
        record(outbox, back).await;
        expect_order(outbox, engine).await;
    }
}

/// Settles the only due lane as delivered, with this change of the settlement.
async fn settle(outbox: &dyn Outbox, new: NewEntry, change: impl FnOnce(&mut Settlement)) {
    append(outbox, &[new]).await;
    let claimed = claim_one(outbox).await;
    let mut settlement = Settlement {
        versions: Some(delivered(&claimed)),
        ..settlement(&claimed, all(&claimed, &Ending::Delivered), NOW)
    };
    change(&mut settlement);
    record(outbox, settlement).await;
}

/// FAULTS N1457: a customer with an entry, with a value in doubt, with an unproven answer or with an identity link stays.
#[tokio::test]
async fn a_customer_with_an_open_question_does_not_retire() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        overtaken(outbox).await;
        settle(outbox, entry("a", "CUST-2", 1), |_| {}).await;
        settle(outbox, entry("b", "CUST-3", 1), |settlement| {
            settlement.unproven.since = Some(NOW);
        })
        .await;
        settle(outbox, entry("c", "CUST-4", 1), |settlement| {
            settlement.trials.blamed_since = Some(NOW);
        })
        .await;
        settle(outbox, entry("d", "CUST-5", 1), |settlement| {
            settlement.new_link = Some(IdentityLink {
                partner: PartnerCustomerId::parse("P-5").unwrap(),
                imprint: ImprintId::parse("CUST-5").ok(),
                confirmed_at: LATER,
            });
        })
        .await;
        let mut held = entry("held", "CUST-7", 1);
        if let Disposition::Enqueue(change) = held.disposition {
            held.disposition = Disposition::Hold(change);
        }
        let set_aside = [parked("parked", "CUST-6"), held];
        append(outbox, &set_aside).await;
        append(outbox, &[entry("waiting", "CUST-8", 1)]).await;
        assert_eq!(retire(outbox, LATER).await, 1, "{engine}: only one is idle");
        for (customer, stays) in (1..=8).zip([true, false, true, true, true, true, true, true]) {
            let customer = format!("CUST-{customer}");
            assert_eq!(
                is_known(outbox, &customer).await,
                stays,
                "{engine}: {customer}"
            );
        }
    }
}

/// FAULTS N1458: one step scans a bounded number of lanes, and the steps together scan all lanes.
#[tokio::test]
async fn customers_retire_in_steps() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let new = |number| parked(&format!("e-{number}"), &format!("C-{number}"));
        let new: Vec<NewEntry> = (0..=RETIRE_MAX).map(new).collect();
        let mut entries = Vec::new();
        for batch in new.chunks(500) {
            entries.extend(append(outbox, batch).await);
        }
        let discard = Withdrawal {
            entries: entries.iter().map(|stored| stored.entry).collect(),
            from: vec![State::Parked],
            to: WithdrawnState::Discarded,
        };
        let event = set_aside::event("discard");
        outbox.withdraw(discard, event).await.unwrap();
        append(outbox, &[entry("newest", "C-0", 1)]).await;
        let first = outbox.retire_customers(LaneId(0), LATER).await.unwrap();
        assert_eq!(first.customers, 0, "{engine}: the receipts are there");
        assert!(first.next.is_some(), "{engine}");
        assert_eq!(retire(outbox, LATER).await, RETIRE_MAX, "{engine}");
    }
}

/// FAULTS N1459: an operator erases a customer who has retired.
#[tokio::test]
async fn a_retired_customer_can_be_erased_and_blocked() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        retire_one(outbox).await;
        let erased = erase(outbox, imprint("CUST-1"), LaterEvents::Ignored).await;
        assert!(erased.was_retired, "{engine}: the customer is known");
        let blocked = append(outbox, &[entry("blocked", "CUST-1", 9)]).await;
        assert_eq!(blocked[0].state, State::Ignored, "{engine}");
        erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
        append(outbox, &[entry("same", "CUST-1", 5)]).await;
        assert_eq!(deliver(outbox).await, 0, "{engine}: the floor is version 5");
        expect_order(outbox, engine).await;
    }
}

/// FAULTS N1460: a retired customer is recognized after a move of the store, in both directions, and after both.
#[tokio::test]
async fn a_retired_customer_is_recognized_after_a_move() {
    for seeds in [&[][..], &[1]] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let [database, second, third] = [(); 3].map(|()| postgres::database());
        let bounds = ClaimBounds::default();
        let open =
            |database: &postgres::PostgresDatabase| database.open(bounds, sealed::ring(seeds));
        let outbox = sealed::open_with(&path("first.db"), seeds);
        retire_one(&outbox).await;
        drop(outbox);
        move_into(&path("first.db"), &database, seeds, NOW);
        move_out(&database, &path("back.db"), seeds, NOW);
        expect_order(&open(&database), "from a file into a database").await;
        move_into(&path("back.db"), &second, seeds, NOW);
        expect_order(&sealed::open_with(&path("back.db"), seeds), "and back").await;
        expect_order(&open(&second), "and into a database again").await;

        let outbox = open(&third);
        retire_one(&outbox).await;
        drop(outbox);
        move_out(&third, &path("third.db"), seeds, NOW);
        let moved = sealed::open_with(&path("third.db"), seeds);
        expect_order(&moved, "from a database into a file").await;
    }
}

/// FAULTS N1461: a new destination has none of the delivered values of a retired customer.
#[tokio::test]
async fn a_retired_customer_has_no_versions_at_a_new_destination() {
    for seeds in [&[][..], &[1]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let outbox = sealed::open_with(&path, seeds);
        retire_one(&outbox).await;
        drop(outbox);
        let (proof, keys) = (AuditProof::default(), sealed::ring(seeds));
        let verified = when_free(|| verify(&path, &proof, &keys, &mut |_| {}));
        assert_eq!(verified.unwrap().0.errors, Vec::<String>::new());
        let consent = RebindConsent::Confirmed {
            destination: "sandbox https://other.example.com".to_owned(),
            event: AuditEvent {
                operator: "alice".to_owned(),
                action: "rebind",
                target: String::new(),
                reason: None,
                at: NOW,
            },
            keys: AuditKeys::default(),
        };
        when_free(|| rebind(&path, &consent, sealed::ring(seeds))).unwrap();
        let outbox = sealed::open_with(&path, seeds);
        append(&outbox, &[entry("older", "CUST-1", 4)]).await;
        assert_eq!(deliver(&outbox).await, 1);
    }
}
