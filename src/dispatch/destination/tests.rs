//! Tests of the send permits, and of the limiter that gives the permits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::dispatch::breaker::{Ramp, Signal};
use crate::dispatch::destination::LaneAnswer;
use crate::dispatch::evidence::Testimony;
use crate::dispatch::lane_exchange::ImprintCall;
use crate::dispatch::moment::Moment;
use crate::event::SourceName;
use crate::imprint::{Body, ImprintId, PartnerCustomerId, Request};
use crate::outbox::{Absence, AgreedView, KeyMark, LaneId, TokenGrant, TokenOrder, Trials};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn destination(rate: Rate) -> Arc<Destination> {
    Arc::new(Destination::new(rate, NOW))
}

fn unlimited() -> Arc<Destination> {
    destination(Rate::Unlimited)
}

const fn moment(now: Timestamp) -> Moment {
    Moment {
        now,
        random: u32::MAX / 2,
    }
}

/// Takes permits from the destination. Returns the number of permits and whether they are for a probe, or the time of
/// the next attempt. Leaks the permits, as if requests had used the permits.
fn acquired(
    destination: &Arc<Destination>,
    wanted: usize,
    now: Timestamp,
) -> Result<(usize, bool), Timestamp> {
    let permits = destination.acquire(wanted, now)?;
    let result = (permits.count(), permits.is_probe());
    std::mem::forget(permits);
    Ok(result)
}

const LANES_8: Result<(usize, bool), Timestamp> = Ok((8, false));
const PROBE: Result<(usize, bool), Timestamp> = Ok((1, true));

fn permit(destination: &Arc<Destination>, now: Timestamp) -> SendPermit {
    destination.acquire(1, now).unwrap().take_one().unwrap()
}

fn update() -> ImprintCall {
    ImprintCall::Update(Request {
        customer: ImprintId::parse("CUST-1").unwrap(),
        body: Body::default(),
        cleared: Vec::new(),
    })
}

fn retrieve() -> ImprintCall {
    ImprintCall::Retrieve(ImprintId::parse("CUST-1").unwrap())
}

fn search() -> ImprintCall {
    ImprintCall::Search(PartnerCustomerId::parse("P-1").unwrap())
}

/// Reports a signal of a lane without using up a token or a place in the ramp.
fn report(destination: &Arc<Destination>, lane: u64, signal: Signal, now: Timestamp) -> Assessment {
    let mut limiter = destination.limiter();
    limiter.assess(answer(lane, signal), now, moment(now)).1
}

fn answer(lane: u64, signal: Signal) -> LaneAnswer<'static> {
    LaneAnswer {
        lane: LaneId(lane),
        customer: None,
        trials: Trials::default(),
        is_known: false,
        signal,
        absent: None,
        has_found: false,
    }
}

/// Stops the destination: Imprint refuses the API key for two lanes.
fn stop(destination: &Arc<Destination>, now: Timestamp) {
    for lane in [101, 102] {
        report(destination, lane, Signal::Refused, now);
    }
    assert_eq!(destination.state().as_str(), "stopped");
}

/// Reports that Imprint applied an update of this lane's customer, so that the customer is a witness.
fn witness(destination: &Arc<Destination>, lane: u64, now: Timestamp) {
    let customer = ImprintId::parse(&format!("CUST-{lane}")).unwrap();
    let applied = LaneAnswer {
        customer: Some(&customer),
        ..answer(lane, Signal::Applied)
    };
    permit(destination, now).assess(applied, moment(now));
}

// === evidence ===

/// FAULTS U51: an answer "the customer does not exist" that the evidence of one process proves is also proven after a
/// restart, so that its lane need not wait for new evidence.
#[test]
fn the_evidence_counts_after_a_restart() {
    let key = KeyMark(7);
    let before = unlimited();
    before.begin(key, None, None, NOW);
    assert_eq!(before.evidence_to_save(NOW), None, "nothing is known");
    let absence = Absence {
        at: NOW,
        is_typed: true,
        by_search: false,
        by_id: true,
        key,
    };
    assert!(!before.proves(&absence, NOW));
    witness(&before, 1, NOW);
    assert!(before.proves(&absence, NOW));
    let saved = before.evidence_to_save(NOW).unwrap();
    assert_eq!(before.evidence_to_save(NOW), None, "it is saved");
    let after = unlimited();
    after.begin(key, None, Some(&saved.text), later(1));
    assert!(after.proves(&absence, later(1)));
}

/// FAULTS N787; seed 514448 of the simulation: a rejection and a later success prove that a customer causes its rejection.
/// After the entries have ended, or after another answer, a gateway that rejects every customer must not park the next entry.
#[test]
fn a_rejection_of_earlier_entries_proves_nothing_about_later_ones() {
    let failing = |destination: &Arc<Destination>, signal, failures, at| {
        let trials = Trials {
            failures,
            ..Trials::default()
        };
        let answer = LaneAnswer {
            trials,
            ..answer(1, signal)
        };
        let mut limiter = destination.limiter();
        limiter.assess(answer, later(at), moment(later(at))).1.blame
    };
    let between = [
        (None, 1, Blame::Lane),
        (None, 0, Blame::Unproven),
        (Some(Signal::Missing), 1, Blame::Unproven),
        (Some(Signal::Rejected), 1, Blame::Unproven),
    ];
    for (other, failures, blame) in between {
        let destination = unlimited();
        let first = failing(&destination, Signal::Unexplained, 0, 0);
        assert_eq!(first, Blame::Unproven);
        witness(&destination, 2, later(1));
        if let Some(signal) = other {
            failing(&destination, signal, 1, 2);
        }
        let next = failing(&destination, Signal::Unexplained, failures, 3);
        assert_eq!(next, blame, "{other:?} {failures}");
    }
}

/// FAULTS U51: a question about a witness can end without an answer, for example because its task panicked. The bridge
/// asks again then, and not after an answer.
#[test]
fn a_question_without_an_answer_is_asked_again() {
    let destination = unlimited();
    witness(&destination, 1, NOW);
    report(&destination, 2, Signal::Throttled(None), later(1));
    let question = destination.ask_witness(later(1)).unwrap();
    assert_eq!(question.customer().as_str(), "CUST-1");
    assert!(destination.ask_witness(later(1)).is_none(), "it is asked");
    drop(question);
    let question = destination.ask_witness(later(2)).unwrap();
    question.answer(Testimony::Found, moment(later(2)));
    assert!(destination.ask_witness(later(3)).is_none());
}

/// A question about a witness uses a token of the rate, and waits while the destination waits or is not open.
#[test]
fn a_question_is_asked_only_while_the_destination_is_open_and_has_a_token() {
    let destination = destination(Rate::PerSecond(1.0));
    let is_asked = |now| {
        let mut limiter = destination.limiter();
        limiter.ask_witness(now).is_some()
    };
    witness(&destination, 1, NOW);
    assert!(!is_asked(later(2)), "no question is needed");
    report(&destination, 2, Signal::Throttled(None), later(2));
    for mode in [OperatorMode::Paused, OperatorMode::Shadow] {
        destination.set_mode(mode);
        assert!(!is_asked(later(2)), "{mode:?}");
    }
    destination.set_mode(OperatorMode::Open);
    destination.wait_until(later(5));
    assert!(!is_asked(later(4)));
    std::mem::forget(permit(&destination, later(5)));
    assert!(!is_asked(later(5)), "the token is used");
    assert!(is_asked(later(7)));
}

/// FAULTS N114: a lane that fails again while Imprint applies requests of other lanes shows nothing about the
/// destination, but its first failure does.
#[test]
fn a_lane_that_fails_again_beside_applied_lanes_is_the_cause() {
    let blame = |lane, failures| {
        let destination = unlimited();
        report(&destination, 2, Signal::Applied, later(1));
        let failed = LaneAnswer {
            trials: Trials {
                failures,
                tried_at: Some(NOW),
                ..Trials::default()
            },
            ..answer(lane, Signal::Failed)
        };
        let mut limiter = destination.limiter();
        limiter.assess(failed, later(2), moment(later(2))).1.blame
    };
    assert_eq!(blame(1, 1), Blame::Lane);
    assert_eq!(blame(1, 0), Blame::Unproven, "the first failure");
    assert_eq!(blame(2, 1), Blame::Unproven, "no other lane was applied");
}

/// FAULTS U55: while Imprint rejects the update of every customer, an answer to a search does not end the stop.
#[test]
fn an_answered_search_shows_nothing_while_imprint_rejects_every_update() {
    let destination = unlimited();
    for lane in 1..=20 {
        report(&destination, lane, Signal::Rejected, NOW);
    }
    let state_after = |signal, now| report(&destination, 50, signal, now).state.as_str();
    assert_eq!(state_after(Signal::Answered, later(1)), "stopped");
    assert_eq!(state_after(Signal::Applied, later(2)), "flowing");
    stop(&destination, later(3));
    assert_eq!(state_after(Signal::Answered, later(4)), "flowing");
}

/// FAULTS U50: only applied requests of failing lanes end the limit on failing lanes.
#[test]
fn lanes_that_do_not_fail_leave_the_limit_on_failing_lanes() {
    let destination = unlimited();
    for lane in 1..=8 {
        report(&destination, lane, Signal::Applied, NOW);
    }
    let mut permits = destination.acquire(4, NOW).unwrap();
    assert_eq!(permits.allow_failing(1), 1);
}

/// FAULTS U34: after Imprint has asked for a wait, the bridge sends at half the rate.
#[test]
fn a_wait_halves_the_rate() {
    let destination = destination(Rate::PerSecond(10.0));
    for lane in [1, 2] {
        let wait = Signal::Throttled(Some(Duration::from_secs(5)));
        report(&destination, lane, wait, NOW);
    }
    assert_eq!(acquired(&destination, 1, later(5)), Ok((1, false)));
    let next = acquired(&destination, 1, later(5)).unwrap_err();
    let interval = next.since(later(5));
    assert!(interval > Duration::from_millis(150), "{interval:?}");
}

// === modes ===

#[test]
fn every_mode_parses_from_its_name() {
    for mode in OperatorMode::ALL {
        assert_eq!(OperatorMode::parse(mode.as_str()), Some(mode));
    }
    assert_eq!(OperatorMode::parse("closed"), None);
}

#[test]
fn a_shadow_record_prints_no_personal_data() {
    let record = ShadowRecord {
        at: NOW,
        customer: "CUST-1".to_owned(),
        operation: "update",
        body: Map::from_iter([("email".to_owned(), Value::from("a@example.com"))]),
    };
    let printed = format!("{record:?}");
    assert_eq!(printed, r#"ShadowRecord { operation: "update", .. }"#);
}

#[test]
fn a_paused_destination_gives_no_permit_until_it_is_resumed() {
    let destination = unlimited();
    destination.set_mode(OperatorMode::Paused);
    assert_eq!(destination.mode(), OperatorMode::Paused);
    assert_eq!(acquired(&destination, 8, NOW), Err(later(10)));
    destination.set_mode(OperatorMode::Open);
    assert_eq!(acquired(&destination, 8, NOW), LANES_8);
    destination.set_mode(OperatorMode::Shadow);
    assert_eq!(acquired(&destination, 8, NOW), LANES_8);
}

#[test]
fn in_shadow_mode_each_call_is_recorded_and_none_is_sent() {
    let destination = unlimited();
    destination.set_mode(OperatorMode::Shadow);
    for (lane, call) in [(1, update()), (2, retrieve()), (3, search())] {
        let clearance = permit(&destination, NOW).clear(LaneId(lane), &call, NOW);
        assert_eq!(clearance, Clearance::Shadow, "{call:?}");
    }
    let records = destination.shadow_records();
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record.operation, record.customer.as_str(), record.at))
        .collect();
    assert_eq!(
        seen,
        [
            ("update", "CUST-1", NOW),
            ("retrieve", "CUST-1", NOW),
            ("search", "P-1", NOW)
        ]
    );
    destination.set_mode(OperatorMode::Open);
    assert_eq!(destination.shadow_records(), []);
}

#[test]
fn a_call_that_follows_from_an_answer_is_not_sent_in_shadow_mode_either() {
    let destination = unlimited();
    let mut permit = permit(&destination, NOW);
    assert_eq!(permit.clear(LaneId(1), &update(), NOW), Clearance::Send);
    destination.set_mode(OperatorMode::Shadow);
    assert_eq!(permit.clear(LaneId(1), &retrieve(), NOW), Clearance::Shadow);
    assert_eq!(destination.shadow_records().len(), 1);
}

#[test]
fn at_most_a_thousand_lanes_have_a_shadow_record() {
    let destination = unlimited();
    destination.set_mode(OperatorMode::Shadow);
    for lane in (0..1000).chain([5]) {
        permit(&destination, NOW).clear(LaneId(lane), &update(), NOW);
    }
    assert_eq!(destination.shadow_records().len(), 1000);
    permit(&destination, later(1)).clear(LaneId(2000), &update(), later(1));
    let records = destination.shadow_records();
    assert_eq!((records.len(), records[999].at), (1000, later(1)));
}

// === the breaker behind the permits ===

/// FAULTS U25: a stopped destination gets one probe every 30 s, and one probe at once when the API key changes.
#[test]
fn a_refused_key_lets_one_probe_through_every_thirty_seconds() {
    let destination = unlimited();
    assert_eq!(acquired(&destination, 8, NOW), LANES_8);
    stop(&destination, NOW);
    report(&destination, 2, Signal::Refused, later(9));
    assert_eq!(destination.next_probe(), Some(later(30)));
    assert_eq!(acquired(&destination, 8, later(10)), PROBE, "by a new lane");
    let soon = later(10).after(Duration::from_millis(900));
    assert_eq!(acquired(&destination, 8, soon), Err(later(11)));
    let permits = destination.acquire(8, later(11)).unwrap();
    assert!(permits.is_arrival_probe());
    drop(permits);
    let permits = destination.acquire(8, later(30)).unwrap();
    assert!(permits.is_probe() && !permits.is_arrival_probe());
    std::mem::forget(permits);
    assert_eq!(destination.next_probe(), Some(later(60)));
    destination.key_changed(KeyMark(1), later(32));
    assert_eq!(acquired(&destination, 8, later(32)), PROBE);
    report(&destination, 1, Signal::Applied, later(33));
    assert_eq!(acquired(&destination, 8, later(33)), Ok((2, false)));
}

/// FAULTS U34: a stopped destination asks for a wait while another probe is on its way to Imprint: this probe is not
/// sent. A new key does not end the wait.
#[test]
fn a_probe_is_withdrawn_if_a_stopped_destination_asks_for_a_wait() {
    let destination = unlimited();
    stop(&destination, NOW);
    let mut probe = permit(&destination, NOW);
    let wait = Signal::Throttled(Some(Duration::from_secs(5)));
    for lane in [103, 104] {
        report(&destination, lane, wait, NOW);
    }
    assert_eq!(destination.state().as_str(), "stopped");
    let clearance = probe.clear(LaneId(1), &update(), NOW);
    assert_eq!(clearance, Clearance::Withdrawn);
    drop(probe);
    assert_eq!(acquired(&destination, 8, later(1)), Err(later(5)));
    destination.key_changed(KeyMark(1), later(2));
    assert_eq!(acquired(&destination, 8, later(3)), Err(later(5)));
    assert_eq!(acquired(&destination, 8, later(5)), PROBE);
}

/// FAULTS U34; seed 86372 of the simulation: a stopped or probed destination asks for a wait, and a witness is known.
/// Dispatch asks about no witness in these states, so the answers to two lanes must show that the wait binds the probes.
#[test]
fn a_wait_binds_the_probes_although_a_witness_is_known() {
    let wait = Signal::Throttled(Some(Duration::from_secs(40)));
    let witness = ImprintId::parse("CUST-8").unwrap();
    for state in ["stopped", "probing"] {
        let destination = unlimited();
        let applied = LaneAnswer {
            customer: Some(&witness),
            ..answer(8, Signal::Applied)
        };
        destination.limiter().assess(applied, NOW, moment(NOW));
        if state == "stopped" {
            for lane in 101..=120 {
                let refused = LaneAnswer {
                    is_known: true,
                    ..answer(lane, Signal::Forbidden)
                };
                destination.limiter().assess(refused, NOW, moment(NOW));
            }
        } else {
            for lane in 1..=3 {
                report(&destination, lane, Signal::Failed, NOW);
            }
            let inquiry = destination.ask_witness(NOW).unwrap();
            let failed = Testimony::Failed(Signal::Failed);
            inquiry.answer(failed, moment(NOW));
            for lane in 4..=12 {
                report(&destination, lane, Signal::Failed, NOW);
            }
        }
        assert_eq!(destination.state().as_str(), state);
        report(&destination, 21, wait, later(1));
        assert_eq!(acquired(&destination, 8, later(2)), PROBE, "{state}");
        report(&destination, 22, wait, later(2));
        assert_eq!(acquired(&destination, 8, later(3)), Err(later(42)));
        assert_eq!(acquired(&destination, 8, later(42)), PROBE);
    }
}

#[test]
fn a_new_key_changes_nothing_unless_the_destination_is_stopped() {
    let destination = unlimited();
    destination.wait_until(later(5));
    destination.key_changed(KeyMark(1), NOW);
    assert_eq!(acquired(&destination, 8, NOW), Err(later(5)));
    assert_eq!(acquired(&destination, 8, later(5)), LANES_8);
}

/// FAULTS O06, V9: the results of other lanes show whether a lane itself caused its failure.
#[test]
fn a_failure_is_a_lanes_own_if_another_lane_was_applied_since_its_last_failure() {
    let destination = unlimited();
    let failed = |lane: u64, tried_at, now| {
        let attempts = Trials {
            failures: 1,
            tried_at,
            ..Trials::default()
        };
        let answer = LaneAnswer {
            trials: attempts,
            ..answer(lane, Signal::Failed)
        };
        let mut limiter = destination.limiter();
        let (_, assessment) = limiter.assess(answer, now, moment(now));
        assessment.attribution
    };
    assert_eq!(failed(1, None, NOW), Attribution::Unknown);
    report(&destination, 1, Signal::Applied, later(1));
    assert_eq!(
        failed(1, Some(NOW), later(2)),
        Attribution::Unknown,
        "its own"
    );
    report(&destination, 2, Signal::Applied, later(3));
    assert_eq!(failed(1, Some(later(2)), later(4)), Attribution::Lane);
    assert_eq!(failed(1, Some(later(3)), later(4)), Attribution::Lane);
    assert_eq!(failed(1, Some(later(4)), later(5)), Attribution::Unknown);
    assert_eq!(failed(2, Some(NOW), later(6)), Attribution::Lane);
    assert_eq!(failed(3, None, later(7)), Attribution::Lane);
    assert_eq!(failed(3, None, later(13)), Attribution::Lane);
    assert_eq!(failed(3, None, later(14)), Attribution::Unknown, "too old");
    report(&destination, 2, Signal::Applied, later(20));
    report(&destination, 2, Signal::Applied, later(30));
    assert_eq!(
        failed(2, Some(later(1)), later(31)),
        Attribution::Lane,
        "lane 1 at 1 s"
    );
    assert_eq!(failed(2, Some(later(2)), later(31)), Attribution::Unknown);
}

#[test]
fn a_lane_is_not_blamed_while_the_destination_does_not_flow() {
    let destination = unlimited();
    report(&destination, 1, Signal::Applied, NOW);
    let throttled = report(&destination, 2, Signal::Throttled(None), NOW);
    assert_eq!(throttled.attribution, Attribution::Lane);
    report(&destination, 3, Signal::Throttled(None), NOW);
    assert_eq!(destination.state().as_str(), "throttled");
    assert_eq!(
        report(&destination, 2, Signal::Failed, NOW).attribution,
        Attribution::Unknown
    );
    stop(&destination, NOW);
    assert_eq!(
        report(&destination, 2, Signal::Failed, NOW).attribution,
        Attribution::Unknown
    );
}

/// FAULTS V8: dispatch does not send lanes whose claim was running when Imprint refused the API key.
#[test]
fn permits_are_withdrawn_when_the_destination_stops_or_is_paused() {
    let destination = unlimited();
    let is_valid = |permit: &mut SendPermit, now| {
        let clearance = permit.clear(LaneId(1), &update(), now);
        assert!(matches!(clearance, Clearance::Send | Clearance::Withdrawn));
        clearance == Clearance::Send
    };
    let mut permits = destination.acquire(8, NOW).unwrap();
    let mut next = || permits.take_one().unwrap();
    assert!(is_valid(&mut next(), NOW));
    stop(&destination, NOW);
    assert!(!is_valid(&mut next(), NOW));
    let mut probe = permit(&destination, later(30));
    assert!(is_valid(&mut probe, later(30)), "a probe is sent");
    report(&destination, 1, Signal::Applied, later(31));
    assert!(is_valid(&mut next(), later(31)));
    destination.set_mode(OperatorMode::Paused);
    assert!(!is_valid(&mut next(), later(31)));
    destination.set_mode(OperatorMode::Open);
    for lane in [1, 2] {
        report(&destination, lane, Signal::Throttled(None), later(32));
    }
    assert!(!is_valid(&mut next(), later(32)));
    assert!(is_valid(&mut next(), later(40)), "the wait is over");
}

/// FAULTS U34: a call that follows from an answer is not sent while the destination waits or is paused.
#[test]
fn a_call_that_follows_from_an_answer_is_withdrawn_during_a_wait_or_a_pause() {
    let wait = Signal::Throttled(Some(Duration::from_secs(5)));
    for is_stopped in [false, true] {
        for call in [update(), retrieve(), search()] {
            let destination = unlimited();
            let mut held = permit(&destination, NOW);
            let mut clear = |call: &ImprintCall, now| held.clear(LaneId(1), call, now);
            assert_eq!(clear(&update(), NOW), Clearance::Send);
            if is_stopped {
                stop(&destination, NOW);
            }
            for lane in [103, 104] {
                report(&destination, lane, wait, NOW);
            }
            assert_eq!(clear(&call, later(4)), Clearance::Withdrawn, "{call:?}");
            assert_eq!(clear(&call, later(5)), Clearance::Send, "{call:?}");
            destination.set_mode(OperatorMode::Paused);
            assert_eq!(clear(&call, later(6)), Clearance::Withdrawn, "{call:?}");
        }
    }
}

// === dropped permits ===

const RISING: DestinationState = DestinationState::Flowing {
    failures: 0,
    ramp: Ramp::Rising {
        credits: 2,
        answers: 1,
    },
};

/// Returns a destination that has just recovered, and whose token bucket has one token.
fn recovered() -> Arc<Destination> {
    let destination = destination(Rate::PerSecond(1.0));
    stop(&destination, NOW);
    report(&destination, 1, Signal::Applied, NOW);
    assert_eq!(destination.state(), RISING);
    destination
}

fn credits(destination: &Destination) -> usize {
    let DestinationState::Flowing {
        ramp: Ramp::Rising { credits, .. },
        ..
    } = destination.state()
    else {
        panic!("{destination:?}")
    };
    credits
}

#[test]
fn an_unused_permit_returns_its_token_and_its_place() {
    let destination = recovered();
    let permits = destination.acquire(1, NOW).unwrap();
    assert_eq!(credits(&destination), 1);
    assert!(
        destination.acquire(1, NOW).is_err(),
        "there is no second token"
    );
    drop(permits);
    assert_eq!(credits(&destination), 2);
    let one = permit(&destination, NOW);
    assert_eq!(credits(&destination), 1);
    drop(one);
    assert_eq!(credits(&destination), 2);
    assert!(destination.acquire(1, NOW).is_ok(), "the token is back");
}

#[test]
fn a_permit_whose_request_was_sent_returns_its_place_and_not_its_token() {
    let destination = recovered();
    let mut permit = permit(&destination, NOW);
    assert_eq!(permit.clear(LaneId(1), &update(), NOW), Clearance::Send);
    drop(permit);
    assert_eq!(credits(&destination), 2);
    assert!(destination.acquire(1, NOW).is_err(), "the token is used");
}

#[test]
fn an_assessed_permit_returns_nothing_more() {
    let destination = recovered();
    let mut permit = permit(&destination, NOW);
    assert_eq!(permit.clear(LaneId(1), &update(), NOW), Clearance::Send);
    let (before, assessment) = permit.assess(answer(1, Signal::Failed), moment(NOW));
    assert_eq!(
        (before, assessment.state),
        (
            DestinationState::Flowing {
                failures: 0,
                ramp: Ramp::Rising {
                    credits: 1,
                    answers: 1
                }
            },
            DestinationState::Flowing {
                failures: 1,
                ramp: Ramp::Rising {
                    credits: 2,
                    answers: 1
                }
            },
        )
    );
    assert_eq!(credits(&destination), 2);
    assert!(destination.acquire(1, NOW).is_err(), "the token is used");
}

#[test]
fn the_permits_of_one_claim_are_counted() {
    let destination = destination(Rate::Unlimited);
    stop(&destination, NOW);
    report(&destination, 1, Signal::Applied, NOW);
    let mut permits = destination.acquire(8, NOW).unwrap();
    assert_eq!((permits.count(), credits(&destination)), (2, 0));
    let taken = permits.take_one();
    assert!(taken.is_some());
    assert_eq!(permits.count(), 1);
    drop(permits);
    assert_eq!(credits(&destination), 1, "one is still held");
    drop(taken);
    assert_eq!(credits(&destination), 2);
    let mut last = destination.acquire(1, NOW).unwrap();
    let taken = (last.take_one(), last.take_one());
    assert!(taken.0.is_some() && taken.1.is_none());
}

#[test]
fn an_unused_probe_is_due_again_at_once_and_a_sent_one_is_not() {
    let destination = unlimited();
    stop(&destination, NOW);
    drop(destination.acquire(8, later(30)));
    assert_eq!(acquired(&destination, 8, later(30)), PROBE, "still due");
    destination.key_changed(KeyMark(1), later(40));
    let mut probe = permit(&destination, later(40));
    assert_eq!(
        probe.clear(LaneId(1), &update(), later(40)),
        Clearance::Send
    );
    drop(probe);
    assert_eq!(destination.next_probe(), Some(later(70)));
    let soon = later(40).after(Duration::from_millis(900));
    assert_eq!(acquired(&destination, 8, soon), Err(later(41)));
}

/// Seed 70 of the simulation: lanes that had nothing to send used up the ramp, and dispatch never sent anything again.
#[test]
fn lanes_with_nothing_to_send_leave_the_ramp_to_others() {
    let destination = recovered();
    for second in 0..20 {
        let permits = destination.acquire(8, later(second)).unwrap();
        assert_eq!(permits.count(), 1, "in second {second}");
    }
}

#[test]
fn a_change_of_state_wakes_the_threads() {
    let destination = unlimited();
    let assess = |signal| {
        let permit = permit(&destination, NOW);
        permit.assess(answer(1, signal), moment(NOW))
    };
    let changed = destination.changed();
    assess(Signal::Applied);
    assert!(changed.now_or_never().is_none());
    let changes: [&dyn Fn(); 3] = [
        &|| {
            report(&destination, 2, Signal::Refused, NOW);
            assess(Signal::Refused);
        },
        &|| destination.key_changed(KeyMark(1), NOW),
        &|| destination.set_mode(OperatorMode::Paused),
    ];
    for change in changes {
        let changed = destination.changed();
        change();
        assert!(changed.now_or_never().is_some());
    }
    let questioned = unlimited();
    witness(&questioned, 1, NOW);
    let changed = questioned.changed();
    let throttled = answer(2, Signal::Throttled(None));
    let (before, assessment) = permit(&questioned, NOW).assess(throttled, moment(NOW));
    assert_eq!(before, assessment.state);
    assert!(changed.now_or_never().is_some(), "a question is wanted");
}

/// FAULTS U50: a claim reserves permits for failing lanes. The reserve that no failing lane uses returns, even if other
/// lanes took all permits of the claim.
#[test]
fn an_unused_reserve_of_failing_lanes_returns() {
    let destination = destination(Rate::PerSecond(10.0));
    for is_taken in [false, true, false] {
        let mut permits = destination.acquire(1, NOW).unwrap();
        assert_eq!(permits.allow_failing(1), 1, "{is_taken}");
        if is_taken {
            drop(permits.take_one());
        }
    }
    let mut permits = destination.acquire(1, NOW).unwrap();
    permits.allow_failing(1);
    drop(permits.take_one_failing().unwrap());
    drop(permits);
    let mut permits = destination.acquire(1, NOW).unwrap();
    assert_eq!(permits.allow_failing(1), 1, "its request was not sent");
}

/// A stopped destination gives no second probe while the first probe is on its way.
#[test]
fn a_claim_whose_probe_is_taken_returns_no_probe() {
    let destination = unlimited();
    stop(&destination, NOW);
    let mut permits = destination.acquire(8, later(30)).unwrap();
    assert_eq!(permits.allow_failing(1), 1);
    let probe = permits.take_one_failing();
    assert!(probe.is_some());
    drop(permits);
    let next = destination.next_probe();
    assert_eq!(next, Some(later(60)));
}

// === the rate ===

#[test]
fn only_a_destination_with_a_rate_is_paced() {
    assert!(destination(Rate::PerSecond(1.0)).is_paced());
    assert!(!unlimited().is_paced());
}

#[test]
fn a_search_uses_the_permit_of_its_lane_or_returns_it() {
    let destination = destination(Rate::PerSecond(10.0));
    let mut first = permit(&destination, NOW);
    assert_eq!(first.clear(LaneId(1), &search(), NOW), Clearance::Send);
    assert!(destination.acquire(1, NOW).is_err());
    let soon = NOW.after(Duration::from_millis(100));
    let mut second = permit(&destination, soon);
    let turn = NOW.after(Duration::from_millis(501));
    assert_eq!(
        second.clear(LaneId(2), &search(), soon),
        Clearance::Postpone(turn)
    );
    drop(second);
    assert_eq!(destination.acquire(8, soon).unwrap().count(), 1);
}

#[test]
fn a_call_that_follows_from_an_answer_takes_a_token_of_its_own() {
    let destination = destination(Rate::PerSecond(10.0));
    let mut held = permit(&destination, NOW);
    assert_eq!(held.clear(LaneId(1), &update(), NOW), Clearance::Send);
    let next = NOW.after(Duration::from_millis(101));
    for call in [update(), retrieve()] {
        assert_eq!(held.clear(LaneId(1), &call, NOW), Clearance::Wait(next));
    }
    assert_eq!(held.clear(LaneId(1), &retrieve(), next), Clearance::Send);
    // A search that finds no token of the rate takes no token from the share of searches.
    let token = next.after(Duration::from_millis(101));
    let missing = held.clear(LaneId(1), &search(), next);
    assert!(
        matches!(missing, Clearance::Wait(at) if at <= token),
        "{missing:?}"
    );
    assert_eq!(held.clear(LaneId(1), &search(), token), Clearance::Send);
}

/// FAULTS N18: searches count against the rate, and get at most a fifth of the rate.
#[test]
fn searches_get_a_fifth_of_the_rate_and_each_lane_its_own_turn() {
    let destination = destination(Rate::PerSecond(10.0));
    let mut held = permit(&destination, NOW);
    assert_eq!(held.clear(LaneId(1), &update(), NOW), Clearance::Send);
    let mut searches = 0;
    for tenth in 0..600_u64 {
        let now = NOW.after(Duration::from_millis(tenth * 100));
        searches += u64::from(held.clear(LaneId(1), &search(), now) == Clearance::Send);
    }
    assert!((110..=122).contains(&searches), "{searches} in a minute");
    let minute = later(60);
    let mut turns: Vec<u128> = Vec::new();
    for lane in 2..6 {
        if let Clearance::Postpone(turn) = held.clear(LaneId(lane), &search(), minute) {
            turns.push(turn.since(minute).as_millis());
        }
    }
    assert!(turns.len() >= 3, "{turns:?}");
    assert!(
        turns.windows(2).all(|pair| pair[1] >= pair[0] + 500),
        "{turns:?}"
    );
    for lane in 10..10_010 {
        held.clear(LaneId(lane), &search(), minute);
    }
    let last = held.clear(LaneId(20_000), &search(), minute);
    assert_eq!(
        last,
        Clearance::Postpone(minute.after(Duration::from_hours(1)))
    );
}

/// FAULTS N302: a search waits only for the searches of its own sources.
#[test]
fn a_search_of_another_source_gets_its_own_turn() {
    let destination = destination(Rate::PerSecond(1000.0));
    let search_of = |lane, source: &str| {
        let mut permit = permit(&destination, later(1));
        permit.name_sources(vec![SourceName::parse(source).unwrap()]);
        permit.clear(LaneId(lane), &search(), later(1))
    };
    for lane in 0..20 {
        assert_eq!(search_of(lane, "busy"), Clearance::Send);
    }
    let Clearance::Postpone(first) = search_of(20, "busy") else {
        panic!("the share has more than 20 tokens");
    };
    let after = Clearance::Postpone(first.after(Duration::from_millis(5)));
    assert_eq!(search_of(21, "busy"), after);
    assert_eq!(search_of(22, "calm"), Clearance::Postpone(first));
}

// === several processes ===

/// The token bucket in the store, as the PostgreSQL engine fills it.
struct SharedBucket(f64, Timestamp);

impl SharedBucket {
    fn take(&mut self, order: TokenOrder, now: Timestamp) -> TokenGrant {
        let gained = order.rate * now.since(self.1).as_secs_f64();
        let mut left = (self.0 + gained).min(order.burst);
        let mut count: u32 = 0;
        while left >= 1.0 && f64::from(count) < order.wanted {
            (left, count) = (left - 1.0, count + 1);
        }
        *self = Self(left, now);
        let count = usize::try_from(count).unwrap();
        TokenGrant { count, left }
    }
}

/// Sends the requests for which a process has tokens, and orders further tokens. Returns the number of sent requests.
fn send_and_order(process: &Arc<Destination>, bucket: &mut SharedBucket, now: Timestamp) -> usize {
    let sent = acquired(process, 8, now).map_or(0, |(count, _)| count);
    if let Some(order) = process.order(now) {
        process.ordered(order, bucket.take(order, now), (now, now));
    }
    sent
}

/// FAULTS N1001
#[test]
fn processes_with_one_bucket_keep_the_rate_together_and_use_it() {
    for (rate, processes) in [(20.0, 1), (20.0, 2), (20.0, 4), (200.0, 3), (1.0, 2)] {
        let mut bucket = SharedBucket(1.0, NOW);
        let processes: Vec<_> = (0..processes)
            .map(|_| destination(Rate::PerSecond(rate)))
            .inspect(|process| process.share())
            .collect();
        let mut sent: Vec<u64> = Vec::new();
        for millis in (0..20_000).step_by(5) {
            let now = NOW.after(Duration::from_millis(millis));
            for process in &processes {
                let count = send_and_order(process, &mut bucket, now);
                sent.extend(std::iter::repeat_n(millis, count));
            }
        }
        let count = |count: usize| f64::from(u32::try_from(count).unwrap());
        let total = count(sent.len());
        assert!(total >= 0.95 * 20.0 * rate - 1.0, "{total} at {rate}");
        let most = sent.iter().map(|from| {
            let second = sent.iter().filter(|at| (*from..from + 1_000).contains(*at));
            second.count()
        });
        let most = count(most.max().unwrap());
        assert!(most <= rate + (rate / 4.0).max(1.0), "{most} at {rate}");
    }
}

/// FAULTS N1002: without an answer of the store, no request has a token, and tokens end after a second.
#[test]
fn without_the_store_no_request_has_a_token() {
    let process = destination(Rate::PerSecond(20.0));
    process.share();
    assert!(acquired(&process, 8, NOW).is_err());
    let order = process.order(NOW).unwrap();
    assert!((order.wanted - 5.0).abs() < f64::EPSILON, "{order:?}");
    let grant = TokenGrant {
        count: 2,
        left: 0.0,
    };
    process.ordered(order, grant, (NOW, NOW));
    assert_eq!(acquired(&process, 1, later(0)), Ok((1, false)));
    assert!(acquired(&process, 1, later(1)).is_err(), "it ended");
    let idle = destination(Rate::PerSecond(20.0));
    idle.share();
    assert_eq!(idle.order(later(9)), None, "nothing needs tokens");
}

/// FAULTS N1000: a process takes over the mode of another process.
#[test]
fn a_process_takes_over_the_mode_of_another_process() {
    let process = unlimited();
    let seen = process.mode_changes();
    let before = process.adopt_mode(OperatorMode::Paused, seen);
    assert_eq!(before, Some(OperatorMode::Open));
    assert_eq!(process.adopt_mode(OperatorMode::Paused, seen), None);
    let seen = process.mode_changes();
    process.set_mode(OperatorMode::Shadow);
    assert_eq!(process.adopt_mode(OperatorMode::Open, seen), None);
    assert_eq!(
        process.mode(),
        OperatorMode::Shadow,
        "an operator was faster"
    );
}

/// The agreed state in the store, as the PostgreSQL engine changes it. Its clock is an hour ahead.
#[derive(Default)]
struct AgreedRow {
    revision: u64,
    state: String,
}

impl AgreedRow {
    fn exchange(&mut self, process: &Destination, now: Timestamp) {
        let proposed = process.propose(now);
        let proposal = proposed.as_ref().map(|it| it.proposal.clone());
        let accepted = proposal.filter(|proposal| proposal.revision == self.revision);
        let is_accepted = accepted.is_some();
        if let Some(proposal) = accepted {
            (self.revision, self.state) = (self.revision + 1, proposal.state);
        }
        let is_known = !is_accepted && self.revision > 0;
        let view = AgreedView {
            is_accepted,
            revision: self.revision,
            state: is_known.then(|| self.state.clone()),
            at: now.after(Duration::from_hours(1)),
        };
        process.agree(proposed.as_ref(), &view, now);
    }
}

fn two_processes() -> [Arc<Destination>; 2] {
    [unlimited(), unlimited()].map(|process| {
        process.share();
        process
    })
}

/// FAULTS N1004: only one of several processes probes a stopped destination. If it dies, another process probes later.
/// When a probe succeeds, all processes send.
#[test]
fn one_process_probes_for_all() {
    let mut row = AgreedRow::default();
    let [one, other] = two_processes();
    for process in [&one, &other] {
        row.exchange(process, NOW);
    }
    stop(&one, NOW);
    row.exchange(&one, NOW);
    row.exchange(&other, later(1));
    assert_eq!(other.state().as_str(), "stopped");
    for process in [&one, &other] {
        assert!(acquired(process, 1, later(1)).is_err(), "it must win first");
    }
    row.exchange(&one, later(1));
    row.exchange(&other, later(1));
    assert_eq!(acquired(&one, 1, later(1)), PROBE);
    assert!(acquired(&one, 1, later(1)).is_err());
    assert!(acquired(&other, 1, later(1)).is_err());
    // The first process dies with its probe.
    let at = later(40);
    assert!(acquired(&other, 1, at).is_err(), "it must win first");
    row.exchange(&other, at);
    assert_eq!(acquired(&other, 1, at), PROBE);
    assert_eq!(
        report(&other, 7, Signal::Applied, at).state.as_str(),
        "flowing"
    );
    row.exchange(&other, at);
    row.exchange(&one, at);
    assert_eq!(one.state().as_str(), "flowing");
    assert_eq!(acquired(&one, 8, at), Ok((2, false)), "few lanes at first");
}

/// Returns two processes that know of the stop at the time `later(1)`. The first process has won the probe at this time.
fn stopped_with_a_won_probe(row: &mut AgreedRow) -> [Arc<Destination>; 2] {
    let processes = two_processes();
    for process in &processes {
        row.exchange(process, NOW);
    }
    stop(&processes[0], NOW);
    for process in &processes {
        row.exchange(process, later(1));
    }
    assert!(acquired(&processes[0], 1, later(1)).is_err());
    for process in &processes {
        row.exchange(process, later(1));
    }
    processes
}

/// FAULTS N1004: between the requests of two probes is at least a second, even if a process sends its probe late and dies.
#[test]
fn the_pause_between_shared_probes_begins_with_the_request() {
    for dies in [true, false] {
        let mut row = AgreedRow::default();
        let [one, other] = stopped_with_a_won_probe(&mut row);
        let millis = |millis| later(1).after(Duration::from_millis(millis));
        let sent_at = millis(900);
        let mut permit = permit(&one, sent_at);
        let clearance = permit.clear(LaneId(1), &update(), sent_at);
        assert_eq!(clearance, Clearance::Send);
        if !dies {
            row.exchange(&one, millis(910));
        }
        for at in [1_000, 1_100, 1_800].map(millis) {
            row.exchange(&other, at);
            assert!(acquired(&other, 1, at).is_err());
            row.exchange(&other, at);
            assert!(acquired(&other, 1, at).is_err(), "{dies}");
        }
        let at = if dies { millis(2_000) } else { millis(1_900) };
        assert!(acquired(&other, 1, at).is_err(), "it must win first");
        row.exchange(&other, at);
        assert_eq!(acquired(&other, 1, at), PROBE, "{dies}");
    }
}

/// FAULTS N1004: a probe for which no lane is free stays with its process for a second, without an exchange with the store.
/// Then it is due again.
#[test]
fn a_shared_probe_that_no_lane_uses_is_due_again() {
    let mut row = AgreedRow::default();
    let [one, other] = stopped_with_a_won_probe(&mut row);
    let at = later(1).after(Duration::from_millis(100));
    for _ in 0..3 {
        let unused = one.acquire(1, at).unwrap();
        assert!(unused.is_probe());
        drop(unused);
        assert_eq!(one.propose(at), None);
        assert_eq!(one.next_exchange(at), None);
    }
    assert!(acquired(&one, 1, later(2)).is_err());
    row.exchange(&one, later(2));
    assert_eq!(acquired(&one, 1, later(2)), PROBE);
    row.exchange(&other, later(2));
    assert!(acquired(&other, 1, later(2)).is_err());
}

/// FAULTS N1004, seed 307760 of the simulation: two dispatch threads want one probe, the second while the store answers the
/// proposal of the first. The process wins one probe.
#[test]
fn two_threads_that_want_one_probe_win_it_once() {
    let mut row = AgreedRow::default();
    let [one, _] = two_processes();
    row.exchange(&one, NOW);
    stop(&one, NOW);
    row.exchange(&one, NOW);
    let at = later(30);
    assert!(acquired(&one, 1, at).is_err());
    let proposed = one.propose(at);
    assert!(acquired(&one, 1, at).is_err(), "the second thread");
    let accepted = AgreedView {
        is_accepted: true,
        revision: row.revision + 1,
        state: None,
        at: at.after(Duration::from_hours(1)),
    };
    one.agree(proposed.as_ref(), &accepted, at);
    assert_eq!(acquired(&one, 1, at), PROBE);
    assert_eq!(one.propose(at), None);
    assert!(acquired(&one, 1, at).is_err());
}

/// FAULTS N1004: a process stops later than another process, and does not know that the other process has won a probe.
#[test]
fn a_process_that_stops_later_waits_for_the_probe_of_another_process() {
    let mut row = AgreedRow::default();
    let [one, other] = two_processes();
    for process in [&one, &other] {
        row.exchange(process, NOW);
    }
    stop(&one, NOW);
    row.exchange(&one, later(1));
    assert!(acquired(&one, 1, later(1)).is_err(), "it must win first");
    row.exchange(&one, later(1));
    assert_eq!(acquired(&one, 1, later(1)), PROBE);
    stop(&other, later(2));
    for _ in 0..3 {
        row.exchange(&other, later(2));
        assert!(acquired(&other, 1, later(2)).is_err());
    }
    assert_eq!(other.next_probe(), Some(later(32)));
}

/// FAULTS N1004: a success of a request that was sent later counts more than the failure that stopped the destination.
#[test]
fn a_later_success_of_another_process_starts_the_destination_again() {
    let mut row = AgreedRow::default();
    let [one, other] = two_processes();
    stop(&one, NOW);
    row.exchange(&one, NOW);
    report(&other, 2, Signal::Applied, later(1));
    row.exchange(&other, later(2));
    assert_eq!(other.state().as_str(), "flowing");
    row.exchange(&other, later(2));
    row.exchange(&one, later(3));
    assert_eq!(one.state().as_str(), "flowing");
}

/// FAULTS N1003, N1005: a wait, and a stop, bind a process that knows nothing about Imprint.
#[test]
fn a_new_process_takes_over_the_wait_and_the_stop() {
    let mut row = AgreedRow::default();
    let [one, other] = two_processes();
    // A process compares its clock with the clock of the store before it sends requests.
    for process in [&one, &other] {
        row.exchange(process, NOW);
    }
    for lane in [1, 2] {
        let wait = Signal::Throttled(Some(Duration::from_secs(5)));
        report(&one, lane, wait, NOW);
    }
    row.exchange(&one, NOW);
    row.exchange(&other, NOW);
    assert_eq!(acquired(&other, 8, later(4)), Err(later(5)));
    assert_eq!(acquired(&other, 8, later(5)), LANES_8);
    stop(&one, later(6));
    row.exchange(&one, later(6));
    let [new, _] = two_processes();
    row.exchange(&new, later(7));
    assert_eq!(new.state().as_str(), "stopped");
    // Under another key, the process knows nothing.
    new.key_changed(KeyMark(9), later(8));
    row = AgreedRow::default();
    row.exchange(&new, later(8));
    assert_eq!(row.revision, 1, "it stored its own state");
}

/// FAULTS N1476: while the backlog drains after an outage, Imprint throttles the bridge again and again.
#[test]
fn throttling_does_not_hide_an_outage() {
    let destination = unlimited();
    let record = |to: &'static str, seconds: u64| {
        destination.record_change(StateChange {
            to,
            at: later(seconds),
            outcome: "",
            cause: String::new(),
        });
    };
    record("stopped", 0);
    record("flowing", 60);
    for round in 1..100 {
        record("throttled", 60 + 2 * round);
        record("flowing", 61 + 2 * round);
    }
    let outages = destination.outage_changes().into_iter();
    let states: Vec<_> = outages.map(|change| (change.to, change.at)).collect();
    assert_eq!(states, [("flowing", later(60)), ("stopped", NOW)]);
    assert_eq!(destination.present_change().unwrap().at, later(259));
    for round in 0..100 {
        record("probing", 300 + 2 * round);
        record("flowing", 301 + 2 * round);
    }
    assert_eq!(destination.outage_changes().len(), OUTAGE_CHANGES_MAX);
}
