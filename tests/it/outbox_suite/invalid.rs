//! Tests of entries that are parked as *invalid*: they have an event and errors, but no customer change and no lane.

use super::find::{by_partner, link, linked};
use super::model::event_error;
use super::set_aside::{event, settle_all, states, withdraw};
use super::*;
use imprint_bridge::event::EventError;
use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::CLEARING_OMITTED;
use imprint_bridge::outbox::{IgnoredEvent, InvalidReason};

pub(super) fn invalid(id: &str) -> NewEntry {
    NewEntry {
        disposition: Disposition::Invalid(InvalidReason {
            epoch: 3,
            errors: vec![event_error("/1/email"), event_error("/1/phone")],
        }),
        event: b"{\"invalid\":true}".to_vec(),
        ..entry(id, "unused", 1)
    }
}

fn change(customer: &str, value: i64) -> CustomerChange {
    let Disposition::Enqueue(change) = entry("x", customer, value).disposition else {
        panic!("an entry that waits")
    };
    change
}

fn replay(entry: EntryId, change: ReplayChange) -> Vec<Replay> {
    vec![Replay { entry, change }]
}

/// FAULTS N380: the store keeps the whole event and its errors, and no lane is due.
#[tokio::test]
async fn an_invalid_event_is_parked_with_its_errors_and_without_a_lane() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[invalid("a"), entry("b", "CUST-1", 1)]).await;
        assert_eq!(stored[0].state, State::Parked, "{engine}");
        assert_eq!(claim_one(outbox).await.waiting.len(), 1, "{engine}");
        let receipt = receipt(outbox, "a").await;
        let errors = vec![event_error("/1/email"), event_error("/1/phone")];
        assert_eq!(receipt.errors, errors, "{engine}");
        assert_eq!(
            (receipt.parked, receipt.settled_at),
            (Some((ParkReason::Invalid, None)), Some(NOW)),
            "{engine}"
        );
        let filter = EntryFilter {
            reason: Some(ParkReason::Invalid),
            ..EntryFilter::in_state(State::Parked, 10)
        };
        let selection = EntrySelection::Matching(filter);
        let loaded = outbox.load(selection, Detail::Payloads).await.unwrap();
        assert_eq!(loaded.entries.len(), 1, "{engine}");
        let loaded = &loaded.entries[0];
        assert_eq!(loaded.summary.receipt.errors, errors, "{engine}");
        assert_eq!(loaded.summary.customer, None, "{engine}");
        assert_eq!(loaded.version.map(|version| version.epoch), Some(3));
        let event = loaded.event.as_deref();
        assert_eq!(event, Some(&b"{\"invalid\":true}"[..]), "{engine}");
        assert_eq!(
            (&loaded.update, &loaded.customer),
            (&None, &None),
            "{engine}"
        );
        let depth = outbox.depth().await.unwrap();
        assert_eq!((depth.waiting, depth.parked), (1, 1), "{engine}");
        let source = identity("a").source;
        let errors = invalid("a").stored_bytes() - 16;
        assert!(errors > 2 * "/1/email".len(), "the errors count too");
        let bytes = u64::try_from(16 + errors + 2).unwrap();
        assert_eq!(depth.stored_bytes[&source], bytes, "{engine}");
        let again = append(outbox, &[invalid("a")]).await;
        assert!(again[0].duplicate && again[0].state == State::Parked);
    }
}

/// FAULTS N381: only a customer change lets an invalid entry wait. The entry then is like every other entry.
#[tokio::test]
async fn an_invalid_entry_waits_only_with_a_customer_change() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let entry = append(outbox, &[invalid("a")]).await[0].entry;
        let unchanged = outbox
            .replay(replay(entry, ReplayChange::Stored), event("replay"))
            .await;
        assert!(unchanged.unwrap().is_empty(), "{engine}");
        let approved = outbox.approve(vec![entry], event("replay")).await;
        assert!(approved.unwrap().is_empty(), "{engine}");
        assert_eq!(states(outbox, &["a"]).await, [State::Parked], "{engine}");
        let change = ReplayChange::Mapped(change("CUST-1", 7));
        let replayed = outbox.replay(replay(entry, change.clone()), event("replay"));
        assert_eq!(replayed.await.unwrap(), [entry], "{engine}");
        let again = outbox.replay(replay(entry, change), event("replay")).await;
        assert!(again.unwrap().is_empty(), "{engine}: it waits already");
        let receipt = receipt(outbox, "a").await;
        let seen = (receipt.state, receipt.parked, receipt.errors);
        assert_eq!(seen, (State::Waiting, None, Vec::new()), "{engine}");
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.key, key("CUST-1"), "{engine}");
        let version = Version {
            epoch: 0,
            value: 7,
            arrival: entry.0,
        };
        assert_eq!(claimed.waiting[0].version, version, "{engine}");
        assert_eq!(claimed.waiting[0].accepted_at, NOW, "{engine}");
        let delivered = settlement(&claimed, all(&claimed, &Ending::Delivered), NOW);
        record(outbox, delivered).await;
        let depth = outbox.depth().await.unwrap();
        assert_eq!((depth.waiting, depth.parked), (0, 0), "{engine}");
        assert!(depth.stored_bytes.values().all(|bytes| *bytes == 0));
    }
}

/// FAULTS N381: an operator, or retention, can end an invalid entry.
#[tokio::test]
async fn an_invalid_entry_can_be_discarded() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[invalid("a"), invalid("b")]).await;
        let waiting = Withdrawal {
            entries: vec![stored[0].entry],
            from: vec![State::Waiting],
            to: WithdrawnState::Discarded,
        };
        let unchanged = outbox.withdraw(waiting, event("discard")).await.unwrap();
        assert!(unchanged.entries.is_empty(), "{engine}");
        let ended = withdraw(outbox, vec![stored[0].entry], WithdrawnState::Discarded).await;
        assert_eq!(ended.entries, [stored[0].entry], "{engine}");
        let seen = states(outbox, &["a", "b"]).await;
        assert_eq!(seen, [State::Discarded, State::Parked], "{engine}");
        let found = outbox.inspect(stored[0].entry).await.unwrap().unwrap();
        assert_eq!((found.event, found.update), (None, None), "{engine}");
        assert!(receipt(outbox, "a").await.errors.is_empty(), "{engine}");
        let depth = outbox.depth().await.unwrap();
        let bytes: u64 = depth.stored_bytes.values().sum();
        let left = u64::try_from(invalid("b").stored_bytes()).unwrap();
        assert_eq!((depth.parked, bytes), (1, left), "{engine}");
    }
}

/// The lanes of customers have the waiting entries and the delivered versions of these customers.
#[tokio::test]
async fn lanes_are_loaded_by_customer() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let two = [entry("a", "CUST-1", 1), entry("b", "CUST-2", 1)];
        let stored = append(outbox, &two).await;
        let customers = ["CUST-2", "CUST-9", "CUST-1", "CUST-2"];
        let customers = customers.map(|id| CustomerRef::Imprint(ImprintId::parse(id).unwrap()));
        let lanes = outbox.lanes(customers.to_vec()).await.unwrap();
        let ids = lanes.iter().map(|lane| lane.waiting.first());
        let ids: Vec<_> = ids.map(|first| first.map(|first| first.entry)).collect();
        let [one, two] = [0, 1].map(|place| Some(stored[place].entry));
        assert_eq!(ids, [two, None, one, two], "{engine}");
        assert!(lanes[1].versions == LaneVersions::default(), "{engine}");
    }
}

/// FAULTS N450: the lane of a customer is found by both ids of the customer, with the waiting entries of both ids.
#[tokio::test]
async fn lanes_are_loaded_by_either_id_of_a_customer() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let imprint = ImprintId::parse("CUST-1").unwrap();
        let partner = PartnerCustomerId::parse("P-1").unwrap();
        let customers = [
            CustomerRef::Imprint(imprint.clone()),
            CustomerRef::Partner(partner.clone()),
        ];
        append(outbox, &[by_partner("a", 1)]).await;
        let before = outbox.lanes(customers.to_vec()).await.unwrap();
        let keys = before.iter().map(|lane| lane.key.clone());
        let own = [
            LaneKey::Imprint(imprint.clone()),
            LaneKey::Partner(partner.clone()),
        ];
        assert_eq!(keys.collect::<Vec<_>>(), own, "{engine}");
        let claimed = linked(outbox).await;
        let fold = fold(&claimed.versions, &claimed.candidates(), MaxFold(9), NOW);
        let versions = claimed.versions.clone().delivered(&fold);
        let delivered = Settlement {
            versions: Some(versions.clone()),
            ..settle_all(&claimed, &Ending::Delivered)
        };
        record(outbox, delivered).await;
        let more = [by_partner("b", 2), entry("c", "CUST-1", 3)];
        let stored = append(outbox, &more).await;
        for lane in outbox.lanes(customers.to_vec()).await.unwrap() {
            assert_eq!(lane.key, own[0], "{engine}");
            assert_eq!(lane.versions, versions, "{engine}");
            assert_eq!(lane.links, [link()], "{engine}");
            let waiting = lane.waiting.iter().map(|waiting| waiting.entry);
            let newest_first = [stored[1].entry, stored[0].entry];
            assert_eq!(waiting.collect::<Vec<_>>(), newest_first, "{engine}");
        }
    }
}

/// FAULTS N380: the errors survive a restart, and a damaged list of errors hides no entry.
#[tokio::test]
async fn the_errors_of_an_invalid_event_are_durable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let outbox = open(&path).unwrap();
    append(&outbox, &[invalid("a")]).await;
    drop(outbox);
    let outbox = open(&path).unwrap();
    assert_eq!(receipt(&outbox, "a").await.errors.len(), 2);
    drop(outbox);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("UPDATE parked SET errors = x'7b'", [])
        .unwrap();
    drop(connection);
    let outbox = open(&path).unwrap();
    let damaged = receipt(&outbox, "a").await;
    assert_eq!(damaged.parked, Some((ParkReason::Invalid, None)));
    assert!(damaged.errors.is_empty());
}

pub(super) fn skipping(id: &str, fields: &[&str]) -> NewEntry {
    let mut new = entry(id, "CUST-1", 1);
    if let Disposition::Enqueue(change) = &mut new.disposition {
        change.skipped = fields.iter().map(|field| event_error(field)).collect();
    }
    new
}

/// FAULTS N392: the receipt keeps the errors of skipped fields after the entry has ended, and a replay with another change
/// replaces them.
#[tokio::test]
async fn the_receipt_keeps_the_errors_of_skipped_fields() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let Disposition::Enqueue(change) = skipping("p", &["/phone"]).disposition else {
            panic!("it waits")
        };
        let parked = NewEntry {
            disposition: Disposition::Park(change.clone(), ParkReason::ForeignAddress),
            ..entry("p", "CUST-1", 1)
        };
        let ignored = NewEntry {
            disposition: Disposition::Ignore(IgnoredEvent {
                reason: IgnoreReason::ValuesSkipped,
                skipped: vec![event_error("/phone")],
            }),
            ..entry("i", "CUST-1", 1)
        };
        let batch = [
            skipping("w", &["/phone", "/zip"]),
            parked,
            ignored,
            entry("n", "CUST-1", 1),
        ];
        let stored = append(outbox, &batch).await;
        for (id, pointers) in [
            ("w", vec!["/phone", "/zip"]),
            ("p", vec!["/phone"]),
            ("i", vec!["/phone"]),
            ("n", vec![]),
        ] {
            let receipt = receipt(outbox, id).await;
            let skipped = receipt.skipped();
            let found: Vec<&str> = skipped.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{engine} {id}");
        }
        let entry = stored[1].entry;
        let mut other = change;
        other.skipped = vec![event_error("/email")];
        let moved = outbox.replay(replay(entry, ReplayChange::Mapped(other)), event("replay"));
        assert_eq!(moved.await.unwrap(), [entry], "{engine}");
        let found = receipt(outbox, "p").await;
        assert_eq!(found.skipped(), [&event_error("/email")], "{engine}");
    }
}

/// FAULTS N475: a settlement adds the cleared fields that no request sends to the skipped fields of the receipt.
#[tokio::test]
async fn a_receipt_keeps_the_cleared_fields_that_no_request_sends() {
    for (engine, outbox, _folder) in engines() {
        let outbox = &*outbox;
        let mut new = entry("a", "CUST-1", 1);
        if let Disposition::Enqueue(change) = &mut new.disposition {
            change.skipped = vec![event_error("/zip")];
        }
        let stored = append(outbox, &[new, entry("b", "CUST-1", 1)]).await;
        let claimed = claim_one(outbox).await;
        let endings = stored
            .iter()
            .map(|stored| (stored.entry, Ending::Delivered));
        let omitted = EventError {
            pointer: String::new(),
            rule: CLEARING_OMITTED.to_owned(),
            location: "phone".to_owned(),
            detail: "imprint.clearing is \"omit\"".to_owned(),
        };
        let settlement = Settlement {
            omitted: vec![(stored[0].entry, vec![omitted])],
            ..settlement(&claimed, endings.collect(), NOW)
        };
        let settled = outbox.settle(settlement.into()).await.unwrap();
        assert_eq!(settled, Settled::Recorded, "{engine}");
        let [a, b] = [receipt(outbox, "a").await, receipt(outbox, "b").await];
        let expected = [("phone", "imprint.clearing is \"omit\"")].into();
        assert_eq!(a.omitted(), expected, "{engine}");
        assert_eq!(a.skipped(), [&event_error("/zip")], "{engine}");
        assert!(b.unsent.is_empty(), "{engine}");
    }
}
