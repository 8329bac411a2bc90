//! Tests of the erasure of customers, in every storage engine.

use super::set_aside::states;
use super::*;
use crate::erasure::contains;
use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::{
    CustomerErasure, ErasedPart, ErasureProgress, ErasureStep, IdentityLink, LaterEvents, Moved,
};

pub(super) fn imprint(id: &str) -> LaneKey {
    LaneKey::Imprint(ImprintId::parse(id).unwrap())
}

pub(super) fn partner_key(id: &str) -> LaneKey {
    LaneKey::Partner(partner(id))
}

fn partner(id: &str) -> PartnerCustomerId {
    PartnerCustomerId::parse(id).unwrap()
}

fn by_partner(id: &str, customer: &str, value: i64) -> NewEntry {
    let mut new = entry(id, "unused", value);
    if let Disposition::Enqueue(change) = &mut new.disposition {
        change.customer = CustomerRef::Partner(partner(customer));
    }
    new
}

/// Returns an event with the ids `CUST-1` and `P-1`.
fn both(id: &str, value: i64) -> NewEntry {
    let mut new = entry(id, "CUST-1", value);
    if let Disposition::Enqueue(change) = &mut new.disposition {
        change.customer = CustomerRef::Pair {
            imprint: ImprintId::parse("CUST-1").unwrap(),
            partner: partner("P-1"),
        };
    }
    new
}

pub(super) async fn step(outbox: &dyn Outbox, erasure: &CustomerErasure) -> ErasureStep {
    outbox.erase_customer(erasure.clone()).await.unwrap()
}

/// Erases a customer in as many steps as the engine needs. Returns the sums of the steps.
pub(super) async fn erase(outbox: &dyn Outbox, key: LaneKey, later: LaterEvents) -> ErasedPart {
    erase_at(outbox, (key, later), NOW).await
}

async fn erase_at(
    outbox: &dyn Outbox,
    (key, later): (LaneKey, LaterEvents),
    at: Timestamp,
) -> ErasedPart {
    let mut erasure = CustomerErasure {
        keys: vec![key],
        invalid: Vec::new(),
        later_events: later,
        at,
        progress: None,
    };
    let mut sum = ErasedPart::default();
    loop {
        let ErasureStep::Erased(part) = step(outbox, &erasure).await else {
            panic!("a request is in flight")
        };
        sum.entries += part.entries;
        sum.discarded.extend(part.discarded);
        sum.unversioned += part.unversioned;
        sum.was_retired |= part.was_retired;
        sum.lanes.extend(part.lanes);
        sum.keys.clone_from(&part.keys);
        if part.progress.is_none() {
            return sum;
        }
        (erasure.keys, erasure.progress) = (part.keys, part.progress);
    }
}

/// Delivers everything that waits.
pub(super) async fn deliver(outbox: &dyn Outbox) -> usize {
    let mut sent = 0;
    for claimed in claim(outbox, NOW).await.lanes {
        let fold = fold(&claimed.versions, &claimed.candidates(), MaxFold(100), NOW);
        sent += fold.carried.len();
        let endings = claimed.waiting.iter().map(|waiting| {
            let is_sent = fold.carried.contains(&waiting.entry.0);
            let winner = Ending::Superseded(EntryId(u64::MAX / 2));
            (
                waiting.entry,
                if is_sent { Ending::Delivered } else { winner },
            )
        });
        let settlement = Settlement {
            endings: endings.collect(),
            versions: Some(claimed.versions.clone().delivered(&fold)),
            ..settlement(&claimed, Vec::new(), NOW)
        };
        record(outbox, settlement).await;
    }
    sent
}

/// Moves the first entry of a lane to the customer `CUST-1`, which a search has found.
fn moved(claimed: &ClaimedLane) -> Settlement {
    Settlement {
        attempted: Vec::new(),
        moved: Some(Moved {
            to: ImprintId::parse("CUST-1").unwrap(),
            entries: vec![claimed.waiting[0].entry],
        }),
        ..settlement(claimed, Vec::new(), NOW)
    }
}

async fn names_customer(outbox: &dyn Outbox, text: &str) -> bool {
    let mut filter = EntryFilter::in_state(State::Delivered, 100);
    filter.states = State::ALL.to_vec();
    let all = outbox.list(filter).await.unwrap();
    format!("{all:?}").contains(text)
}

/// FAULTS N1092: the lanes that a preview loads say that a customer is blocked.
#[tokio::test]
async fn a_loaded_lane_is_blocked_after_an_erasure_with_a_block() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let new = ["CUST-1", "CUST-2"].map(|id| entry(id, id, 3));
        append(outbox, &new).await;
        erase(outbox, imprint("CUST-1"), LaterEvents::Ignored).await;
        erase(outbox, imprint("CUST-2"), LaterEvents::Delivered).await;
        erase(outbox, partner_key("P-1"), LaterEvents::Ignored).await;
        let by_imprint = |id| CustomerRef::Imprint(ImprintId::parse(id).unwrap());
        let customers = vec![
            by_imprint("CUST-1"),
            by_imprint("CUST-2"),
            by_imprint("CUST-3"),
            CustomerRef::Partner(partner("P-1")),
        ];
        let lanes = outbox.lanes(customers).await.unwrap();
        let blocked: Vec<bool> = lanes.iter().map(|lane| lane.is_blocked).collect();
        assert_eq!(blocked, [true, false, false, true], "{engine}");
    }
}

/// Checks that the receipt of an event, and the list of the entries of its id, say when the event was erased.
async fn check_erased(
    (engine, outbox): (&str, &dyn Outbox),
    id: &str,
    state: State,
    later: Timestamp,
) {
    let Identity {
        source,
        ce_source,
        id,
    } = identity(id);
    for ce_source in [None, ce_source] {
        let lookup = Lookup {
            source: source.clone(),
            ce_source,
            id: id.clone(),
        };
        let found = outbox.find(lookup.clone()).await.unwrap().unwrap();
        assert_eq!(found.erased_at, Some(later), "{engine} {lookup:?}");
        let settled = (found.state, found.settled_at, &found.superseded_by);
        assert_eq!(settled, (state, Some(later), &None), "{engine}");
        assert_eq!(found.identity.id, id, "{engine}");
    }
    let listed = outbox.list(EntryFilter {
        id: Some(id.clone()),
        ..EntryFilter::in_state(state, 10)
    });
    let listed = listed.await.unwrap().entries;
    assert_eq!(listed.len(), 1, "{engine} {id:?}");
    assert_eq!(listed[0].receipt.erased_at, Some(later), "{engine}");
    assert_ne!(listed[0].receipt.identity.id, id, "{engine}");
}

/// FAULTS N1148: the receipt of an erased event says when it was erased, also without the CloudEvents source of the event. A
/// list of the entries of the event id has the entry.
#[tokio::test]
async fn the_receipt_of_an_erased_event_says_so() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("old", "CUST-1", 3)]).await;
        append(outbox, &[entry("new", "CUST-1", 4)]).await;
        append(outbox, &[entry("other", "CUST-2", 4)]).await;
        assert_eq!(deliver(outbox).await, 2, "{engine}");
        append(outbox, &[entry("waiting", "CUST-1", 5)]).await;
        let later = NOW.after(Duration::from_secs(60));
        let order = (imprint("CUST-1"), LaterEvents::Delivered);
        erase_at(outbox, order, later).await;
        let states = [
            ("old", State::Superseded),
            ("new", State::Delivered),
            ("waiting", State::Discarded),
        ];
        for (id, state) in states {
            check_erased((engine, outbox), id, state, later).await;
        }
        assert_eq!(receipt(outbox, "other").await.erased_at, None, "{engine}");
        let Identity { source, id, .. } = identity("unknown");
        let ce_source = None;
        let unknown = Lookup {
            source,
            ce_source,
            id,
        };
        assert_eq!(outbox.find(unknown).await.unwrap(), None, "{engine}");
    }
}

/// FAULTS N1307: a source without `CloudEvents` sources sends an event with the id that stands for an erased event in the
/// lists.
#[tokio::test]
async fn an_event_with_the_id_of_an_erased_event_is_not_erased() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("old", "CUST-1", 3)]).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        let key = imprint("CUST-1");
        erase(outbox, key, LaterEvents::Delivered).await;
        let listed = outbox.list(EntryFilter::in_state(State::Delivered, 10));
        let tombstone = &listed.await.unwrap().entries[0].receipt.identity.id;
        let mut new = entry("new", "CUST-2", 3);
        new.identity.ce_source = None;
        new.identity.id = tombstone.clone();
        append(outbox, &[new]).await;
        let id = tombstone.as_str();
        assert_eq!(receipt(outbox, id).await.erased_at, None, "{engine}");
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        let other = receipt(outbox, id).await;
        assert_eq!(other.state, State::Delivered, "{engine}");
        assert_eq!(other.erased_at, None, "{engine}");
        let erased = receipt(outbox, "old").await;
        assert!(erased.erased_at.is_some(), "{engine}");
    }
}

/// FAULTS N642, N643: waiting, delivered and parked entries are erased; resent events are duplicates, conflicts stay
/// conflicts, and only newer versions come back.
#[tokio::test]
async fn an_erased_customer_leaves_digests_and_version_floors() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("old", "CUST-1", 3)]).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        let waiting = entry("new", "CUST-1", 7);
        let stored = append(outbox, &[waiting.clone(), entry("other", "CUST-2", 7)]).await;
        let settled = outbox.wait_settled(stored[0].entry);
        let erased = erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
        assert_eq!(erased.entries, 2, "{engine}");
        assert_eq!(erased.discarded, [stored[0].entry], "{engine}");
        assert_eq!(erased.unversioned, 0, "{engine}");
        assert_eq!(settled.await.unwrap(), State::Discarded, "{engine}");
        assert!(!names_customer(outbox, "CUST-1").await, "{engine}");
        assert!(!names_customer(outbox, "\"new\"").await, "{engine}");
        let depth = outbox.depth().await.unwrap();
        assert_eq!(depth.waiting, 1, "{engine}: the other customer waits");
        let loaded = outbox.lanes(vec![CustomerRef::Imprint(
            ImprintId::parse("CUST-1").unwrap(),
        )]);
        assert!(loaded.await.unwrap()[0].lanes.is_empty(), "{engine}");

        let again = append(outbox, std::slice::from_ref(&waiting)).await;
        assert!(again[0].duplicate, "{engine}");
        assert_eq!(
            (again[0].entry, again[0].state),
            (stored[0].entry, State::Discarded)
        );
        let mut conflict = waiting;
        conflict.digest = Digest([8; 16]);
        for batch in [
            vec![conflict.clone()],
            vec![conflict, entry("x", "CUST-3", 1)],
        ] {
            let refused = outbox.append(batch).await.unwrap();
            let expected = vec![ConflictingEvent {
                place: 0,
                earlier: Some(stored[0].entry),
            }];
            assert_eq!(refused, Appended::Conflict(expected), "{engine}");
        }
        assert_eq!(deliver(outbox).await, 1, "{engine}: the other customer");
        for (id, value, sent) in [("r1", 3, 0), ("r2", 7, 0), ("r3", 8, 1)] {
            append(outbox, &[entry(id, "CUST-1", value)]).await;
            assert_eq!(deliver(outbox).await, sent, "{engine} {value}");
        }
        assert_eq!(
            states(outbox, &["r2", "r3"]).await,
            [State::Superseded, State::Delivered]
        );
    }
}

/// FAULTS N642, N643: the erasure follows links, also old ones, and blocks every id of the customer. An erasure without a
/// block ends the block.
#[tokio::test]
async fn a_blocked_customer_stays_out_under_every_id() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[by_partner("p", "P-1", 3)]).await;
        let claimed = claim_one(outbox).await;
        let linked = Settlement {
            new_link: Some(IdentityLink {
                partner: partner("P-1"),
                imprint: Some(ImprintId::parse("CUST-1").unwrap()),
                confirmed_at: Timestamp::from_millis(1),
            }),
            ..moved(&claimed)
        };
        record(outbox, linked).await;
        append(outbox, &[by_partner("q", "P-1", 4)]).await;
        let erased = erase(outbox, imprint("CUST-1"), LaterEvents::Ignored).await;
        assert_eq!((erased.entries, erased.keys.len()), (2, 2), "{engine}");
        for new in [entry("a", "CUST-1", 9), by_partner("b", "P-1", 9)] {
            let stored = append(outbox, &[new]).await;
            assert_eq!(stored[0].state, State::Ignored, "{engine}");
        }
        assert_eq!(
            receipt(outbox, "a").await.ignored,
            Some(IgnoreReason::Blocked)
        );
        assert_eq!(outbox.depth().await.unwrap().waiting, 0, "{engine}");

        // Another id of the customer, which the bridge has not known.
        append(outbox, &[by_partner("c", "P-2", 9)]).await;
        let claimed = claim_one(outbox).await;
        record(outbox, moved(&claimed)).await;
        assert_eq!(
            receipt(outbox, "c").await.ignored,
            Some(IgnoreReason::Blocked),
            "{engine}"
        );
        assert_eq!(
            outbox
                .depth()
                .await
                .unwrap()
                .stored_bytes
                .values()
                .sum::<u64>(),
            0,
            "{engine}"
        );

        let erased = erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
        assert_eq!(erased.entries, 0, "{engine}");
        append(outbox, &[entry("d", "CUST-1", 2), entry("e", "CUST-1", 9)]).await;
        assert_eq!(
            deliver(outbox).await,
            1,
            "{engine}: the floors have survived"
        );
    }
}

/// FAULTS N643: the version floor of a customer that the bridge knew only by the CRM's id.
#[tokio::test]
async fn a_floor_moves_to_the_lane_that_a_search_finds() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[by_partner("p", "P-1", 5)]).await;
        erase(
            outbox,
            LaneKey::Partner(partner("P-1")),
            LaterEvents::Delivered,
        )
        .await;
        append(outbox, &[by_partner("q", "P-1", 4)]).await;
        let claimed = claim_one(outbox).await;
        record(outbox, moved(&claimed)).await;
        assert_eq!(deliver(outbox).await, 0, "{engine}");
        assert_eq!(
            states(outbox, &["q"]).await,
            [State::Superseded],
            "{engine}"
        );
    }
}

/// FAULTS N764: an entry that moves to another customer brings no delivered version along, also not in a store that has
/// erased a customer.
#[tokio::test]
async fn a_delivered_version_stays_with_its_customer() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("x", "CUST-9", 1)]).await;
        erase(outbox, imprint("CUST-9"), LaterEvents::Delivered).await;
        append(outbox, &[entry("a", "CUST-2", 5)]).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        append(outbox, &[entry("b", "CUST-2", 4)]).await;
        let claimed = claim_one(outbox).await;
        record(outbox, moved(&claimed)).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        assert_eq!(states(outbox, &["b"]).await, [State::Delivered], "{engine}");
    }
}

/// FAULTS N644: nothing changes while a request of the customer is in flight.
#[tokio::test]
async fn a_claimed_lane_is_not_erased() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("a", "CUST-1", 1)]).await;
        let claimed = claim_one(outbox).await;
        let erasure = CustomerErasure {
            keys: vec![imprint("CUST-1")],
            invalid: Vec::new(),
            later_events: LaterEvents::Delivered,
            at: NOW,
            progress: None,
        };
        assert_eq!(
            step(outbox, &erasure).await,
            ErasureStep::InFlight,
            "{engine}"
        );
        assert_eq!(states(outbox, &["a"]).await, [State::Waiting], "{engine}");
        let settlement = Settlement {
            versions: Some(delivered(&claimed)),
            ..settlement(&claimed, all(&claimed, &Ending::Delivered), NOW)
        };
        record(outbox, settlement).await;
        let erased = erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
        assert_eq!(erased.entries, 1, "{engine}");
    }
}

/// FAULTS N642: a customer with more entries than one step erases. FAULTS N643: without a version of the source, the erasure
/// says so.
#[tokio::test]
async fn an_erasure_of_many_entries_has_several_steps() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let many: Vec<NewEntry> = (0..1_200)
            .map(|number| entry(&format!("e{number}"), "CUST-1", 0))
            .collect();
        for batch in many.chunks(400) {
            append(outbox, batch).await;
        }
        let erased = erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
        assert_eq!(
            (erased.entries, erased.discarded.len()),
            (1_200, 1_200),
            "{engine}"
        );
        assert!(erased.unversioned > 0, "{engine}");
        let depth = outbox.depth().await.unwrap();
        assert_eq!((depth.waiting, depth.oldest), (0, None), "{engine}");
        assert_eq!(depth.stored_bytes.values().sum::<u64>(), 0, "{engine}");
        let again = append(outbox, &many[..2]).await;
        assert!(again.iter().all(|entry| entry.duplicate), "{engine}");
    }
}

/// FAULTS N1447: Imprint possibly gets an old request late, so the bridge keeps newer values to send them again. An erasure
/// ends this: at the time for it, the lane has nothing to send, and no file of a store that is not sealed has the values.
#[tokio::test]
async fn an_erasure_ends_what_is_in_doubt() {
    for (engine, outbox, folder) in engines() {
        let outbox = outbox.as_ref();
        let versions = overtaken(outbox).await;
        assert_eq!(versions.reassert_at(), Some(UNTIL), "{engine}");
        let values = ["five@example.com", "six@example.com"];
        let is_stored = |text: &str| match &folder {
            StoreFolder::Folder(folder) => contains(folder.path(), text),
            StoreFolder::Memory | StoreFolder::Database(_) => false,
        };
        if engine == "sqlite" {
            assert!(is_stored("six@example.com"), "the values are in doubt");
        }
        erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
        outbox.erase().await.unwrap();
        for lane in claim(outbox, UNTIL).await.lanes {
            assert_eq!(lane.waiting.len(), 0, "{engine}");
            assert_eq!(lane.versions.reassert_at(), None, "{engine}");
        }
        for value in values {
            assert!(!is_stored(value), "{engine}: {value}");
        }
    }
}

/// FAULTS N1111: an erasure that the bridge repeats, or that takes long, concerns no newer event: what is in doubt, the
/// versions and the origins of the customer who has come back stay, also if retention has deleted the receipts.
#[tokio::test]
async fn a_repeated_erasure_keeps_everything_newer() {
    for (later, kept) in [(LaterEvents::Delivered, NOW), (LaterEvents::Ignored, UNTIL)] {
        for (engine, outbox, _folder) in engines() {
            repeat_after_return(engine, outbox.as_ref(), (later, kept)).await;
        }
    }
}

/// The time until which the request without an answer can arrive.
const UNTIL: Timestamp = Timestamp::from_millis(NOW.as_millis() + 60_000);

/// Erases a customer, who then comes back, and repeats the erasure. Retention keeps the receipts since `kept`.
async fn repeat_after_return(
    engine: &str,
    outbox: &dyn Outbox,
    (later, kept): (LaterEvents, Timestamp),
) {
    let old = append(outbox, &[entry("old", "CUST-1", 3)]).await;
    erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
    let versions = overtaken(outbox).await;
    assert_eq!(versions.reassert_at(), Some(UNTIL), "{engine}");
    outbox
        .prune_receipts(EntryId(0), kept..=kept)
        .await
        .unwrap();
    let repeated = CustomerErasure {
        keys: vec![imprint("CUST-1")],
        invalid: Vec::new(),
        later_events: later,
        at: NOW,
        progress: Some(ErasureProgress {
            number: None,
            last: old[0].entry,
            examined: EntryId(0),
        }),
    };
    let ErasureStep::Erased(part) = step(outbox, &repeated).await else {
        panic!("{engine}: a request is in flight")
    };
    assert_eq!((part.entries, part.progress), (0, None), "{engine}");
    let origins = outbox.origins(imprint("CUST-1")).await.unwrap();
    let events: Vec<_> = origins.iter().map(|origin| &origin.event).collect();
    assert!(matches!(events[..], [Some(_)]), "{engine}: {events:?}");
    let again = claim(outbox, UNTIL).await.lanes;
    assert_eq!(again.len(), 1, "{engine}: the values are sent again");
    assert_eq!(again[0].versions, versions, "{engine}");
}

/// The request with version 5 of a customer gets no answer, and Imprint then gets version 6. Returns the versions.
pub(super) async fn overtaken(outbox: &dyn Outbox) -> LaneVersions {
    append(outbox, &[entry("five", "CUST-1", 5)]).await;
    let claimed = claim_one(outbox).await;
    let unanswered = fold(&claimed.versions, &claimed.candidates(), MaxFold(100), NOW);
    let versions = claimed.versions.clone();
    let unanswered = Settlement {
        versions: Some(versions.with_unconfirmed(&unanswered, UNTIL)),
        ..settlement(&claimed, Vec::new(), NOW)
    };
    record(outbox, unanswered).await;
    append(outbox, &[entry("six", "CUST-1", 6)]).await;
    let claimed = claim_one(outbox).await;
    let newest = fold(&claimed.versions, &claimed.candidates(), MaxFold(100), NOW);
    let versions = claimed.versions.clone().delivered(&newest);
    let delivered = Settlement {
        reassert_at: Some(UNTIL),
        versions: Some(versions.clone()),
        ..settlement(&claimed, all(&claimed, &Ending::Delivered), NOW)
    };
    record(outbox, delivered).await;
    versions
}

/// FAULTS N643: the tombstones outlive the process.
#[tokio::test]
async fn tombstones_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let outbox = open(&path).unwrap();
    append(&outbox, &[entry("a", "CUST-1", 5)]).await;
    erase(&outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
    outbox.close();
    drop(outbox);
    let outbox = open(&path).unwrap();
    assert!(append(&outbox, &[entry("a", "CUST-1", 5)]).await[0].duplicate);
    append(&outbox, &[entry("b", "CUST-1", 4)]).await;
    assert_eq!(deliver(&outbox).await, 0);
}

/// FAULTS N1150: an event names a customer by both ids, and an operator erased the customer by the CRM's id before. The floors
/// hold for this event only: nothing proves that the two ids belong together.
#[tokio::test]
async fn an_event_with_both_ids_keeps_the_floors_of_the_crms_id() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[by_partner("p", "P-1", 5)]).await;
        erase(outbox, partner_key("P-1"), LaterEvents::Delivered).await;
        append(outbox, &[both("old", 3)]).await;
        assert_eq!(deliver(outbox).await, 0, "{engine}");
        append(outbox, &[entry("other", "CUST-1", 2)]).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        // The next event of the CRM's id makes the tombstone a lane again.
        append(outbox, &[by_partner("q", "P-1", 4)]).await;
        append(outbox, &[both("older", 4)]).await;
        for claimed in claim(outbox, NOW).await.lanes {
            let is_imprint = claimed.key == Some(imprint("CUST-1"));
            let floors = claimed.waiting[0].floors.as_ref().map(|it| it.floors());
            assert_eq!(floors, is_imprint.then_some(1), "{engine}");
            assert_eq!(
                claimed.versions.floors(),
                usize::from(!is_imprint),
                "{engine}"
            );
            record(outbox, settlement(&claimed, Vec::new(), NOW)).await;
        }
        append(outbox, &[both("new", 6)]).await;
        deliver(outbox).await;
        let ended = states(outbox, &["old", "other", "older", "new"]).await;
        let expected = [
            State::Superseded,
            State::Delivered,
            State::Superseded,
            State::Delivered,
        ];
        assert_eq!(ended, expected, "{engine}");
    }
}
