//! Tests of the doubt after a crash, at the bounds of claims: a request of the ended process may arrive late, whatever the
//! next process reads of the lane.

use super::model::{Engine, SMALL, memory, sqlite};
use super::*;

/// The time from which an old request can no longer arrive.
const UNTIL: Timestamp = Timestamp::from_millis(NOW.as_millis() + 60_000);
/// A time after [`UNTIL`].
const LATER: Timestamp = Timestamp::from_millis(NOW.as_millis() + 120_000);
const ALL: Pick = Pick::LongestDue(LaneShares::UNLIMITED);

/// Runs a test with an empty store of each storage engine, with small bounds.
fn each_engine(test: impl Fn(Engine)) {
    test(memory(SMALL));
    let folder = fast_folder();
    for seeds in [&[][..], &[1]] {
        test(sqlite(&folder, NOW, SMALL, seeds));
    }
}

fn add(engine: &Engine, entries: &[NewEntry]) {
    crate::support::block_on(append(&*engine.outbox, entries));
}

fn take_one(engine: &mut Engine, now: Timestamp) -> ClaimedLane {
    let mut claim = engine.take(1, ALL, now);
    assert_eq!(claim.lanes.len(), 1);
    claim.lanes.remove(0)
}

/// Settles a lane as dispatch does after Imprint applied a request with everything that the claim has.
fn deliver(engine: &mut Engine, claimed: &ClaimedLane, now: Timestamp) -> LaneVersions {
    let versions = claimed.versions.clone();
    let versions = match claimed.maybe_sent {
        MaybeSent::Nothing => versions,
        MaybeSent::Anything => versions.with_anything_sent(UNTIL),
        MaybeSent::Entries(last) => {
            let sent = claimed
                .waiting
                .iter()
                .filter(|waiting| waiting.entry <= last);
            let sent: Vec<Candidate<'_>> = sent.map(|waiting| waiting.candidate()).collect();
            versions.with_possibly_sent(&sent, UNTIL)
        }
    };
    let fold = fold(&versions, &claimed.candidates(), MaxFold(100), now);
    let versions = versions.delivered(&fold);
    engine.record(Settlement {
        reassert_at: versions.reassert_at(),
        versions: Some(versions.clone()),
        ..settlement(claimed, all(claimed, &Ending::Delivered), now)
    });
    versions
}

/// FAULTS N110, P07, V3: a process ends while a request is in flight, and then newer entries of the customer arrive: fewer
/// than one claim reads, as many, and more. The request of the ended process must not have the last word.
#[test]
fn newer_entries_never_push_a_request_in_flight_out_of_the_doubt() {
    for newer in 1..=2 * (SMALL.newest + SMALL.oldest) {
        each_engine(|mut engine| {
            add(&engine, &[entry("old", "CUST-1", 1)]);
            take_one(&mut engine, NOW);
            engine.restart(NOW);
            for number in 0..newer {
                let value = i64::try_from(number).unwrap() + 2;
                add(&engine, &[entry(&format!("new-{number}"), "CUST-1", value)]);
            }
            let claimed = take_one(&mut engine, NOW);
            let is_complete = newer < SMALL.newest;
            let read = (newer + 1).min(SMALL.newest + SMALL.oldest);
            assert_eq!(claimed.waiting.len(), read, "{newer} newer entries");
            let expected = match is_complete {
                true => MaybeSent::Entries(claimed.waiting[newer].entry),
                false => MaybeSent::Anything,
            };
            assert_eq!(claimed.maybe_sent, expected, "{newer} newer entries");
            let versions = deliver(&mut engine, &claimed, NOW);
            assert_eq!(versions.reassert_at(), Some(UNTIL), "{newer} newer entries");
        });
    }
}

/// FAULTS N110: the doubt survives an orderly stop, another crash, and a release of the lanes, until the lane is settled.
#[test]
fn the_doubt_ends_only_with_a_settlement() {
    each_engine(|mut engine| {
        add(&engine, &[entry("old", "CUST-1", 1)]);
        let sent = take_one(&mut engine, NOW).waiting[0].entry;
        engine.restart(NOW);
        engine.restart(NOW);
        add(
            &engine,
            &[entry("new", "CUST-1", 2), entry("other", "CUST-2", 1)],
        );
        crate::support::block_on(engine.outbox.release(NOW)).unwrap();
        engine.restart(NOW);
        let claimed = take_one(&mut engine, NOW);
        assert_eq!(claimed.maybe_sent, MaybeSent::Entries(sent));
        deliver(&mut engine, &claimed, NOW);
        add(&engine, &[entry("newest", "CUST-1", 3)]);
        let lanes = engine.take(9, ALL, NOW).lanes;
        assert!(
            lanes
                .iter()
                .all(|lane| lane.maybe_sent == MaybeSent::Nothing),
            "{lanes:?}"
        );
    });
}

/// FAULTS N111: a failing lane is in flight while the destination recovers, so that the lane joins the queue of the other
/// lanes behind more lanes than a start after a crash looks at. Then the process ends.
#[test]
fn a_lane_in_flight_is_in_doubt_although_the_queues_changed() {
    each_engine(|mut engine| {
        add(&engine, &[entry("failing", "CUST-F", 1)]);
        let failing = take_one(&mut engine, NOW);
        engine.record(Settlement {
            trials: after_failures(1),
            ..settlement(&failing, Vec::new(), LATER)
        });
        let others = |round: u32| -> Vec<NewEntry> {
            let numbers = 0..=SMALL.in_flight;
            let other = |number| entry(&format!("{round}-{number}"), &format!("CUST-{number}"), 1);
            numbers.map(other).collect()
        };
        // Imprint has answered the other lanes before, so all lanes belong to one queue after the recovery.
        add(&engine, &others(1));
        for lane in engine.take(9, ALL, NOW).lanes {
            engine.record(settle_as_delivered(&lane, None));
        }
        add(&engine, &others(2));
        let share = LaneShares {
            failing: FailingShare { kept: 1, max: 1 },
            ..LaneShares::UNLIMITED
        };
        let claim = engine.take(1, Pick::LongestDue(share), LATER);
        assert_eq!(claim.lanes[0].lane, failing.lane);
        crate::support::block_on(engine.outbox.release(LATER)).unwrap();
        engine.restart(LATER);
        let lanes = engine.take(9, ALL, LATER).lanes;
        let again = lanes.iter().find(|lane| lane.lane == failing.lane).unwrap();
        assert_ne!(again.maybe_sent, MaybeSent::Nothing);
        let others = lanes.iter().filter(|lane| lane.lane != failing.lane);
        let in_doubt = others.filter(|lane| lane.maybe_sent != MaybeSent::Nothing);
        assert_eq!(
            in_doubt.count(),
            SMALL.in_flight,
            "the first lanes of the queue"
        );
    });
}

/// FAULTS N111: delivered values are being sent again while a new entry of the customer arrives, and more lanes are due
/// earlier than the new entry. Then the process ends.
#[test]
fn a_reassertion_in_flight_is_in_doubt_although_a_new_entry_came() {
    each_engine(|mut engine| {
        add(&engine, &[entry("old", "CUST-1", 1)]);
        take_one(&mut engine, NOW);
        engine.restart(NOW);
        add(&engine, &[entry("new", "CUST-1", 2)]);
        let claimed = take_one(&mut engine, NOW);
        deliver(&mut engine, &claimed, NOW);
        // Imprint has answered the other lanes before, so all lanes belong to one queue.
        for number in 0..=SMALL.in_flight {
            let customer = format!("CUST-O{number}");
            add(&engine, &[entry(&customer, &customer, 1)]);
        }
        for lane in engine.take(9, ALL, NOW).lanes {
            engine.record(settle_as_delivered(&lane, None));
        }
        let at = |id: &str, customer: &str, now: Timestamp| NewEntry {
            accepted_at: now,
            ..entry(id, customer, 3)
        };
        let asserted = take_one(&mut engine, UNTIL);
        assert_eq!((asserted.lane, asserted.waiting.len()), (claimed.lane, 0));
        for number in 0..=SMALL.in_flight {
            let id = format!("e-{number}");
            add(&engine, &[at(&id, &format!("CUST-O{number}"), UNTIL)]);
        }
        add(&engine, &[at("newest", "CUST-1", LATER)]);
        engine.restart(LATER);
        let lanes = engine.take(9, ALL, LATER).lanes;
        let again = lanes.iter().find(|lane| lane.lane == claimed.lane).unwrap();
        assert_ne!(again.maybe_sent, MaybeSent::Nothing);
    });
}

/// FAULTS N112: a customer with more entries than one claim reads: the oldest are read too, so that a time limit on their
/// waiting ends them although newer entries keep coming.
#[test]
fn a_claim_reads_the_oldest_entries_too() {
    each_engine(|mut engine| {
        for count in 1..=6 {
            let id = format!("e-{count}");
            add(&engine, &[entry(&id, "CUST-1", count)]);
            let claimed = take_one(&mut engine, NOW);
            let read: Vec<u64> = claimed
                .waiting
                .iter()
                .map(|waiting| waiting.entry.0)
                .collect();
            let expected: &[u64] = match count {
                1 => &[1],
                2 => &[2, 1],
                3 => &[3, 2, 1],
                4 => &[4, 3, 1],
                5 => &[5, 4, 1],
                _ => &[6, 5, 1],
            };
            assert_eq!(read, expected);
            engine.record(settlement(&claimed, Vec::new(), NOW));
        }
    });
}
