//! Tests of the search for the entries of one event or of one customer.

use super::set_aside::{event, settle_all};
use super::*;
use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::{EntryOrder, IdentityLink, Moved};

pub(super) fn by_partner(id: &str, value: i64) -> NewEntry {
    let mut entry = entry(id, "unused", value);
    if let Disposition::Enqueue(change) = &mut entry.disposition {
        change.customer = CustomerRef::Partner(PartnerCustomerId::parse("P-1").unwrap());
    }
    entry
}

/// Links the customer of the only waiting entry to `CUST-1`, moves the entry there, and claims the new lane.
pub(super) async fn linked(outbox: &dyn Outbox) -> ClaimedLane {
    let claimed = claim_one(outbox).await;
    let imprint = ImprintId::parse("CUST-1").unwrap();
    let moved = Settlement {
        moved: Some(Moved {
            to: imprint.clone(),
            entries: vec![claimed.waiting[0].entry],
        }),
        new_link: Some(link()),
        ..settlement(&claimed, Vec::new(), NOW)
    };
    record(outbox, moved).await;
    claim_one(outbox).await
}

pub(super) fn link() -> IdentityLink {
    IdentityLink {
        partner: PartnerCustomerId::parse("P-1").unwrap(),
        imprint: ImprintId::parse("CUST-1").ok(),
        confirmed_at: NOW,
    }
}

async fn found(outbox: &dyn Outbox, filter: EntryFilter) -> Vec<u64> {
    let page = outbox.list(filter).await.unwrap();
    let entries = page.entries.iter();
    entries.map(|summary| summary.receipt.entry.0).collect()
}

/// The entries of a test, which name them by their places: the numbers of an engine can have gaps.
struct Places(Vec<EntryId>);

impl Places {
    fn of(stored: &[AppendedEntry]) -> Self {
        Self(stored.iter().map(|stored| stored.entry).collect())
    }

    /// Returns the entry at a place, beginning with 1.
    fn entry(&self, place: usize) -> EntryId {
        place
            .checked_sub(1)
            .map_or(EntryId(0), |place| self.0[place])
    }

    /// Returns the places of the entries that a filter finds.
    async fn found(&self, outbox: &dyn Outbox, filter: EntryFilter) -> Vec<usize> {
        let found = found(outbox, filter).await.into_iter();
        let place = |number| self.0.iter().position(|entry| entry.0 == number);
        found.map(|number| place(number).unwrap() + 1).collect()
    }
}

/// Stores a delivered, a parked and a waiting entry of the customer with the ids `P-1` and `CUST-1`, and an entry of
/// `CUST-2`.
async fn four_entries(outbox: &dyn Outbox) -> Places {
    let mut stored = append(outbox, &[by_partner("a", 1)]).await;
    let claimed = linked(outbox).await;
    record(outbox, settle_all(&claimed, &Ending::Delivered)).await;
    let mut parked = by_partner("b", 2);
    if let Disposition::Enqueue(change) = parked.disposition {
        parked.disposition = Disposition::Park(change, ParkReason::ForeignAddress);
    }
    let more = [parked, entry("c", "CUST-1", 3), entry("d", "CUST-2", 1)];
    stored.extend(append(outbox, &more).await);
    Places::of(&stored)
}

/// FAULTS N455: the entries of a customer are found by both ids, in every state, and the entries of an event by its id.
#[tokio::test]
async fn entries_are_found_by_event_and_by_customer() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let places = four_entries(outbox).await;
        let all = EntryFilter {
            states: State::ALL.to_vec(),
            ..EntryFilter::in_state(State::Waiting, 10)
        };
        for customer in ["P-1", "CUST-1"] {
            let of = |states: &[State], after: usize| EntryFilter {
                states: states.to_vec(),
                customer: Some(customer.to_owned()),
                after: places.entry(after),
                ..all.clone()
            };
            assert_eq!(
                places.found(outbox, of(&State::ALL, 0)).await,
                [1, 2, 3],
                "{engine}"
            );
            assert_eq!(
                places.found(outbox, of(&State::ALL, 1)).await,
                [2, 3],
                "{engine}"
            );
            assert_eq!(
                places.found(outbox, of(&[State::Delivered], 0)).await,
                [1],
                "{engine}"
            );
            let two = [State::Parked, State::Waiting];
            assert_eq!(places.found(outbox, of(&two, 0)).await, [2, 3], "{engine}");
        }
        let with_id = |id: &str, customer: Option<&str>| EntryFilter {
            id: Attribute::parse(id).ok(),
            customer: customer.map(str::to_owned),
            ..all.clone()
        };
        assert_eq!(
            places.found(outbox, with_id("b", None)).await,
            [2],
            "{engine}"
        );
        assert_eq!(
            places.found(outbox, with_id("b", Some("CUST-1"))).await,
            [2],
            "{engine}"
        );
        assert_eq!(
            places.found(outbox, with_id("b", Some("CUST-2"))).await,
            [0; 0],
            "{engine}"
        );
        assert_eq!(
            places.found(outbox, with_id("z", None)).await,
            [0; 0],
            "{engine}"
        );
        assert_eq!(places.found(outbox, all).await, [1, 2, 3, 4], "{engine}");
    }
}

/// FAULTS N870: the newest-first list has the same entries as the oldest-first list, for each way to find entries.
#[tokio::test]
async fn a_list_begins_with_the_newest_entries() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let mut stored = append(outbox, &[by_partner("a", 1)]).await;
        let claimed = linked(outbox).await;
        record(outbox, settle_all(&claimed, &Ending::Delivered)).await;
        let more = [entry("c", "CUST-1", 3), entry("d", "CUST-2", 1)];
        stored.extend(append(outbox, &more).await);
        let places = Places::of(&stored);
        let list = |states: &[State], customer: Option<&str>, after: usize| EntryFilter {
            states: states.to_vec(),
            customer: customer.map(str::to_owned),
            order: EntryOrder::NewestFirst,
            after: places.entry(after),
            ..EntryFilter::in_state(State::Waiting, 2)
        };
        let waiting = &[State::Waiting, State::Parked];
        for (filter, expected) in [
            (list(&State::ALL, None, 0), &[3, 2][..]),
            (list(&State::ALL, None, 2), &[1]),
            (list(&State::ALL, None, 1), &[]),
            (list(waiting, None, 0), &[3, 2]),
            (list(waiting, None, 3), &[2]),
            (list(&State::ALL, Some("P-1"), 0), &[2, 1]),
            (list(&State::ALL, Some("CUST-1"), 2), &[1]),
            (list(waiting, Some("CUST-1"), 0), &[2]),
        ] {
            let by_id = EntryFilter {
                id: Attribute::parse("d").ok(),
                ..filter.clone()
            };
            let found_by_id = places.found(outbox, by_id).await;
            assert_eq!(found_by_id.is_empty(), !expected.contains(&3), "{engine}");
            assert_eq!(places.found(outbox, filter).await, expected, "{engine}");
        }
    }
}

/// FAULTS N455: a search reads an index, so it finds entries behind more ended entries than one page reads.
#[tokio::test]
async fn ended_entries_are_found_behind_many_others() {
    let (folder, path) = (fast_folder(), "outbox.db");
    let outbox = SqliteOutbox::open(&folder.path().join(path), 10_000, NOW).unwrap();
    let mut entries: Vec<NewEntry> = (0..5_001)
        .map(|number| entry(&format!("e-{number}"), "CUST-1", number))
        .collect();
    entries.push(entry("mine", "CUST-2", 1));
    let mut other = entry("mine", "CUST-3", 1);
    other.identity.source = SourceName::parse("shop").unwrap();
    entries.push(other);
    let stored = append(&outbox, &entries).await;
    let all: Vec<EntryId> = stored.iter().map(|stored| stored.entry).collect();
    for entries in all.chunks(500) {
        let discard = Withdrawal {
            entries: entries.to_vec(),
            from: vec![State::Waiting],
            to: WithdrawnState::Discarded,
        };
        outbox.withdraw(discard, event("discard")).await.unwrap();
    }
    let filter = EntryFilter::in_state(State::Discarded, 10);
    let by_customer = EntryFilter {
        customer: Some("CUST-2".to_owned()),
        ..filter.clone()
    };
    let by_id = EntryFilter {
        id: Attribute::parse("mine").ok(),
        ..filter
    };
    for (filter, expected) in [(by_customer, &[5_002][..]), (by_id, &[5_002, 5_003])] {
        let page = outbox.list(filter.clone()).await.unwrap();
        assert_eq!(page.next, None, "{filter:?}");
        assert_eq!(found(&outbox, filter).await, expected);
    }
}
