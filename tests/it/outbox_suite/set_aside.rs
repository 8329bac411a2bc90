//! Tests of entries that are set aside: *held* until an operator approves a mass change, or *undecided* until an
//! operator decides.

use super::*;
use imprint_bridge::outbox::{LaterEvents, LoadedEntries, LoadedEntry, SCAN_MAX, Withdrawn};

pub(super) fn event(action: &'static str) -> AuditEvent {
    AuditEvent {
        operator: "alice".to_owned(),
        action,
        target: "some".to_owned(),
        reason: Some("because".to_owned()),
        at: NOW,
    }
}

pub(super) const PARKED: WithdrawnState = WithdrawnState::Parked(ParkReason::ByOperator);

/// Withdraws entries, whatever state they have.
pub(super) async fn withdraw(
    outbox: &dyn Outbox,
    entries: Vec<EntryId>,
    to: WithdrawnState,
) -> Withdrawn {
    let withdrawal = Withdrawal {
        entries,
        from: vec![State::Waiting, State::Held, State::Undecided, State::Parked],
        to,
    };
    outbox
        .withdraw(withdrawal, event("withdraw"))
        .await
        .unwrap()
}

fn held(id: &str, customer: &str, value: i64) -> NewEntry {
    disposed(entry(id, customer, value), Disposition::Hold)
}

/// Changes a new entry from waiting to set aside.
pub(super) fn disposed(
    new: NewEntry,
    set_aside: impl Fn(CustomerChange) -> Disposition,
) -> NewEntry {
    let Disposition::Enqueue(change) = new.disposition else {
        panic!("an entry that waits");
    };
    NewEntry {
        disposition: set_aside(change),
        ..new
    }
}

pub(super) async fn states(outbox: &dyn Outbox, ids: &[&str]) -> Vec<State> {
    let mut states = Vec::new();
    for id in ids {
        states.push(receipt(outbox, id).await.state);
    }
    states
}

/// FAULTS N1170: a replayed entry arrived before a reset, and is older than the delivered value.
#[tokio::test]
async fn an_entry_from_before_a_reset_stays_older_than_a_delivered_value() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(
            outbox,
            &[held("older", "CUST-1", 3), entry("newer", "CUST-1", 5)],
        )
        .await;
        let claimed = claim_one(outbox).await;
        let done = Settlement {
            versions: Some(delivered(&claimed)),
            ..settlement(&claimed, all(&claimed, &Ending::Delivered), NOW)
        };
        record(outbox, done).await;
        let approved = listed(outbox, State::Held).await;
        let customer = LaneKey::Imprint(ImprintId::parse("CUST-1").unwrap());
        outbox
            .reset_versions(customer, event("reset_versions"))
            .await
            .unwrap();
        outbox.approve(approved, event("approve")).await.unwrap();
        append(outbox, &[entry("next", "CUST-1", 2)]).await;
        let claimed = claim_one(outbox).await;
        let fold = fold(&claimed.versions, &claimed.candidates(), MaxFold(100), NOW);
        let [first, second] = claimed.waiting.as_slice() else {
            panic!("two entries wait: {engine}");
        };
        let older = first.entry.min(second.entry).0;
        let next = first.entry.max(second.entry).0;
        assert_eq!(fold.carried, [next], "{engine}");
        assert_eq!(
            fold.stale,
            [(older, FoldEnd::Superseded(older + 1))],
            "{engine}"
        );
    }
}

/// FAULTS N1171: an entry that is parked for its absurd version is no version floor.
#[tokio::test]
async fn an_erasure_makes_no_floor_of_a_version_jump() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let jump = |change| Disposition::Park(change, ParkReason::VersionJump);
        let by_operator = |change| Disposition::Park(change, ParkReason::ByOperator);
        let entries = [
            disposed(entry("far", "CUST-1", i64::MAX), jump),
            disposed(entry("older", "CUST-1", 5), by_operator),
        ];
        append(outbox, &entries).await;
        erased::erase(outbox, erased::imprint("CUST-1"), LaterEvents::Delivered).await;
        append(
            outbox,
            &[entry("next", "CUST-1", 6), entry("old", "CUST-1", 4)],
        )
        .await;
        let claimed = claim_one(outbox).await;
        let fold = fold(&claimed.versions, &claimed.candidates(), MaxFold(100), NOW);
        assert_eq!((fold.carried.len(), fold.stale.len()), (1, 1), "{engine}");
    }
}

async fn listed(outbox: &dyn Outbox, state: State) -> Vec<EntryId> {
    let page = outbox.list(EntryFilter::in_state(state, 10)).await.unwrap();
    let entries = page.entries.iter();
    entries.map(|summary| summary.receipt.entry).collect()
}

#[tokio::test]
async fn a_held_entry_is_not_claimed_and_blocks_no_other_entry_of_its_lane() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[held("a", "CUST-1", 1)]).await;
        assert_eq!(
            (stored[0].state, stored[0].duplicate),
            (State::Held, false),
            "{engine}"
        );
        assert!(claim(outbox, NOW).await.lanes.is_empty(), "{engine}");
        append(outbox, &[entry("b", "CUST-1", 2)]).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.waiting.len(), 1, "{engine}");
        let depth = outbox.depth().await.unwrap();
        assert_eq!(
            (depth.waiting, depth.held, depth.parked),
            (1, 1, 0),
            "{engine}"
        );
        assert_eq!(
            listed(outbox, State::Held).await,
            [stored[0].entry],
            "{engine}"
        );
        let receipt = receipt(outbox, "a").await;
        assert_eq!(
            (receipt.settled_at, receipt.parked),
            (None, None),
            "{engine}"
        );
        let again = append(outbox, &[held("a", "CUST-1", 1)]).await;
        assert_eq!(
            (again[0].state, again[0].duplicate),
            (State::Held, true),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn an_approved_entry_waits_in_its_lane() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[held("a", "CUST-1", 1), held("b", "CUST-1", 2)]).await;
        let waiting = append(outbox, &[entry("c", "CUST-2", 1)]).await;
        let asked = vec![stored[0].entry, waiting[0].entry, EntryId(99)];
        let woken = outbox.woken();
        let moved = outbox
            .approve(asked.clone(), event("approve"))
            .await
            .unwrap();
        woken.await;
        assert_eq!(moved, [stored[0].entry], "{engine}");
        assert!(
            outbox
                .approve(asked, event("approve"))
                .await
                .unwrap()
                .is_empty(),
            "{engine}"
        );
        let claimed = claim(outbox, NOW).await.lanes;
        let entries = claimed.iter().map(|lane| lane.waiting[0].entry);
        // A claim returns approved entries after live entries.
        assert_eq!(
            entries.collect::<Vec<_>>(),
            [waiting[0].entry, stored[0].entry],
            "{engine}"
        );
        assert_eq!(
            states(outbox, &["a", "b"]).await,
            [State::Waiting, State::Held],
            "{engine}"
        );
        let depth = outbox.depth().await.unwrap();
        assert_eq!((depth.waiting, depth.held), (2, 1), "{engine}");
        let audit = outbox.audit(0, 10).await.unwrap();
        let audit = audit
            .iter()
            .map(|record| (record.action.as_str(), record.entries));
        assert_eq!(
            audit.collect::<Vec<_>>(),
            [("approve", 1), ("approve", 0)],
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_held_entry_can_be_discarded() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[held("a", "CUST-1", 1)]).await;
        let ended = withdraw(outbox, vec![stored[0].entry], WithdrawnState::Discarded).await;
        assert_eq!(ended.entries, [stored[0].entry], "{engine}");
        let receipt = receipt(outbox, "a").await;
        assert_eq!(
            (receipt.state, receipt.settled_at),
            (State::Discarded, Some(NOW)),
            "{engine}"
        );
        let inspection = outbox.inspect(stored[0].entry).await.unwrap().unwrap();
        assert_eq!(
            (inspection.update, inspection.event),
            (None, None),
            "{engine}"
        );
        assert_eq!(outbox.depth().await.unwrap().held, 0, "{engine}");
    }
}

/// Appends two entries to one lane and settles them as undecided.
async fn undecided(outbox: &dyn Outbox) -> Vec<EntryId> {
    append(outbox, &[entry("a", "CUST-1", 1), entry("b", "CUST-1", 2)]).await;
    let claimed = claim_one(outbox).await;
    let settlement = settlement(&claimed, all(&claimed, &Ending::Undecided), NOW);
    assert_eq!(
        outbox.settle(settlement.into()).await.unwrap(),
        Settled::Recorded
    );
    listed(outbox, State::Undecided).await
}

#[tokio::test]
async fn an_undecided_entry_is_listed_and_not_claimed() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let entries = undecided(outbox).await;
        assert_eq!(entries.len(), 2, "{engine}");
        assert!(claim(outbox, NOW).await.lanes.is_empty(), "{engine}");
        let receipt = receipt(outbox, "a").await;
        let seen = (receipt.state, receipt.attempts, receipt.settled_at);
        assert_eq!(seen, (State::Undecided, 1, None), "{engine}");
        let inspection = outbox.inspect(entries[0]).await.unwrap().unwrap();
        assert!(
            inspection.update.is_some() && inspection.event.is_some(),
            "{engine}"
        );
        let depth = outbox.depth().await.unwrap();
        assert_eq!(
            (depth.waiting, depth.undecided, depth.parked),
            (0, 2, 0),
            "{engine}"
        );
        append(outbox, &[entry("c", "CUST-1", 3)]).await;
        assert_eq!(
            claim_one(outbox).await.waiting.len(),
            1,
            "{engine}: others pass"
        );
    }
}

#[tokio::test]
async fn a_sender_that_waits_is_not_told_that_its_entry_is_undecided() {
    for (engine, outbox, _folder) in engines() {
        let stored = append(&*outbox, &[entry("a", "CUST-1", 1)]).await;
        let claimed = claim_one(&*outbox).await;
        let waiting = outbox.wait_settled(stored[0].entry);
        let settlement = settlement(&claimed, all(&claimed, &Ending::Undecided), NOW);
        record(&*outbox, settlement).await;
        let approved = outbox.approve(vec![stored[0].entry], event("replay"));
        approved.await.unwrap();
        let claimed = claim_one(&*outbox).await;
        let settlement = settle_all(&claimed, &Ending::Delivered);
        record(&*outbox, settlement).await;
        assert_eq!(waiting.await.unwrap(), State::Delivered, "{engine}");
    }
}

pub(super) fn settle_all(claimed: &ClaimedLane, ending: &Ending) -> Settlement {
    settlement(claimed, all(claimed, ending), NOW)
}

#[tokio::test]
async fn an_operator_decides_undecided_entries() {
    for to in [None, Some(PARKED), Some(WithdrawnState::Discarded)] {
        for (engine, outbox, _folder) in engines() {
            let (outbox, what) = (outbox.as_ref(), format!("{engine} {to:?}"));
            let entries = undecided(outbox).await;
            let asked = vec![entries[1], EntryId(99)];
            let decided = match to {
                None => outbox.approve(asked, event("replay")).await.unwrap(),
                Some(to) => withdraw(outbox, asked, to).await.entries,
            };
            assert_eq!(decided, [entries[1]], "{what}");
            let state = to.map_or(State::Waiting, WithdrawnState::state);
            let seen = states(outbox, &["a", "b"]).await;
            assert_eq!(seen, [State::Undecided, state], "{what}");
            let receipt = receipt(outbox, "b").await;
            let settled_at = state.is_settled().then_some(NOW);
            assert_eq!(receipt.settled_at, settled_at, "{what}");
            let claimed = claim(outbox, NOW).await.lanes.len();
            assert_eq!(claimed, usize::from(state == State::Waiting), "{what}");
            let depth = outbox.depth().await.unwrap();
            let count = |of: State| u64::from(of == state);
            assert_eq!(
                (depth.waiting, depth.parked, depth.undecided),
                (count(State::Waiting), count(State::Parked), 1),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn a_parked_entry_that_was_undecided_can_be_replayed() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let entries = undecided(outbox).await;
        withdraw(outbox, vec![entries[0]], PARKED).await;
        let parked = receipt(outbox, "a").await.parked;
        assert_eq!(parked, Some((ParkReason::ByOperator, None)), "{engine}");
        let replays = entries.iter().map(|entry| Replay {
            entry: *entry,
            change: ReplayChange::Stored,
        });
        // The second entry is undecided, and an operator can replay only parked entries.
        let moved = outbox
            .replay(replays.collect(), event("replay"))
            .await
            .unwrap();
        assert_eq!(moved, [entries[0]], "{engine}");
        let parked = Withdrawal {
            entries,
            from: vec![State::Parked, State::Held],
            to: WithdrawnState::Discarded,
        };
        let ended = outbox.withdraw(parked, event("discard")).await.unwrap();
        assert_eq!(ended, Withdrawn::default(), "{engine}: neither is parked");
    }
}

#[tokio::test]
async fn retention_leaves_entries_that_are_set_aside() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let undecided = undecided(outbox).await;
        append(
            outbox,
            &[held("c", "CUST-2", 1), entry("newest", "CUST-3", 1)],
        )
        .await;
        let later = NOW.after(Duration::from_secs(10));
        let kept = later..=later.after(Duration::from_secs(1));
        outbox.prune_receipts(EntryId(0), kept).await.unwrap();
        let seen = states(outbox, &["a", "b", "c"]).await;
        assert_eq!(
            seen,
            [State::Undecided, State::Undecided, State::Held],
            "{engine}"
        );
        assert_eq!(
            listed(outbox, State::Undecided).await,
            undecided,
            "{engine}"
        );
    }
}

fn parked(id: &str, customer: &str) -> NewEntry {
    disposed(entry(id, customer, 1), |change| {
        Disposition::Park(change, ParkReason::ForeignAddress)
    })
}

/// FAULTS N1182: a filter looks at more entries that it does not match than the store reads at once.
#[tokio::test]
async fn a_filter_continues_behind_entries_that_it_does_not_match() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let others: Vec<NewEntry> = (0..SCAN_MAX + 100)
            .map(|number| parked(&format!("other-{number}"), "CUST-1"))
            .collect();
        for batch in others.chunks(1_000) {
            append(outbox, batch).await;
        }
        let rejected = disposed(entry("behind", "CUST-1", 1), |change| {
            Disposition::Park(change, ParkReason::Rejected)
        });
        let behind = append(outbox, &[rejected]).await[0].entry;
        let filter = EntryFilter {
            reason: Some(ParkReason::Rejected),
            ..EntryFilter::in_state(State::Parked, 500)
        };
        let found = all_matching(outbox, filter).await;
        assert_eq!(found, [behind], "{engine}");
    }
}

/// Loads the entries that a filter matches, as often as the filter continues.
async fn all_matching(outbox: &dyn Outbox, mut filter: EntryFilter) -> Vec<EntryId> {
    let mut found = Vec::new();
    loop {
        let selection = EntrySelection::Matching(filter.clone());
        let loaded = outbox.load(selection, Detail::Summaries).await.unwrap();
        let entries = loaded.entries.iter();
        found.extend(entries.map(|entry| entry.summary.receipt.entry));
        let Some(next) = loaded.continues_after() else {
            return found;
        };
        assert!(next > filter.after);
        filter.after = next;
    }
}

/// A single `load` call returns all selected entries and, once each, the lanes of these entries.
#[tokio::test]
async fn a_selection_is_loaded_in_one_operation() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let batch = [
            parked("a", "CUST-1"),
            parked("b", "CUST-1"),
            parked("c", "CUST-2"),
        ];
        let stored = append(outbox, &batch).await;
        append(outbox, &[entry("waits", "CUST-1", 2)]).await;
        let all: Vec<EntryId> = stored.iter().map(|stored| stored.entry).collect();
        let filter = EntryFilter::in_state(State::Parked, 2);
        for (selection, entries, has_more) in [
            (EntrySelection::Entries(all.clone()), &all[..], false),
            (
                EntrySelection::Entries(vec![all[1], EntryId(99)]),
                &all[1..2],
                false,
            ),
            (EntrySelection::Matching(filter), &all[..2], true),
        ] {
            let summaries = outbox
                .load(selection.clone(), Detail::Summaries)
                .await
                .unwrap();
            let found = summaries
                .entries
                .iter()
                .map(|entry| entry.summary.receipt.entry);
            assert_eq!(found.collect::<Vec<_>>(), entries, "{engine}");
            assert_eq!(summaries.has_more, has_more, "{engine}");
            let is_bare = |entry: &LoadedEntry| entry.update.is_none() && entry.event.is_none();
            assert!(summaries.entries.iter().all(is_bare), "{engine}");
            let payloads = outbox.load(selection, Detail::Payloads).await.unwrap();
            let has_payload = |entry: &LoadedEntry| entry.update.is_some() && entry.event.is_some();
            assert!(payloads.entries.iter().all(has_payload), "{engine}");
            is_as_inspected(outbox, &payloads).await;
        }
    }
}

/// Checks that a loaded entry has the same content as an inspection of the entry.
async fn is_as_inspected(outbox: &dyn Outbox, loaded: &LoadedEntries) {
    for entry in &loaded.entries {
        let inspection = outbox.inspect(entry.summary.receipt.entry).await;
        let inspection = inspection.unwrap().unwrap();
        assert_eq!(inspection.summary, entry.summary);
        assert_eq!(
            (&inspection.update, &inspection.event),
            (&entry.update, &entry.event)
        );
        assert!(entry.customer.is_some());
    }
}
