//! Tests of the evidence: which answers prove whose fault a failure is.

use super::*;
use crate::dispatch::breaker::Ramp;
use crate::outbox::{Absence, KeyMark};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const FAULTS: [Signal; 5] = [
    Signal::Failed,
    Signal::Throttled(None),
    Signal::Refused,
    Signal::Forbidden,
    Signal::Unexplained,
];

fn at(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

const fn flowing(failures: u32) -> DestinationState {
    let ramp = Ramp::Full;
    DestinationState::Flowing { failures, ramp }
}

/// Records a failing answer whose request was sent 10 ms before.
fn failed(evidence: &mut Evidence, lane: u64, signal: Signal, millis: u64) -> Blame {
    let times = (at(millis - 10), at(millis));
    evidence.failed(accuser(lane), signal, times, flowing(9))
}

/// FAULTS N780, N781: shortly after an applied update, only refusals of many lanes that Imprint applied before show that
/// the destination refuses every customer.
#[test]
fn a_recent_update_outweighs_refusals_of_new_customers() {
    let refused = |evidence: &mut Evidence, lane, is_known, millis| {
        let accuser = Accuser {
            lane: LaneId(lane),
            is_known,
        };
        let times = (at(millis - 10), at(millis));
        evidence.failed(accuser, Signal::Forbidden, times, flowing(0))
    };
    let mut evidence = Evidence::default();
    succeeded(&mut evidence, 1, Signal::Applied, 0);
    for lane in 0..100 {
        let blame = refused(&mut evidence, 100 + lane, false, 100 + 20 * lane);
        assert_eq!(blame, Blame::Unproven, "{lane}");
    }
    for lane in 0..19 {
        let blame = refused(&mut evidence, 300 + lane, true, 10_000 + 20 * lane);
        assert_eq!(blame, Blame::Unproven, "{lane}");
    }
    let blame = refused(&mut evidence, 400, false, 11_000);
    assert_eq!(blame, Blame::Unproven);
    let blame = refused(&mut evidence, 401, true, 11_020);
    assert_eq!(blame, Blame::Destination);
    let blame = refused(&mut evidence, 402, false, 11_040);
    assert_eq!(blame, Blame::Destination, "the update counts no longer");
}

/// FAULTS N781: the rule for new customers ends half a minute after the last applied update, and with the API key.
#[test]
fn an_old_update_does_not_outweigh_refusals() {
    for (millis, new_key, expected) in [
        (29_990, false, Blame::Unproven),
        (30_000, false, Blame::Destination),
        (10_000, true, Blame::Destination),
    ] {
        let mut evidence = Evidence::default();
        evidence.begin(KeyMark(1), None, None, NOW);
        succeeded(&mut evidence, 1, Signal::Applied, 0);
        if new_key {
            evidence.key_changed(KeyMark(2), at(1_000));
        }
        failed(&mut evidence, 2, Signal::Forbidden, millis - 20);
        let blame = failed(&mut evidence, 3, Signal::Forbidden, millis);
        assert_eq!(blame, expected, "{millis} {new_key}");
    }
}

/// FAULTS N780: shortly after an applied update, a 404 without an error type does not count against the destination if
/// Imprint has never applied the customer. The answer counts as soon as the update is half a minute old.
#[test]
fn a_recent_update_outweighs_untyped_denials_of_new_customers() {
    let known = AbsentCustomer {
        is_known: true,
        ..AbsentCustomer::UNTYPED
    };
    let mut evidence = Evidence::default();
    succeeded(&mut evidence, 1, Signal::Applied, 0);
    let mut blame = |lane, absent, millis| {
        let times = (at(millis - 10), at(millis));
        evidence.missing(LaneId(lane), absent, times).0
    };
    for lane in 2..100 {
        let blame = blame(lane, AbsentCustomer::UNTYPED, 100);
        assert_eq!(blame, Blame::Unproven, "{lane}");
    }
    assert_eq!(blame(2, known, 29_990), Blame::Unproven);
    assert_eq!(blame(2, known, 30_000), Blame::Destination);
    for lane in 3..21 {
        blame(lane, known, 29_990);
    }
    assert_eq!(blame(21, known, 29_990), Blame::Destination);
}

/// FAULTS N782: a rejection without an error type parks the entry of a refuted lane, so the success of a different lane
/// proves only one rejection.
#[test]
fn each_rejection_needs_its_own_proof() {
    let mut evidence = Evidence::default();
    for (round, millis) in [(0, 1_000), (1, 2_000)] {
        let first = failed(&mut evidence, 1, Signal::Unexplained, millis);
        assert_eq!(first, Blame::Unproven, "{round}");
        succeeded(&mut evidence, 2, Signal::Applied, millis + 100);
        let second = failed(&mut evidence, 1, Signal::Unexplained, millis + 200);
        assert_eq!(second, Blame::Lane, "{round}");
    }
}

/// FAULTS N782; seed 34707 of the simulation: Imprint refused a lane, and the answer about a witness refuted the lane.
/// Then a gateway rejected every update: the first rejection of the lane needs its own proof.
#[test]
fn a_refutation_of_another_fault_proves_no_rejection() {
    for signal in FAULTS {
        let mut evidence = witnessed();
        failed(&mut evidence, 1, signal, 100);
        succeeded(&mut evidence, 9, Signal::Applied, 200);
        let first = failed(&mut evidence, 1, Signal::Unexplained, 300);
        let is_rejection = signal == Signal::Unexplained;
        assert_eq!(first == Blame::Lane, is_rejection, "{signal:?}");
        if !is_rejection {
            succeeded(&mut evidence, 9, Signal::Applied, 400);
            let second = failed(&mut evidence, 1, Signal::Unexplained, 500);
            assert_eq!(second, Blame::Lane, "{signal:?}");
        }
    }
}

/// A lane that Imprint has not applied yet.
const fn accuser(lane: u64) -> Accuser {
    Accuser {
        lane: LaneId(lane),
        is_known: false,
    }
}

/// Records a failing answer like [`failed`], while dispatch cannot ask about a witness.
fn unaskable(evidence: &mut Evidence, lane: u64, signal: Signal, millis: u64) -> Blame {
    let times = (at(millis - 10), at(millis));
    let stopped = flowing(9).after(Signal::Refused, Blame::Destination, NOW, 0.0);
    evidence.failed(accuser(lane), signal, times, stopped)
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
    let witness = evidence.ask(at(sent_at)).unwrap();
    evidence.testified(&witness, testimony, (at(sent_at), at(sent_at)));
}

/// FAULTS U51
#[test]
fn one_lane_never_proves_a_fault_of_the_destination_at_once() {
    for signal in FAULTS {
        let mut evidence = Evidence::default();
        assert_eq!(failed(&mut evidence, 1, signal, 100), Blame::Unproven);
        assert_eq!(failed(&mut evidence, 1, signal, 200), Blame::Unproven);
        let is_refusal = matches!(
            signal,
            Signal::Refused | Signal::Forbidden | Signal::Unexplained
        );
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
        let is_forbidden = matches!(signal, Signal::Forbidden | Signal::Unexplained);
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

/// FAULTS U34; seed 14041 of the simulation: Imprint throttled two lanes, and the bridge took the 429 of a refuted lane
/// for a failure of this lane alone.
#[test]
fn a_refuted_lane_counts_after_imprint_has_throttled_two_other_lanes() {
    let throttled = Signal::Throttled(None);
    let mut evidence = Evidence::default();
    failed(&mut evidence, 1, Signal::Failed, 100);
    succeeded(&mut evidence, 4, Signal::Applied, 200);
    assert_eq!(failed(&mut evidence, 2, throttled, 300), Blame::Unproven);
    let refuted = failed(&mut evidence, 1, throttled, 400);
    assert_eq!(refuted, Blame::Lane, "one other lane proves nothing");
    assert_eq!(failed(&mut evidence, 3, throttled, 500), Blame::Destination);
    assert_eq!(failed(&mut evidence, 1, throttled, 600), Blame::Destination);
    succeeded(&mut evidence, 4, Signal::Applied, 700);
    assert_eq!(failed(&mut evidence, 1, throttled, 800), Blame::Lane);
}

/// FAULTS N314, U56: the rejected request of a refuted lane was sent before the success that refuted the lane, so somebody
/// has possibly repaired a gateway in between.
#[test]
fn a_rejection_from_before_the_refutation_does_not_count_as_the_lanes_own() {
    for signal in FAULTS {
        let mut evidence = Evidence::default();
        failed(&mut evidence, 1, signal, 100);
        succeeded(&mut evidence, 2, Signal::Applied, 200);
        let mut blame = |sent| {
            let times = (at(sent), at(300));
            evidence.failed(accuser(1), signal, times, flowing(0))
        };
        let is_rejection = signal == Signal::Unexplained;
        assert_eq!(blame(199) != Blame::Lane, is_rejection, "{signal:?}");
        assert_eq!(blame(200), Blame::Lane, "{signal:?}");
    }
}

/// FAULTS U51: with a witness, several failing lanes prove nothing until the witness was asked.
#[test]
fn a_witness_refutes_lanes_that_a_retrieve_can_refute() {
    for signal in FAULTS {
        let mut evidence = witnessed();
        for lane in 1..=3 {
            let blame = failed(&mut evidence, lane, signal, 100 * lane);
            let is_testable = !matches!(signal, Signal::Forbidden | Signal::Unexplained);
            assert_eq!(blame == Blame::Unproven, is_testable || lane == 1);
            assert_eq!(
                evidence.is_asking_wanted(at(250)),
                is_testable,
                "{signal:?}"
            );
        }
        if matches!(signal, Signal::Forbidden | Signal::Unexplained) {
            continue;
        }
        testified(&mut evidence, Testimony::Found, 250);
        for (lane, expected) in [(1, Blame::Lane), (2, Blame::Lane), (3, Blame::Unproven)] {
            assert_eq!(failed(&mut evidence, lane, signal, 400), expected, "{lane}");
        }
        assert!(
            evidence.is_asking_wanted(at(250)),
            "lane 3 failed after the question"
        );
    }
}

/// FAULTS U34, U51: while dispatch cannot ask about a witness, the answers to two lanes prove a fault of the
/// destination, and a refuted lane accuses again after 30 s, as without a witness.
#[test]
fn without_a_possible_question_two_lanes_prove_a_fault_of_the_destination() {
    for signal in FAULTS {
        let mut evidence = witnessed();
        assert_eq!(unaskable(&mut evidence, 1, signal, 100), Blame::Unproven);
        succeeded(&mut evidence, 9, Signal::Applied, 200);
        for (lane, millis, expected) in [
            (1, 30_199, Blame::Lane),
            (1, 30_200, Blame::Unproven),
            (2, 30_300, Blame::Destination),
        ] {
            let blame = unaskable(&mut evidence, lane, signal, millis);
            assert_eq!(blame, expected, "{signal:?} {millis}");
        }
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
    assert!(!evidence.is_asking_wanted(at(250)));
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
    assert!(!evidence.is_asking_wanted(at(250)));
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
    assert_eq!(evidence.ask(at(250)), Some(customer(8)));
    let mut evidence = witnessed();
    for lane in [8, 9] {
        failed(&mut evidence, lane, Signal::Refused, 100 * lane);
    }
    assert_eq!(evidence.ask(at(250)), None, "no witness is left");
    assert!(!evidence.is_asking_wanted(at(250)));
}

#[test]
fn a_witness_that_imprint_does_not_know_is_forgotten() {
    let mut evidence = witnessed();
    failed(&mut evidence, 1, Signal::Refused, 100);
    testified(&mut evidence, Testimony::Nothing, 110);
    failed(&mut evidence, 1, Signal::Refused, 200);
    assert_eq!(evidence.ask(at(250)), Some(customer(8)));
    assert_eq!(evidence.ask(at(250)), None, "one question at a time");
    evidence.ask_again();
    assert!(evidence.is_asking_wanted(at(250)));
}

#[test]
fn single_failures_ask_no_witness() {
    let mut evidence = witnessed();
    for (failures, is_wanted) in [(0, false), (1, false), (2, true)] {
        let times = (NOW, at(10));
        evidence.failed(accuser(1), Signal::Failed, times, flowing(failures));
        assert_eq!(evidence.is_asking_wanted(at(250)), is_wanted, "{failures}");
    }
}

#[test]
fn a_busy_lane_replaces_a_witness_once_a_second() {
    let mut evidence = witnessed();
    evidence.record_witness(LaneId(7), &customer(7), at(999));
    let known = |evidence: &Evidence| {
        let witnesses = evidence.witnesses.applied();
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

// === customers who do not exist ===

const TYPED: AbsentCustomer = AbsentCustomer {
    is_typed: true,
    by_search: false,
    by_id: true,
    is_known: false,
};

/// Records at `millis` that the customer of a lane does not exist. The request was sent 10 ms before.
fn missing(evidence: &mut Evidence, absent: AbsentCustomer, millis: u64) -> (Blame, Absence) {
    let times = (at(millis - 10), at(millis));
    let (blame, absence) = evidence.missing(LaneId(1), absent, times);
    (blame, absence.unwrap())
}

fn proves(evidence: &Evidence, absence: &Absence, millis: u64) -> bool {
    evidence.proves(absence, at(millis))
}

/// FAULTS U58: a typed answer counts after the first success, an untyped answer only between two successes.
#[test]
fn an_answer_counts_only_after_a_success_that_was_sent_later() {
    let untyped = AbsentCustomer::UNTYPED;
    for (absent, counts_at_first) in [(TYPED, true), (untyped, false)] {
        let mut evidence = Evidence::default();
        let (blame, first) = missing(&mut evidence, absent, 100);
        assert_eq!(blame, Blame::Unproven);
        succeeded(&mut evidence, 2, Signal::Applied, 99);
        assert!(!proves(&evidence, &first, 200), "sent before the answer");
        succeeded(&mut evidence, 2, Signal::Answered, 150);
        assert!(!proves(&evidence, &first, 200), "a search applies nothing");
        let mut evidence = Evidence::default();
        let (_, first) = missing(&mut evidence, absent, 100);
        succeeded(&mut evidence, 2, Signal::Applied, 100);
        assert_eq!(
            proves(&evidence, &first, 200),
            counts_at_first,
            "{absent:?}"
        );
        let (blame, second) = missing(&mut evidence, absent, 300);
        assert_eq!(blame, Blame::Unproven, "{absent:?}");
        succeeded(&mut evidence, 2, Signal::Applied, 400);
        assert!(proves(&evidence, &second, 500), "{absent:?}");
    }
}

/// FAULTS U58
#[test]
fn an_answer_older_than_ten_minutes_is_asked_again() {
    let mut evidence = Evidence::default();
    let (_, absence) = missing(&mut evidence, TYPED, 100);
    succeeded(&mut evidence, 2, Signal::Applied, 200);
    assert!(proves(&evidence, &absence, 600_100));
    assert!(!proves(&evidence, &absence, 600_101));
}

/// FAULTS U58: Imprint denies a witness, so nobody knows whether the answers until the next success are true.
#[test]
fn after_a_denied_witness_only_answers_after_the_next_success_count() {
    let mut evidence = witnessed();
    succeeded(&mut evidence, 8, Signal::Applied, 50);
    let (_, before) = missing(&mut evidence, TYPED, 100);
    assert!(evidence.is_asking_wanted(at(100)));
    testified(&mut evidence, Testimony::Denied, 110);
    let (_, between) = missing(&mut evidence, TYPED, 120);
    succeeded(&mut evidence, 9, Signal::Applied, 130);
    for absence in [before, between] {
        assert!(!proves(&evidence, &absence, 140));
    }
    let (_, after) = missing(&mut evidence, TYPED, 150);
    succeeded(&mut evidence, 9, Signal::Applied, 160);
    assert!(proves(&evidence, &after, 170));
}

/// FAULTS U58: the bridge asks the witness at most once a second whether customers are unknown.
#[test]
fn a_returned_witness_proves_the_answers_before_the_question() {
    let mut evidence = witnessed();
    let (_, absence) = missing(&mut evidence, TYPED, 100);
    testified(&mut evidence, Testimony::Found, 110);
    assert!(proves(&evidence, &absence, 120));
    let (_, next) = missing(&mut evidence, TYPED, 200);
    assert!(!proves(&evidence, &next, 210));
    assert!(!evidence.is_asking_wanted(at(1_109)));
    assert!(evidence.is_asking_wanted(at(1_110)));
    succeeded(&mut evidence, 2, Signal::Applied, 200);
    assert!(!evidence.is_asking_wanted(at(1_110)), "an update proved it");
}

/// FAULTS U58: a success counts only if its request was sent under the present key, and not before the retrieve whose
/// answer denied the witness.
#[test]
fn a_success_that_was_sent_too_early_proves_nothing() {
    let mut evidence = witnessed();
    missing(&mut evidence, TYPED, 100);
    testified(&mut evidence, Testimony::Denied, 110);
    let mut counts = |sent_at| {
        succeeded(&mut evidence, 9, Signal::Applied, sent_at);
        let is_counted = evidence.proof.run.is_some();
        evidence.key_changed(KeyMark(2), at(200));
        is_counted
    };
    assert!(!counts(109));
    assert!(!counts(199), "it was sent under the old key");
    assert!(counts(200));
    let mut evidence = witnessed();
    missing(&mut evidence, TYPED, 100);
    testified(&mut evidence, Testimony::Denied, 110);
    succeeded(&mut evidence, 9, Signal::Applied, 110);
    assert!(evidence.proof.run.is_some());
}

/// FAULTS U58: a search under the old key found a customer, which shows nothing about searches under the new key.
#[test]
fn a_search_under_another_key_shows_nothing() {
    let searched = AbsentCustomer {
        by_search: true,
        by_id: false,
        ..TYPED
    };
    let mut evidence = Evidence::default();
    evidence.key_changed(KeyMark(2), at(200));
    evidence.found(at(199));
    let (_, absence) = missing(&mut evidence, searched, 300);
    succeeded(&mut evidence, 2, Signal::Applied, 400);
    assert!(!proves(&evidence, &absence, 500));
    evidence.found(at(450));
    assert!(proves(&evidence, &absence, 500));
}

/// FAULTS U58
#[test]
fn another_key_proves_nothing() {
    let mut evidence = Evidence::default();
    evidence.begin(KeyMark(1), None, None, NOW);
    let (_, absence) = missing(&mut evidence, TYPED, 100);
    evidence.key_changed(KeyMark(2), at(200));
    assert!(evidence.take_changed(at(200)).unwrap().wakes_lanes);
    succeeded(&mut evidence, 2, Signal::Applied, 199);
    assert!(!proves(&evidence, &absence, 300));
    let times = (at(199), at(250));
    assert_eq!(
        evidence.missing(LaneId(1), TYPED, times).1,
        None,
        "the old key"
    );
    let (_, absence) = missing(&mut evidence, TYPED, 300);
    assert!(!proves(&evidence, &absence, 300), "the old key was applied");
    succeeded(&mut evidence, 2, Signal::Applied, 300);
    assert!(proves(&evidence, &absence, 400));
}

/// FAULTS U58
#[test]
fn an_empty_search_counts_only_if_a_search_has_found_somebody() {
    let searched = AbsentCustomer {
        by_search: true,
        by_id: false,
        ..TYPED
    };
    let mut evidence = Evidence::default();
    let (_, absence) = missing(&mut evidence, searched, 100);
    succeeded(&mut evidence, 2, Signal::Applied, 200);
    assert!(!proves(&evidence, &absence, 300));
    evidence.found(at(250));
    assert!(proves(&evidence, &absence, 300));
}

/// FAULTS U55
#[test]
fn twenty_refused_lanes_without_an_applied_update_blame_the_destination() {
    let known = AbsentCustomer {
        is_known: true,
        ..TYPED
    };
    let mut evidence = Evidence::default();
    let times = (at(90), at(100));
    for lane in 1..20 {
        let is_rejected = lane % 2 == 0;
        let blame = match is_rejected {
            true => evidence.rejected(LaneId(lane), NOW),
            false => evidence.missing(LaneId(lane), known, times).0,
        };
        assert_eq!(blame, Blame::Unproven, "{lane}");
        assert_eq!(
            evidence.rejected(LaneId(lane), NOW),
            Blame::Unproven,
            "the same"
        );
    }
    let unknown = evidence.missing(LaneId(50), TYPED, times).0;
    assert_eq!(unknown, Blame::Unproven, "most customers have no card");
    assert_eq!(evidence.rejected(LaneId(20), NOW), Blame::Destination);
    let unknown = evidence.missing(LaneId(51), TYPED, times).0;
    assert_eq!(unknown, Blame::Destination);
    succeeded(&mut evidence, 7, Signal::Applied, 200);
    assert_eq!(evidence.rejected(LaneId(20), NOW), Blame::Unproven);
}

/// FAULTS U55: a gateway that answers 404 for every customer sends no error type, and a wrong API key denies customers
/// whose updates Imprint has applied before.
#[test]
fn twenty_rare_denials_of_customers_blame_the_destination() {
    let known = AbsentCustomer {
        is_known: true,
        ..TYPED
    };
    for absent in [known, AbsentCustomer::UNTYPED] {
        let mut evidence = Evidence::default();
        let mut blame = |lane| evidence.missing(LaneId(lane), absent, (at(90), at(100))).0;
        for lane in 1..20 {
            assert_eq!(blame(lane), Blame::Unproven, "{absent:?}");
        }
        assert_eq!(blame(20), Blame::Destination, "{absent:?}");
    }
}

// === what outlives the process ===

/// FAULTS U51: after a restart, the bridge asks about the last witness, so each new witness is saved.
#[test]
fn a_new_witness_is_saved_and_a_known_one_is_not_saved_again() {
    let mut evidence = Evidence::default();
    assert_eq!(evidence.take_changed(NOW), None);
    evidence.record_witness(LaneId(1), &customer(1), NOW);
    let saved = evidence.take_changed(NOW).unwrap();
    assert!(saved.text.contains("CUST-1"), "{saved:?}");
    evidence.record_witness(LaneId(1), &customer(1), at(60_000));
    assert_eq!(evidence.take_changed(at(60_000)), None);
    // The witnesses change with almost every request, so the bridge saves them at most once in ten seconds.
    evidence.record_witness(LaneId(2), &customer(2), at(1_000));
    assert_eq!(evidence.take_changed(at(9_999)), None);
    assert!(evidence.take_changed(at(10_000)).is_some());
}

/// FAULTS U58: the restart of the bridge does not end the doubt after a denied witness.
#[test]
fn a_denied_witness_is_remembered_after_a_restart() {
    let mut before = witnessed();
    missing(&mut before, TYPED, 100);
    testified(&mut before, Testimony::Denied, 110);
    let saved = before.take_changed(at(120)).unwrap();
    let mut after = Evidence::default();
    after.begin(KeyMark::default(), None, Some(&saved.text), at(200));
    let (_, absence) = missing(&mut after, TYPED, 300);
    succeeded(&mut after, 2, Signal::Applied, 400);
    assert!(!proves(&after, &absence, 500));
}

/// FAULTS U58: the evidence belongs to one key. A damaged record, or one of another key, is no evidence.
#[test]
fn the_evidence_of_the_last_process_counts_under_the_same_key() {
    let mut evidence = Evidence::default();
    evidence.begin(KeyMark(7), None, None, NOW);
    evidence.record_witness(LaneId(8), &customer(8), NOW);
    evidence.found(at(5));
    succeeded(&mut evidence, 8, Signal::Applied, 10);
    let saved = evidence.take_changed(at(20)).unwrap();
    assert!(saved.wakes_lanes);
    assert_eq!(evidence.take_changed(at(20)), None, "nothing has changed");
    let restored = |key: KeyMark, text: &str| {
        let mut evidence = Evidence::default();
        evidence.begin(key, None, Some(text), at(30));
        evidence
    };
    let mut same = restored(KeyMark(7), &saved.text);
    let searched = AbsentCustomer {
        by_search: true,
        by_id: false,
        ..AbsentCustomer::UNTYPED
    };
    let (_, absence) = missing(&mut same, searched, 100);
    assert_eq!(same.ask(at(110)), Some(customer(8)));
    same.testified(&customer(8), Testimony::Found, (at(110), at(120)));
    assert!(proves(&same, &absence, 130));
    assert!(
        !same
            .take_changed(at(130))
            .is_some_and(|saved| saved.wakes_lanes)
    );
    for (key, text) in [
        (KeyMark(8), saved.text.as_str()),
        (KeyMark(7), "{"),
        (KeyMark(7), ""),
    ] {
        let mut other = restored(key, text);
        missing(&mut other, TYPED, 100);
        assert_eq!(other.ask(at(110)), None, "{text}");
    }
}

/// FAULTS U58: the bridge asks the operator's witness before all other witnesses. There are two exceptions: a question
/// about the witness's own lane, and the time after Imprint has denied the witness.
#[test]
fn the_canary_is_asked_first() {
    let canary = ImprintId::parse("CANARY").unwrap();
    let mut evidence = witnessed();
    evidence.begin(KeyMark(1), Some(canary.clone()), None, NOW);
    missing(&mut evidence, TYPED, 100);
    assert_eq!(evidence.ask(at(100)), Some(canary.clone()));
    evidence.testified(&canary, Testimony::Denied, (at(100), at(110)));
    assert_eq!(evidence.ask(at(1_100)), Some(customer(9)));
    evidence.testified(&customer(9), Testimony::Nothing, (at(1_100), at(1_110)));
    assert_eq!(evidence.ask(at(30_110)), Some(canary.clone()));
    evidence.testified(&canary, Testimony::Nothing, (at(30_110), at(30_110)));
    evidence.meet(LaneId(3), &canary);
    failed(&mut evidence, 3, Signal::Refused, 70_000);
    assert_eq!(evidence.ask(at(70_000)), Some(customer(8)));
}

/// FAULTS U58: a customer that does not exist at Imprint is no witness, and under a new key no customer is
/// one: the new key can belong to a program that does not know the customers.
#[test]
fn a_missing_customer_and_the_customers_of_an_old_key_are_no_witnesses() {
    let mut evidence = witnessed();
    let _: (Blame, Option<Absence>) = evidence.missing(LaneId(9), TYPED, (at(90), at(100)));
    assert_eq!(evidence.ask(at(100)), Some(customer(8)));
    let mut evidence = witnessed();
    evidence.key_changed(KeyMark(2), at(10));
    missing(&mut evidence, TYPED, 100);
    assert_eq!(evidence.ask(at(100)), None);
}

/// FAULTS N722: the bridge tries the newer key of a rotation, Imprint refuses the newer key, and the bridge returns to
/// the older key.
#[test]
fn the_evidence_of_a_key_counts_again_after_a_trial_of_another_key() {
    let mut evidence = Evidence::default();
    evidence.begin(KeyMark(1), None, None, NOW);
    evidence.found(at(10));
    succeeded(&mut evidence, 8, Signal::Applied, 20);
    evidence.record_witness(LaneId(8), &customer(8), at(20));
    evidence.key_changed(KeyMark(2), at(100));
    missing(&mut evidence, TYPED, 110);
    assert_eq!(evidence.ask(at(110)), None);
    evidence.key_changed(KeyMark(1), at(200));
    assert!(evidence.proof.has_found && evidence.proof.run.is_some());
    missing(&mut evidence, TYPED, 2_000);
    assert_eq!(evidence.ask(at(2_000)), Some(customer(8)));
    succeeded(&mut evidence, 9, Signal::Applied, 199);
    let run = evidence.proof.run.unwrap();
    assert_eq!(run.to, at(20), "the request had the newer key");
}

/// FAULTS N1144: an operator erases the customer while the bridge tries another key.
#[test]
fn an_erased_witness_does_not_come_back_with_the_earlier_key() {
    let mut evidence = Evidence::default();
    evidence.begin(KeyMark(1), None, None, NOW);
    succeeded(&mut evidence, 8, Signal::Applied, 20);
    evidence.record_witness(LaneId(8), &customer(8), at(20));
    evidence.record_witness(LaneId(9), &customer(9), at(30));
    evidence.key_changed(KeyMark(2), at(100));
    assert!(evidence.take_changed(at(100)).is_some());
    evidence.forget_customers(|lane| lane == LaneId(9));
    let saved = evidence.take_changed(at(11_000));
    assert!(
        saved.is_some(),
        "another process possibly stored the customer"
    );
    evidence.key_changed(KeyMark(1), at(12_000));
    missing(&mut evidence, TYPED, 12_500);
    assert_eq!(evidence.ask(at(13_000)), Some(customer(8)));
}

/// FAULTS N867: many requests with the newer key of a rotation are in flight when the bridge returns to the older key.
#[test]
fn the_refusals_of_another_key_show_nothing_about_the_present_key() {
    for signal in [Signal::Refused, Signal::Forbidden] {
        let mut evidence = Evidence::default();
        evidence.begin(KeyMark(2), None, None, NOW);
        assert_eq!(failed(&mut evidence, 1, signal, 10), Blame::Unproven);
        evidence.key_changed(KeyMark(1), at(20));
        let mut refused = |lane, times| {
            let accuser = Accuser {
                lane: LaneId(lane),
                is_known: true,
            };
            evidence.failed(accuser, signal, times, DestinationState::FIRST)
        };
        for lane in 1..=40 {
            assert_eq!(refused(lane, (at(20), at(30))), Blame::Unproven);
        }
        assert_eq!(refused(1, (at(40), at(50))), Blame::Unproven);
        assert_eq!(refused(2, (at(60), at(70))), Blame::Destination);
    }
}
