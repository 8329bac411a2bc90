//! Tests of the withdrawal of waiting entries, in every storage engine.

use super::set_aside::{PARKED, event, settle_all, states, withdraw};
use super::*;
use imprint_bridge::outbox::{Absence, KeyMark, Withdrawn};

const BOTH: [WithdrawnState; 2] = [PARKED, WithdrawnState::Discarded];
/// A time at which every lane that has a due time is due.
const LATER: Timestamp = Timestamp::from_millis(NOW.as_millis() + 7_200_000);

/// Claims the only due lane, and settles the lane as failed, with an hour of rest.
async fn fail(outbox: &dyn Outbox) -> ClaimedLane {
    let claimed = claim_one(outbox).await;
    let failed = Settlement {
        trials: Trials {
            attempts: 3,
            tried_at: Some(NOW),
            blamed_since: Some(NOW),
            ..after_failures(3)
        },
        ..settlement(&claimed, Vec::new(), NOW.after(Duration::from_hours(1)))
    };
    record(outbox, failed.clone()).await;
    ClaimedLane {
        trials: failed.trials,
        ..claimed
    }
}

/// FAULTS N844: the answer "the customer does not exist" is possibly about an id that only the withdrawn entry has.
#[tokio::test]
async fn a_recorded_answer_ends_with_the_withdrawal_of_an_entry() {
    for to in BOTH {
        for (engine, outbox, _folder) in engines() {
            let outbox = outbox.as_ref();
            let stored = append(outbox, &[entry("a", "CUST-1", 1), entry("b", "CUST-1", 2)]).await;
            let claimed = claim_one(outbox).await;
            let absence = Absence {
                at: NOW,
                is_typed: true,
                by_search: true,
                by_id: true,
                key: KeyMark(1),
            };
            let unproven = Unproven {
                since: Some(NOW),
                absence: Some(absence),
            };
            let settled = settlement(&claimed, Vec::new(), NOW);
            record(
                outbox,
                Settlement {
                    unproven,
                    ..settled
                },
            )
            .await;
            withdraw(outbox, vec![stored[0].entry], to).await;
            let expected = Unproven {
                since: Some(NOW),
                absence: None,
            };
            assert_eq!(
                claim_one(outbox).await.unproven,
                expected,
                "{engine} {to:?}"
            );
        }
    }
}

/// FAULTS N306: a failing lane is due at once after the withdrawal of an entry, and stays in the queue of failing
/// lanes.
#[tokio::test]
async fn the_rest_of_a_lane_is_due_at_once() {
    for to in BOTH {
        for (engine, outbox, _folder) in engines() {
            let (outbox, what) = (outbox.as_ref(), format!("{engine} {to:?}"));
            let stored = append(outbox, &[entry("a", "CUST-1", 1), entry("b", "CUST-1", 2)]).await;
            let failed = fail(outbox).await;
            let woken = outbox.woken();
            let waiting = outbox.wait_settled(stored[0].entry);
            let withdrawn = withdraw(outbox, vec![stored[0].entry, EntryId(99)], to).await;
            woken.await;
            assert_eq!(waiting.await.unwrap(), to.state(), "{what}");
            let expected = Withdrawn {
                entries: vec![stored[0].entry],
                in_flight: Vec::new(),
            };
            assert_eq!(withdrawn, expected, "{what}");
            let seen = states(outbox, &["a", "b"]).await;
            assert_eq!(seen, [to.state(), State::Waiting], "{what}");
            let is_kept = outbox.inspect(stored[0].entry).await.unwrap().unwrap();
            assert_eq!(is_kept.event.is_some(), to == PARKED, "{what}");
            let claimed = claim_one(outbox).await;
            assert_eq!(claimed.trials, failed.trials, "{what}");
            assert_eq!(claimed.standing, Standing::Failing, "{what}");
            assert_eq!(claimed.waiting.len(), 1, "{what}");
            let audit = outbox.audit(0, 10).await.unwrap();
            let audit: Vec<_> = audit
                .iter()
                .map(|record| (record.target.clone(), record.entries))
                .collect();
            assert_eq!(audit, [(stored[0].entry.to_string(), 1)], "{what}");
        }
    }
}

/// FAULTS N306: a lane without entries is never due, and no failure or answer about the withdrawn entries counts for an
/// entry that comes later.
#[tokio::test]
async fn a_lane_without_entries_is_never_due() {
    for to in BOTH {
        for (engine, outbox, _folder) in engines() {
            let (outbox, what) = (outbox.as_ref(), format!("{engine} {to:?}"));
            let stored = append(outbox, &[entry("a", "CUST-1", 1), entry("b", "CUST-1", 2)]).await;
            let claimed = claim_one(outbox).await;
            let absence = Absence {
                at: NOW,
                is_typed: true,
                by_search: false,
                by_id: true,
                key: KeyMark(1),
            };
            let unproven = Settlement {
                trials: Trials {
                    attempts: 3,
                    blamed_since: Some(NOW),
                    ..after_failures(3)
                },
                unproven: Unproven {
                    since: Some(NOW),
                    absence: Some(absence),
                },
                ..settlement(&claimed, Vec::new(), NOW.after(Duration::from_hours(1)))
            };
            record(outbox, unproven).await;
            let all = stored.iter().map(|stored| stored.entry).collect();
            assert_eq!(withdraw(outbox, all, to).await.entries.len(), 2, "{what}");
            let nothing = claim(outbox, LATER).await;
            assert!(nothing.lanes.is_empty(), "{what}");
            assert_eq!(nothing.next_due, None, "{what}");
            assert!(!nothing.is_failing_left, "{what}");
            let depth = outbox.depth().await.unwrap();
            assert_eq!((depth.waiting, depth.oldest), (0, None), "{what}");
            let later = NewEntry {
                accepted_at: LATER,
                ..entry("c", "CUST-1", 3)
            };
            append(outbox, &[later]).await;
            let lanes = claim(outbox, LATER).await.lanes;
            assert_eq!(lanes[0].unproven, Unproven::default(), "{what}");
            let trials = lanes[0].trials;
            let counted = (trials.failures, trials.attempts, trials.blamed_since);
            assert_eq!(counted, (3, 0, None), "{what}");
        }
    }
}

/// FAULTS N308: an entry of a claimed lane stays unchanged, and the settlement of the lane is recorded. A withdrawal
/// changes only entries in the selected states.
#[tokio::test]
async fn an_entry_of_a_claimed_lane_stays() {
    for to in BOTH {
        for (engine, outbox, _folder) in engines() {
            let (outbox, what) = (outbox.as_ref(), format!("{engine} {to:?}"));
            let stored = append(outbox, &[entry("a", "CUST-1", 1)]).await;
            let claimed = claim_one(outbox).await;
            let other = append(outbox, &[entry("b", "CUST-2", 1)]).await;
            let (flying, resting) = (stored[0].entry, other[0].entry);
            let refused = withdraw(outbox, vec![flying], to).await;
            let in_flight = Withdrawn {
                entries: Vec::new(),
                in_flight: vec![flying],
            };
            assert_eq!(refused, in_flight, "{what}");
            assert!(outbox.audit(0, 10).await.unwrap().is_empty(), "{what}");
            let parked = Withdrawal {
                entries: vec![flying, resting],
                from: vec![State::Parked],
                to,
            };
            let parked = outbox.withdraw(parked, event("withdraw")).await.unwrap();
            assert_eq!(parked, Withdrawn::default(), "{what}: both wait");
            let mixed = withdraw(outbox, vec![flying, resting], to).await;
            let expected = Withdrawn {
                entries: vec![resting],
                in_flight: vec![flying],
            };
            assert_eq!(mixed, expected, "{what}");
            record(outbox, settle_all(&claimed, &Ending::Delivered)).await;
            let seen = states(outbox, &["a", "b"]).await;
            assert_eq!(seen, [State::Delivered, to.state()], "{what}");
        }
    }
}

/// FAULTS N307: values that must be sent again are still sent again after the last entry of the lane was withdrawn.
#[tokio::test]
async fn a_lane_without_entries_still_sends_values_again() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let until = NOW.after(Duration::from_mins(1));
        append(outbox, &[entry("new", "CUST-1", 2)]).await;
        let claimed = claim_one(outbox).await;
        let versions = LaneVersions::default().with_anything_sent(until);
        let fold = fold(&versions, &claimed.candidates(), MaxFold(9), NOW);
        let versions = versions.delivered(&fold);
        let delivered = Settlement {
            versions: Some(versions.clone()),
            reassert_at: versions.reassert_at(),
            ..settle_all(&claimed, &Ending::Delivered)
        };
        record(outbox, delivered).await;
        let stored = append(outbox, &[entry("stuck", "CUST-1", 3)]).await;
        withdraw(outbox, vec![stored[0].entry], PARKED).await;
        let early = claim(outbox, NOW).await;
        assert!(early.lanes.is_empty(), "{engine}");
        assert_eq!(early.next_due, Some(until), "{engine}");
        let lanes = claim(outbox, until).await.lanes;
        assert_eq!(lanes[0].versions.reassert_at(), Some(until), "{engine}");
        assert!(lanes[0].waiting.is_empty(), "{engine}");
    }
}

/// FAULTS N309: the store keeps decoded values of a new entry until the first claim; a replay with the current mapping
/// replaces the values.
#[tokio::test]
async fn a_replay_after_a_parking_sends_the_new_values() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let stored = append(outbox, &[entry("old", "CUST-1", 1)]).await;
        withdraw(outbox, vec![stored[0].entry], PARKED).await;
        let Disposition::Enqueue(change) = entry("new", "CUST-1", 1).disposition else {
            panic!("an entry that waits");
        };
        let update = change.update.clone();
        let replay = Replay {
            entry: stored[0].entry,
            change: ReplayChange::Mapped(change),
        };
        outbox.replay(vec![replay], event("replay")).await.unwrap();
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.waiting[0].update, update, "{engine}");
    }
}

/// FAULTS N306: a filter by customer finds the waiting entries of the customer behind a backlog of other customers.
#[tokio::test]
async fn the_waiting_entries_of_a_customer_are_found_behind_a_backlog() {
    let (folder, path) = (fast_folder(), "outbox.db");
    let outbox = SqliteOutbox::open(&folder.path().join(path), 10_000, NOW).unwrap();
    let others = (0..5_001).map(|number| entry(&format!("e-{number}"), "CUST-1", number));
    append(&outbox, &others.collect::<Vec<_>>()).await;
    let stored = append(&outbox, &[entry("mine", "CUST-2", 1)]).await;
    let filter = |customer: &str| EntryFilter {
        customer: Some(customer.to_owned()),
        ..EntryFilter::in_state(State::Waiting, 10)
    };
    for (customer, expected) in [("CUST-2", vec![stored[0].entry]), ("CUST-3", vec![])] {
        let page = outbox.list(filter(customer)).await.unwrap();
        let entries = page.entries.iter();
        let found: Vec<EntryId> = entries.map(|summary| summary.receipt.entry).collect();
        assert_eq!((found, page.next), (expected, None), "{customer}");
    }
    let page = outbox.list(filter("CUST-1")).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (10, Some(EntryId(10))));
}
