//! Tests of the evidence: which answers prove whose fault a failure is.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const FAULTS: [Signal; 4] = [
    Signal::Failed,
    Signal::Throttled(None),
    Signal::Refused,
    Signal::Forbidden,
];

fn at(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

/// Records a failing answer whose request was sent 10 ms before.
fn failed(evidence: &mut Evidence, lane: u64, signal: Signal, millis: u64) -> Blame {
    let times = (at(millis - 10), at(millis));
    evidence.failed(LaneId(lane), signal, times, 9)
}

fn succeeded(evidence: &mut Evidence, lane: u64, signal: Signal, sent_at: u64) {
    evidence.succeeded(LaneId(lane), signal, at(sent_at));
}

fn customer(lane: u64) -> ImprintId {
    ImprintId::parse(&format!("CUST-{lane}")).unwrap()
}

/// Returns evidence with two witnesses: the customers of lanes 8 and 9.
fn witnessed() -> Evidence {
    let mut evidence = Evidence::default();
    for lane in [8, 9] {
        evidence.record_witness(LaneId(lane), &customer(lane), NOW);
    }
    evidence
}

fn testified(evidence: &mut Evidence, testimony: Testimony, sent_at: u64) {
    let witness = evidence.ask().unwrap();
    evidence.testified(&witness, testimony, at(sent_at));
}

/// FAULTS U51
#[test]
fn one_lane_never_proves_a_fault_of_the_destination_at_once() {
    for signal in FAULTS {
        let mut evidence = Evidence::default();
        assert_eq!(failed(&mut evidence, 1, signal, 100), Blame::Unproven);
        assert_eq!(failed(&mut evidence, 1, signal, 200), Blame::Unproven);
        let is_refusal = matches!(signal, Signal::Refused | Signal::Forbidden);
        let third = failed(&mut evidence, 1, signal, 300);
        assert_eq!(third == Blame::Destination, is_refusal, "{signal:?}");
    }
}

/// FAULTS U51: without a witness, the same failure of a second lane proves the fault, if the second request was sent
/// after the first answer. Failures without an answer do not need that order.
#[test]
fn the_same_failure_of_a_second_lane_proves_the_fault_of_the_destination() {
    for signal in FAULTS {
        let mut evidence = Evidence::default();
        failed(&mut evidence, 1, signal, 100);
        let earlier = failed(&mut evidence, 2, signal, 105);
        let is_failure = signal == Signal::Failed;
        assert_eq!(earlier == Blame::Destination, is_failure, "{signal:?}");
        let later = failed(&mut evidence, 3, signal, 110);
        assert_eq!(later, Blame::Destination, "{signal:?}");
    }
    let mut evidence = Evidence::default();
    failed(&mut evidence, 1, Signal::Refused, 100);
    let other = failed(&mut evidence, 2, Signal::Throttled(None), 200);
    assert_eq!(other, Blame::Unproven, "another failure proves nothing");
}

/// FAULTS U51: only a success of another lane whose request was sent after the failing answer refutes a lane, and a
/// refuted lane accuses again only after Imprint applied a request of the lane itself.
#[test]
fn a_later_success_of_another_lane_refutes_a_lane() {
    for signal in FAULTS {
        let mut evidence = Evidence::default();
        failed(&mut evidence, 1, signal, 100);
        succeeded(&mut evidence, 2, Signal::Applied, 99);
        succeeded(&mut evidence, 1, Signal::Unrelated, 200);
        succeeded(&mut evidence, 2, Signal::Missing, 200);
        assert_eq!(failed(&mut evidence, 1, signal, 210), Blame::Unproven);
        succeeded(&mut evidence, 2, Signal::Answered, 211);
        let answered = failed(&mut evidence, 1, signal, 220);
        let is_forbidden = signal == Signal::Forbidden;
        assert_eq!(answered != Blame::Lane, is_forbidden, "{signal:?}");
        succeeded(&mut evidence, 2, Signal::Applied, 300);
        assert_eq!(failed(&mut evidence, 1, signal, 400), Blame::Lane);
        succeeded(&mut evidence, 1, Signal::Applied, 500);
        assert_eq!(failed(&mut evidence, 1, signal, 600), Blame::Unproven);
    }
}

/// FAULTS U25: if nothing has succeeded for ten minutes, a refuted lane may accuse the destination again; otherwise a
/// wrong API key would not stop the destination while only refuted lanes send.
#[test]
fn a_refuted_lane_accuses_again_when_the_evidence_is_old() {
    let mut evidence = Evidence::default();
    failed(&mut evidence, 1, Signal::Refused, 100);
    succeeded(&mut evidence, 2, Signal::Applied, 200);
    evidence.record_witness(LaneId(2), &customer(2), at(200));
    let minutes = 600_000;
    let young = failed(&mut evidence, 1, Signal::Refused, minutes + 199);
    assert_eq!(young, Blame::Lane);
    let old = failed(&mut evidence, 1, Signal::Refused, minutes + 200);
    assert_eq!(old, Blame::Unproven);
}

/// Seed 3364 of the simulation: no witness was left in an outage, so that no failure opened the breaker.
#[test]
fn a_refuted_lane_accuses_again_soon_if_no_witness_is_left() {
    let mut evidence = Evidence::default();
    failed(&mut evidence, 1, Signal::Failed, 100);
    succeeded(&mut evidence, 2, Signal::Applied, 200);
    let fresh = failed(&mut evidence, 1, Signal::Failed, 30_199);
    assert_eq!(fresh, Blame::Lane);
    let stale = failed(&mut evidence, 1, Signal::Failed, 30_200);
    assert_eq!(stale, Blame::Unproven);
}

/// FAULTS U51: with a witness, several failing lanes prove nothing until the witness was asked.
#[test]
fn a_witness_refutes_lanes_that_a_retrieve_can_refute() {
    for signal in FAULTS {
        let mut evidence = witnessed();
        for lane in 1..=3 {
            let blame = failed(&mut evidence, lane, signal, 100 * lane);
            let is_testable = signal != Signal::Forbidden;
            assert_eq!(blame == Blame::Unproven, is_testable || lane == 1);
            assert_eq!(evidence.is_asking_wanted(), is_testable, "{signal:?}");
        }
        if signal == Signal::Forbidden {
            continue;
        }
        testified(&mut evidence, Testimony::Found, 250);
        for (lane, expected) in [(1, Blame::Lane), (2, Blame::Lane), (3, Blame::Unproven)] {
            assert_eq!(failed(&mut evidence, lane, signal, 400), expected, "{lane}");
        }
        assert!(
            evidence.is_asking_wanted(),
            "lane 3 failed after the question"
        );
    }
}

/// FAULTS U25: a witness that fails in the same way proves the fault, until a request succeeds.
#[test]
fn a_witness_that_fails_in_the_same_way_confirms_the_fault() {
    let mut evidence = witnessed();
    failed(&mut evidence, 1, Signal::Refused, 100);
    testified(&mut evidence, Testimony::Failed(Signal::Refused), 110);
    let confirmed = failed(&mut evidence, 2, Signal::Refused, 200);
    assert_eq!(confirmed, Blame::Destination);
    assert!(!evidence.is_asking_wanted());
    let other = failed(&mut evidence, 3, Signal::Failed, 210);
    assert_eq!(other, Blame::Unproven);
    succeeded(&mut evidence, 9, Signal::Applied, 220);
    let again = failed(&mut evidence, 4, Signal::Refused, 300);
    assert_eq!(again, Blame::Unproven);
}

/// Seed 15 of the simulation: all lanes were refuted before an outage, so that no failure opened the breaker.
#[test]
fn a_refuted_lane_makes_the_bridge_ask_again_and_accuses_when_the_witness_fails() {
    let mut evidence = witnessed();
    failed(&mut evidence, 1, Signal::Failed, 100);
    testified(&mut evidence, Testimony::Found, 200);
    assert_eq!(
        failed(&mut evidence, 1, Signal::Failed, 30_199),
        Blame::Lane
    );
    assert!(!evidence.is_asking_wanted());
    assert_eq!(
        failed(&mut evidence, 1, Signal::Failed, 30_200),
        Blame::Lane
    );
    testified(&mut evidence, Testimony::Failed(Signal::Failed), 30_300);
    let proven = failed(&mut evidence, 1, Signal::Failed, 30_400);
    assert_eq!(proven, Blame::Destination);
}

#[test]
fn a_lane_is_not_its_own_witness() {
    let mut evidence = witnessed();
    failed(&mut evidence, 9, Signal::Refused, 100);
    assert_eq!(evidence.ask(), Some(customer(8)));
    let mut evidence = witnessed();
    for lane in [8, 9] {
        failed(&mut evidence, lane, Signal::Refused, 100 * lane);
    }
    assert_eq!(evidence.ask(), None, "no witness is left");
    assert!(!evidence.is_asking_wanted());
}

#[test]
fn a_witness_that_imprint_does_not_know_is_forgotten() {
    let mut evidence = witnessed();
    failed(&mut evidence, 1, Signal::Refused, 100);
    testified(&mut evidence, Testimony::Nothing, 110);
    failed(&mut evidence, 1, Signal::Refused, 200);
    assert_eq!(evidence.ask(), Some(customer(8)));
    assert_eq!(evidence.ask(), None, "one question at a time");
    evidence.ask_again();
    assert!(evidence.is_asking_wanted());
}

#[test]
fn single_failures_ask_no_witness() {
    let mut evidence = witnessed();
    for (failures, is_wanted) in [(0, false), (1, false), (2, true)] {
        let times = (NOW, at(10));
        evidence.failed(LaneId(1), Signal::Failed, times, failures);
        assert_eq!(evidence.is_asking_wanted(), is_wanted, "{failures}");
    }
}

#[test]
fn a_busy_lane_replaces_a_witness_once_a_second() {
    let mut evidence = witnessed();
    evidence.record_witness(LaneId(7), &customer(7), at(999));
    let known = |evidence: &Evidence| {
        let witnesses = evidence.witnesses.iter().flatten();
        witnesses.map(|witness| witness.lane.0).collect::<Vec<_>>()
    };
    assert_eq!(known(&evidence), [9, 8]);
    evidence.record_witness(LaneId(7), &customer(7), at(1000));
    assert_eq!(known(&evidence), [7, 9]);
}

#[test]
fn a_limited_number_of_lanes_is_remembered() {
    let mut evidence = Evidence::default();
    for lane in 0..5000 {
        failed(&mut evidence, lane, Signal::Throttled(None), 100);
    }
    assert_eq!(evidence.suspects.len(), 4096);
    succeeded(&mut evidence, 9999, Signal::Applied, 200);
    assert_eq!((evidence.suspects.len(), evidence.refuted.len()), (0, 4096));
    for lane in 5000..6000 {
        failed(&mut evidence, lane, Signal::Throttled(None), 300);
    }
    succeeded(&mut evidence, 9999, Signal::Applied, 400);
    assert_eq!(evidence.refuted.len(), 4096);
}
