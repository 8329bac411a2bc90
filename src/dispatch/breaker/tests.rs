//! Tests every transition of the breaker, including the limits of each transition.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const UNKNOWN: Attribution = Attribution::Unknown;

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// Returns the state of the breaker after these signals; each signal has the second at which the breaker receives the
/// signal.
fn after(signals: &[(u64, Signal)]) -> DestinationState {
    let state = DestinationState::FIRST;
    signals.iter().fold(state, |state, (at, signal)| {
        state.after(*signal, UNKNOWN, later(*at), 0.5)
    })
}

fn down() -> DestinationState {
    after(&[(0, Signal::Failed); 10])
}

const fn flowing(failures: u32, ramp: Ramp) -> DestinationState {
    DestinationState::Flowing { failures, ramp }
}

const fn rising(credits: usize, answers: u32) -> Ramp {
    Ramp::Rising { credits, answers }
}

const fn throttled(until: Timestamp, streak: u32) -> DestinationState {
    DestinationState::Throttled { until, streak }
}

const fn probing(probe_at: Timestamp, reason: ProbeReason) -> DestinationState {
    DestinationState::Probing { probe_at, reason }
}

const fn stopped(probe_at: Timestamp) -> DestinationState {
    DestinationState::Stopped { probe_at }
}

const fn lanes(admission: Admission) -> usize {
    match admission {
        Admission::Lanes(lanes) => lanes,
        Admission::Probe => 1,
        Admission::NotBefore(_) => 0,
    }
}

const LANE: LaneId = LaneId(1);
const OTHER: LaneId = LaneId(2);

#[test]
#[expect(clippy::too_many_lines, reason = "one table of all transitions")]
fn each_signal_leads_from_each_state_to_its_next_state() {
    use ProbeReason::{Forbidden, Outage};
    use Signal as S;
    let wait = Duration::from_secs(5);
    let table = [
        // Transitions of the breaker after answers.
        (flowing(3, Ramp::Full), S::Applied, flowing(0, Ramp::Full)),
        (
            flowing(3, rising(1, 7)),
            S::Answered,
            flowing(0, rising(3, 8)),
        ),
        (
            flowing(3, rising(1, 63)),
            S::Applied,
            flowing(0, rising(3, 64)),
        ),
        (
            flowing(3, rising(1, 64)),
            S::Applied,
            flowing(0, Ramp::Full),
        ),
        (throttled(later(1), 2), S::Applied, throttled(later(1), 2)),
        (throttled(NOW, 2), S::Answered, DestinationState::FIRST),
        (probing(NOW, Outage), S::Answered, flowing(0, rising(2, 1))),
        (stopped(later(9)), S::Applied, flowing(0, rising(2, 1))),
        // Transitions of the breaker after answers that show nothing about updates.
        (
            flowing(3, rising(1, 7)),
            S::Unrelated,
            flowing(3, rising(2, 7)),
        ),
        (flowing(3, Ramp::Full), S::Unrelated, flowing(3, Ramp::Full)),
        (stopped(later(9)), S::Unrelated, stopped(later(9))),
        (probing(NOW, Outage), S::Unrelated, probing(NOW, Outage)),
        (throttled(NOW, 2), S::Unrelated, throttled(NOW, 2)),
        // Transitions of the breaker after failures.
        (
            flowing(0, rising(0, 7)),
            S::Failed,
            flowing(1, rising(1, 7)),
        ),
        (flowing(8, Ramp::Full), S::Failed, flowing(9, Ramp::Full)),
        (flowing(9, Ramp::Full), S::Failed, probing(later(1), Outage)),
        (throttled(later(1), 2), S::Failed, throttled(later(1), 2)),
        (throttled(NOW, 2), S::Failed, flowing(1, Ramp::Full)),
        (
            probing(later(9), Forbidden(LANE, 2)),
            S::Failed,
            probing(later(9), Outage),
        ),
        (stopped(later(9)), S::Failed, stopped(later(9))),
        // Transitions of the breaker after a refused API key.
        (flowing(3, Ramp::Full), S::Refused, stopped(later(30))),
        (throttled(later(9), 2), S::Refused, stopped(later(30))),
        (probing(later(9), Outage), S::Refused, stopped(later(30))),
        (stopped(later(9)), S::Refused, stopped(later(9))),
        // Transitions of the breaker after a forbidden operation.
        (
            flowing(3, Ramp::Full),
            S::Forbidden(LANE),
            probing(later(1), Forbidden(LANE, 1)),
        ),
        (
            throttled(later(9), 2),
            S::Forbidden(LANE),
            probing(later(1), Forbidden(LANE, 1)),
        ),
        (
            probing(later(9), Outage),
            S::Forbidden(LANE),
            probing(later(1), Forbidden(LANE, 1)),
        ),
        (
            probing(NOW, Forbidden(LANE, 1)),
            S::Forbidden(LANE),
            probing(later(1), Forbidden(LANE, 2)),
        ),
        (
            probing(NOW, Forbidden(LANE, 2)),
            S::Forbidden(LANE),
            probing(later(5), Forbidden(LANE, 3)),
        ),
        (
            probing(NOW, Forbidden(OTHER, 1)),
            S::Forbidden(LANE),
            stopped(later(30)),
        ),
        (stopped(later(9)), S::Forbidden(LANE), stopped(later(9))),
        // Transitions of the breaker after throttling.
        (
            flowing(3, Ramp::Full),
            S::Throttled(Some(wait)),
            throttled(later(5), 1),
        ),
        (
            probing(later(9), Outage),
            S::Throttled(Some(wait)),
            throttled(later(5), 1),
        ),
        (
            throttled(later(9), 2),
            S::Throttled(Some(wait)),
            throttled(later(9), 2),
        ),
        (
            throttled(later(3), 2),
            S::Throttled(Some(wait)),
            throttled(later(5), 2),
        ),
        (
            throttled(NOW, 2),
            S::Throttled(Some(wait)),
            throttled(later(5), 3),
        ),
        (
            stopped(later(9)),
            S::Throttled(Some(wait)),
            stopped(later(9)),
        ),
    ];
    for (before, signal, expected) in table {
        let state = before.after(signal, UNKNOWN, NOW, 0.5);
        assert_eq!(state, expected, "{before:?} {signal:?}");
    }
}

#[test]
fn a_forbidden_operation_of_a_lane_to_blame_is_a_failure() {
    let state = flowing(3, Ramp::Full).after(Signal::Forbidden(LANE), Attribution::Lane, NOW, 0.5);
    assert_eq!(state, flowing(4, Ramp::Full));
}

#[test]
fn each_state_has_its_name() {
    let forbidden = |times| probing(NOW, ProbeReason::Forbidden(LANE, times));
    let table = [
        (DestinationState::FIRST, "flowing"),
        (probing(NOW, ProbeReason::Outage), "probing"),
        (forbidden(1), "probing"),
        (forbidden(2), "probing"),
        (forbidden(3), "stopped"),
        (throttled(NOW, 1), "throttled"),
        (stopped(NOW), "stopped"),
    ];
    for (state, name) in table {
        assert_eq!(state.as_str(), name, "{state:?}");
        assert!(DestinationState::NAMES.contains(&name));
    }
}

#[test]
fn each_state_admits_lanes_a_probe_or_nothing() {
    let outage = ProbeReason::Outage;
    let table = [
        (flowing(9, Ramp::Full), Admission::Lanes(8)),
        (flowing(0, rising(0, 1)), Admission::NotBefore(later(1))),
        (flowing(0, rising(1, 1)), Admission::Lanes(1)),
        (flowing(0, rising(9, 1)), Admission::Lanes(8)),
        (throttled(later(1), 1), Admission::NotBefore(later(1))),
        (throttled(NOW, 1), Admission::Lanes(8)),
        (probing(later(1), outage), Admission::NotBefore(later(1))),
        (probing(NOW, outage), Admission::Probe),
        (stopped(later(1)), Admission::NotBefore(later(1))),
        (stopped(NOW), Admission::Probe),
    ];
    for (state, expected) in table {
        assert_eq!(state.admits(8, NOW), expected, "{state:?}");
    }
}

#[test]
fn permits_for_lanes_are_valid_while_the_destination_flows() {
    let table = [
        (flowing(9, Ramp::Full), true),
        (flowing(0, rising(0, 1)), true),
        (throttled(later(1), 1), false),
        (throttled(NOW, 1), true),
        (probing(NOW, ProbeReason::Outage), false),
        (stopped(NOW), false),
    ];
    for (state, expected) in table {
        assert_eq!(state.honours_permits(NOW), expected, "{state:?}");
    }
}

#[test]
fn permits_take_and_return_places_in_the_ramp_only() {
    let changed = |mut state: DestinationState, change: fn(&mut DestinationState)| {
        change(&mut state);
        state
    };
    let ramp = |credits| flowing(2, rising(credits, 7));
    assert_eq!(changed(ramp(5), |state| state.take_places(3)), ramp(2));
    assert_eq!(changed(ramp(2), |state| state.take_places(3)), ramp(0));
    assert_eq!(changed(ramp(2), |state| state.return_places(3)), ramp(5));
    for state in [flowing(2, Ramp::Full), throttled(NOW, 1), stopped(NOW)] {
        assert_eq!(changed(state, |state| state.take_places(3)), state);
        assert_eq!(changed(state, |state| state.return_places(3)), state);
    }
}

#[test]
fn the_next_probe_is_due_later_unless_the_last_one_was_returned() {
    let taken = |mut state: DestinationState| {
        state.probe_taken(NOW);
        state
    };
    let returned = |mut state: DestinationState| {
        state.probe_returned(NOW);
        state
    };
    let outage = ProbeReason::Outage;
    assert_eq!(taken(probing(NOW, outage)), probing(later(5), outage));
    assert_eq!(taken(stopped(NOW)), stopped(later(30)));
    assert_eq!(returned(probing(later(5), outage)), probing(NOW, outage));
    assert_eq!(returned(stopped(later(30))), stopped(NOW));
    for state in [flowing(2, Ramp::Full), throttled(later(9), 1)] {
        assert_eq!((taken(state), returned(state)), (state, state));
    }
}

#[test]
fn without_a_hint_the_waits_double() {
    let mut state = DestinationState::FIRST;
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..4 {
        state = state.after(Signal::Throttled(None), UNKNOWN, now, 1.0);
        let DestinationState::Throttled { until, .. } = state else {
            panic!("{state:?}")
        };
        waits.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(waits, [1, 2, 4, 8]);
    let shortest = DestinationState::FIRST.after(Signal::Throttled(None), UNKNOWN, NOW, 0.0);
    assert_eq!(shortest, throttled(later(1), 1));
}

/// FAULTS U34: throttling makes all lanes of the destination wait.
#[test]
fn a_throttled_destination_waits_for_its_hint() {
    let hint = Signal::Throttled(Some(Duration::from_secs(5)));
    let state = after(&[(0, hint), (1, Signal::Applied)]);
    assert_eq!(state.admits(8, later(1)), Admission::NotBefore(later(5)));
    assert_eq!(state.admits(8, later(5)), Admission::Lanes(8));
}

/// FAULTS U01, U35, N19, N20: an outage costs ten requests, and then one probe every 5 s.
#[test]
fn a_destination_that_is_down_is_probed_until_it_answers() {
    for failed in 1..10 {
        let state = after(&vec![(0, Signal::Failed); failed]);
        assert_eq!(state.admits(8, NOW), Admission::Lanes(8), "{failed}");
    }
    let mut state = down();
    assert_eq!(state.admits(8, NOW), Admission::NotBefore(later(1)));
    assert_eq!(state.admits(8, later(1)), Admission::Probe);
    state.probe_taken(later(1));
    state = state.after(Signal::Failed, UNKNOWN, later(2), 0.5);
    assert_eq!(state.admits(8, later(3)), Admission::NotBefore(later(6)));
    assert_eq!(state.admits(8, later(6)), Admission::Probe);
}

/// FAULTS U43: the breaker does not overload a service that has just recovered; each answer admits two more lanes.
#[test]
fn a_recovered_destination_is_ramped_up() {
    let mut state = down().after(Signal::Applied, UNKNOWN, later(9), 0.5);
    let mut rounds = Vec::new();
    for _ in 0..8 {
        let admitted = lanes(state.admits(64, later(9)));
        state.take_places(admitted);
        rounds.push(admitted);
        for _ in 0..admitted {
            state = state.after(Signal::Applied, UNKNOWN, later(9), 0.5);
        }
    }
    assert_eq!(rounds, [2, 4, 8, 16, 32, 64, 64, 64]);
}

#[test]
fn a_ramp_never_runs_dry() {
    let mut state = down().after(Signal::Answered, UNKNOWN, later(9), 0.5);
    state.take_places(2);
    assert_eq!(lanes(state.admits(8, later(9))), 0);
    state = state.after(Signal::Failed, UNKNOWN, later(9), 0.5);
    assert_eq!(state.admits(8, later(9)), Admission::Lanes(1));
    state.take_places(1);
    state.return_places(1);
    assert_eq!(state.admits(8, later(9)), Admission::Lanes(1));
}

/// FAULTS O06, V9: the failures of one customer between successes of other customers are not an outage.
#[test]
fn failures_among_successes_are_no_outage() {
    let mut state = DestinationState::FIRST;
    for _ in 0..100 {
        for signal in [Signal::Failed, Signal::Failed, Signal::Applied] {
            state = state.after(signal, Attribution::Lane, NOW, 0.5);
            assert_eq!(state.as_str(), "flowing");
        }
    }
}

/// FAULTS U34, U35: the breaker detects an outage that follows a 429 answer.
#[test]
fn a_wait_that_is_over_hides_no_outage() {
    let mut signals = vec![(0, Signal::Throttled(Some(Duration::from_secs(1))))];
    signals.extend([(2, Signal::Failed); 10]);
    assert_eq!(after(&signals).as_str(), "probing");
}

/// FAULTS U26, M05: a forbidden operation for one customer does not stop other customers; a forbidden operation for a
/// second customer stops the destination, like a refused key.
#[test]
fn a_forbidden_operation_stops_the_destination_once_a_second_customer_has_seen_it() {
    let once = after(&[(0, Signal::Forbidden(LANE))]);
    assert_eq!(once.admits(8, NOW), Admission::NotBefore(later(1)));
    assert_eq!(once.admits(8, later(1)), Admission::Probe);
    let served = once.after(Signal::Applied, UNKNOWN, later(1), 0.5);
    assert_eq!(served.as_str(), "flowing");
    let second = once.after(Signal::Forbidden(OTHER), UNKNOWN, later(1), 0.5);
    assert_eq!(second.admits(8, later(2)), Admission::NotBefore(later(31)));
    assert_eq!(second.as_str(), "stopped");
}
