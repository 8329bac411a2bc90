//! Tests of the entries of a customer in the lanes of other customers, in every storage engine: the event names the CRM's id
//! of the customer beside the Imprint id of another customer.

use imprint_bridge::outbox::{CustomerErasure, ErasureStep, LaterEvents, Moved, SCAN_MAX};

use super::erased::{deliver, erase, imprint, partner_key, step};
use super::set_aside::{disposed, event, settle_all, states};
use super::*;

/// Creates an event that names `CUST-2` by Imprint's id, and `P-1` by the CRM's id.
fn pair(id: &str, value: i64) -> NewEntry {
    with_partner(entry(id, "CUST-2", value))
}

/// Adds the CRM's id `P-1` to an event that names its customer by Imprint's id.
fn with_partner(mut new: NewEntry) -> NewEntry {
    let LaneKey::Partner(partner) = partner_key("P-1") else {
        panic!("an id of the CRM");
    };
    if let Disposition::Enqueue(change) = &mut new.disposition {
        let imprint = change.customer.imprint().unwrap().clone();
        change.customer = CustomerRef::Pair { imprint, partner };
    }
    new
}

fn first(key: LaneKey) -> CustomerErasure {
    CustomerErasure {
        keys: vec![key],
        invalid: Vec::new(),
        later_events: LaterEvents::Delivered,
        at: NOW,
        progress: None,
    }
}

/// Stores an identity link between `P-1` and `CUST-1`.
async fn link(outbox: &dyn Outbox) {
    append(outbox, &[find::by_partner("linked", 1)]).await;
    let claimed = find::linked(outbox).await;
    record(outbox, settle_all(&claimed, &Ending::Delivered)).await;
}

async fn named(outbox: &dyn Outbox, key: LaneKey) -> Vec<EntryId> {
    let (mut found, mut after) = (Vec::new(), EntryId(0));
    loop {
        let page = outbox.named_entries(vec![key.clone()], after, 2);
        let page = page.await.unwrap();
        found.extend(page.entries);
        match page.next {
            Some(next) => after = next,
            None => return found,
        }
    }
}

/// FAULTS N777: entries in every state that is not final are found and erased; the other entries of the lane stay.
#[tokio::test]
async fn entries_of_every_state_are_erased_in_the_lane_of_another_id() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        link(outbox).await;
        append(outbox, &[pair("undecided", 1)]).await;
        let claimed = claim_one(outbox).await;
        record(outbox, settle_all(&claimed, &Ending::Undecided)).await;
        let new = [
            pair("waiting", 2),
            disposed(pair("held", 3), Disposition::Hold),
            disposed(pair("parked", 4), |change| {
                Disposition::Park(change, ParkReason::ForeignAddress)
            }),
            entry("other", "CUST-2", 1),
        ];
        let mut expected: Vec<EntryId> = append(outbox, &new).await[..3]
            .iter()
            .map(|stored| stored.entry)
            .collect();
        expected.insert(0, receipt(outbox, "undecided").await.entry);
        for key in [imprint("CUST-1"), partner_key("P-1")] {
            assert_eq!(named(outbox, key).await, expected, "{engine}");
        }
        assert!(
            named(outbox, imprint("CUST-2")).await.is_empty(),
            "{engine}"
        );
        let erased = erase(outbox, imprint("CUST-1"), LaterEvents::Delivered).await;
        assert_eq!(
            (erased.entries, erased.discarded),
            (5, expected),
            "{engine}"
        );
        let depth = outbox.depth().await.unwrap();
        let counts = (depth.waiting, depth.parked, depth.held, depth.undecided);
        assert_eq!(counts, (1, 0, 0, 0), "{engine}");
        assert!(
            append(outbox, &[pair("held", 3)]).await[0].duplicate,
            "{engine}"
        );
        assert_eq!(deliver(outbox).await, 1, "{engine}: the other customer");
        assert_eq!(
            states(outbox, &["other"]).await,
            [State::Delivered],
            "{engine}"
        );
    }
}

/// FAULTS N777: the lane of the other customer keeps its versions, and the erased version does not come back to the erased
/// customer.
#[tokio::test]
async fn the_other_customer_keeps_its_versions() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[entry("before", "CUST-2", 5)]).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
        link(outbox).await;
        append(outbox, &[pair("waiting", 9)]).await;
        erase(outbox, partner_key("P-1"), LaterEvents::Delivered).await;
        let again = [entry("older", "CUST-2", 4), entry("newer", "CUST-2", 6)];
        append(outbox, &again).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}: not the older one");
        assert_eq!(
            states(outbox, &["older", "newer"]).await,
            [State::Superseded, State::Delivered],
            "{engine}"
        );
        append(outbox, &[pair("repeated", 9)]).await;
        let claimed = claim_one(outbox).await;
        let moved = Settlement {
            attempted: Vec::new(),
            moved: Some(Moved {
                to: ImprintId::parse("CUST-1").unwrap(),
                entries: vec![claimed.waiting[0].entry],
            }),
            ..settlement(&claimed, Vec::new(), NOW)
        };
        record(outbox, moved).await;
        assert_eq!(deliver(outbox).await, 0, "{engine}: a version floor");
    }
}

/// FAULTS N779: nothing changes while a request of the other customer is in flight, and an idle lane is not claimed.
#[tokio::test]
async fn a_claimed_lane_of_another_id_is_left_alone() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[pair("waiting", 1)]).await;
        let claimed = claim_one(outbox).await;
        let erasure = first(partner_key("P-1"));
        assert_eq!(
            step(outbox, &erasure).await,
            ErasureStep::InFlight,
            "{engine}"
        );
        assert_eq!(
            states(outbox, &["waiting"]).await,
            [State::Waiting],
            "{engine}"
        );
        record(outbox, settlement(&claimed, Vec::new(), NOW)).await;
        let erased = erase(outbox, partner_key("P-1"), LaterEvents::Delivered).await;
        assert_eq!(erased.entries, 1, "{engine}");
        assert_eq!(erased.lanes, [claimed.lane], "{engine}");
        assert!(claim(outbox, NOW).await.lanes.is_empty(), "{engine}");
        append(outbox, &[entry("later", "CUST-2", 1)]).await;
        assert_eq!(deliver(outbox).await, 1, "{engine}");
    }
}

/// Runs one step of an erasure. Returns the number of erased entries, or `None` if a request is in flight.
async fn advance(outbox: &dyn Outbox, erasure: &mut CustomerErasure) -> Option<usize> {
    let ErasureStep::Erased(part) = step(outbox, erasure).await else {
        return None;
    };
    (erasure.keys, erasure.progress) = (part.keys, part.progress);
    Some(part.entries)
}

/// Runs the remaining steps of an erasure after its first one. Returns the number of erased entries.
async fn finish(outbox: &dyn Outbox, erasure: &mut CustomerErasure) -> usize {
    let mut entries = 0;
    while erasure.progress.is_some() {
        entries += advance(outbox, erasure).await.unwrap();
    }
    entries
}

/// FAULTS N779: a lane that is claimed during an erasure holds up only the entries from this lane on.
#[tokio::test]
async fn an_erasure_continues_at_the_claimed_lane() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let elsewhere = with_partner(entry("elsewhere", "CUST-3", 1));
        let elsewhere = disposed(elsewhere, Disposition::Hold);
        let aside = disposed(pair("aside", 1), Disposition::Hold);
        append(outbox, &[elsewhere, aside, entry("other", "CUST-2", 1)]).await;
        let claimed = claim_one(outbox).await;
        let mut erasure = first(partner_key("P-1"));
        // The engine in memory has only one step.
        let before = advance(outbox, &mut erasure).await;
        let expected = (engine != "memory").then_some(1);
        assert_eq!(before, expected, "{engine}");
        assert_eq!(states(outbox, &["aside"]).await, [State::Held], "{engine}");
        assert_eq!(advance(outbox, &mut erasure).await, None, "{engine}");
        record(outbox, settle_all(&claimed, &Ending::Delivered)).await;
        let next = advance(outbox, &mut erasure).await.unwrap();
        let last = finish(outbox, &mut erasure).await;
        assert_eq!(before.unwrap_or_default() + next + last, 2, "{engine}");
    }
}

/// FAULTS N779: the steps of an erasure are bounded, also if thousands of entries of other customers lie between the
/// entries of the customer. An entry that changes its state between two steps is found.
#[tokio::test]
async fn an_erasure_reads_a_bounded_number_of_entries_at_once() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[pair("first", 1)]).await;
        let others = (0..SCAN_MAX + 100).map(|number| {
            let customer = format!("OTHER-{number}");
            disposed(entry(&customer, &customer, 1), Disposition::Hold)
        });
        for batch in others.collect::<Vec<_>>().chunks(1_000) {
            append(outbox, batch).await;
        }
        let parked = disposed(pair("parked", 1), |change| {
            Disposition::Park(change, ParkReason::ForeignAddress)
        });
        let parked = append(outbox, &[parked, pair("last", 1)]).await[0].entry;
        let mut erasure = first(partner_key("P-1"));
        let before = advance(outbox, &mut erasure).await.unwrap();
        assert!(before == 1 || engine == "memory", "{engine}: {before}");
        let replay = Replay {
            entry: parked,
            change: ReplayChange::Stored,
        };
        outbox.replay(vec![replay], event("replay")).await.unwrap();
        let after = finish(outbox, &mut erasure).await;
        assert_eq!(before + after, 3, "{engine}");
        assert_eq!(outbox.depth().await.unwrap().waiting, 0, "{engine}");
    }
}

/// FAULTS N779: a link that a search finds between two steps leads to entries that the steps before have passed.
#[tokio::test]
async fn an_erasure_searches_again_with_a_further_id() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[disposed(pair("early", 1), Disposition::Hold)]).await;
        let many: Vec<NewEntry> = (0..600)
            .map(|number| disposed(entry(&format!("e{number}"), "CUST-1", 1), Disposition::Hold))
            .collect();
        append(outbox, &many).await;
        let mut erasure = first(imprint("CUST-1"));
        let before = advance(outbox, &mut erasure).await.unwrap();
        if erasure.progress.is_none() {
            assert_eq!((engine, before), ("memory", 600));
            continue;
        }
        append(outbox, &[find::by_partner("found", 1)]).await;
        let claimed = claim_one(outbox).await;
        let linked = Settlement {
            new_link: Some(find::link()),
            ..settle_all(&claimed, &Ending::Delivered)
        };
        record(outbox, linked).await;
        let after = finish(outbox, &mut erasure).await;
        assert_eq!(before + after, 601, "{engine}");
        assert_eq!(states(outbox, &["found"]).await, [State::Delivered]);
    }
}
