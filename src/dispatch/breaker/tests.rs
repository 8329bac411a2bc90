//! Tests every transition of the breaker, including the limits of each transition.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const DESTINATION: Blame = Blame::Destination;

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// Returns the state of the breaker after these signals; each signal has the second at which the breaker receives the
/// signal.
fn after(signals: &[(u64, Signal)]) -> DestinationState {
    let state = DestinationState::FIRST;
    signals.iter().fold(state, |state, (at, signal)| {
        state.after(*signal, DESTINATION, later(*at), 0.5)
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

const fn probing(next: Timestamp) -> DestinationState {
    probing_and_throttled(next, None)
}

const fn probing_and_throttled(next: Timestamp, until: Option<Timestamp>) -> DestinationState {
    DestinationState::Probing(Probes {
        next,
        arrival: NOW,
        until,
    })
}

const fn stopped(next: Timestamp) -> DestinationState {
    stopped_and_throttled(next, None)
}

const fn stopped_and_throttled(next: Timestamp, until: Option<Timestamp>) -> DestinationState {
    DestinationState::Stopped(Probes {
        next,
        arrival: NOW,
        until,
    })
}

const fn lanes(admission: Admission) -> usize {
    match admission {
        Admission::Lanes(lanes) => lanes,
        Admission::Probe | Admission::ArrivalProbe => 1,
        Admission::NotBefore(_) => 0,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of all transitions")]
fn each_signal_leads_from_each_state_to_its_next_state() {
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
        (probing(NOW), S::Answered, flowing(0, rising(2, 1))),
        (stopped(later(9)), S::Applied, flowing(0, rising(2, 1))),
        // Transitions of the breaker after answers that show nothing about updates.
        (
            flowing(3, rising(1, 7)),
            S::Unrelated,
            flowing(3, rising(2, 7)),
        ),
        (flowing(3, Ramp::Full), S::Unrelated, flowing(3, Ramp::Full)),
        (stopped(later(9)), S::Unrelated, stopped(later(9))),
        (probing(NOW), S::Unrelated, probing(NOW)),
        (throttled(NOW, 2), S::Unrelated, throttled(NOW, 2)),
        // Transitions of the breaker after failures.
        (
            flowing(0, rising(0, 7)),
            S::Failed,
            flowing(1, rising(1, 7)),
        ),
        (flowing(8, Ramp::Full), S::Failed, flowing(9, Ramp::Full)),
        (flowing(9, Ramp::Full), S::Failed, probing(later(1))),
        (throttled(later(1), 2), S::Failed, throttled(later(1), 2)),
        (throttled(NOW, 2), S::Failed, flowing(1, Ramp::Full)),
        (probing(later(9)), S::Failed, probing(later(9))),
        (stopped(later(9)), S::Failed, stopped(later(9))),
        // Transitions of the breaker after a refused API key.
        (flowing(3, Ramp::Full), S::Refused, stopped(later(30))),
        (
            throttled(later(9), 2),
            S::Refused,
            stopped_and_throttled(later(30), Some(later(9))),
        ),
        (probing(later(9)), S::Refused, stopped(later(30))),
        (stopped(later(9)), S::Refused, stopped(later(9))),
        // Transitions of the breaker after a forbidden operation.
        (flowing(3, Ramp::Full), S::Forbidden, stopped(later(30))),
        (
            throttled(later(9), 2),
            S::Forbidden,
            stopped_and_throttled(later(30), Some(later(9))),
        ),
        (probing(later(9)), S::Forbidden, stopped(later(30))),
        (stopped(later(9)), S::Forbidden, stopped(later(9))),
        // Transitions of the breaker after throttling.
        (
            flowing(3, Ramp::Full),
            S::Throttled(Some(wait)),
            throttled(later(5), 1),
        ),
        (
            probing(later(9)),
            S::Throttled(Some(wait)),
            probing_and_throttled(later(9), Some(later(5))),
        ),
        (
            probing_and_throttled(later(9), Some(later(7))),
            S::Applied,
            probing_and_throttled(later(7), Some(later(7))),
        ),
        (
            probing_and_throttled(later(9), Some(later(7))),
            S::Refused,
            stopped_and_throttled(later(30), Some(later(7))),
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
            stopped_and_throttled(later(9), Some(later(5))),
        ),
        (
            stopped_and_throttled(later(9), Some(later(7))),
            S::Throttled(Some(wait)),
            stopped_and_throttled(later(9), Some(later(7))),
        ),
        (
            stopped_and_throttled(later(9), Some(later(7))),
            S::Applied,
            stopped_and_throttled(later(7), Some(later(7))),
        ),
        (
            stopped_and_throttled(later(9), Some(NOW)),
            S::Applied,
            flowing(0, rising(2, 1)),
        ),
    ];
    for (before, signal, expected) in table {
        let state = before.after(signal, DESTINATION, NOW, 0.5);
        assert_eq!(state, expected, "{before:?} {signal:?}");
    }
}

/// FAULTS U51: a failure that the destination did not cause changes no state, and frees its place in the ramp.
#[test]
fn a_failure_without_proof_changes_nothing() {
    let signals = [
        Signal::Throttled(Some(Duration::from_secs(9))),
        Signal::Refused,
        Signal::Forbidden,
    ];
    for blame in [Blame::Lane, Blame::Unproven] {
        for signal in signals {
            for state in [throttled(NOW, 2), probing(NOW), stopped(NOW)] {
                assert_eq!(state.after(signal, blame, NOW, 0.5), state, "{signal:?}");
            }
            let state = flowing(3, rising(1, 7)).after(signal, blame, NOW, 0.5);
            assert_eq!(state, flowing(3, rising(2, 7)), "{signal:?} {blame:?}");
        }
    }
    let own = flowing(9, Ramp::Full).after(Signal::Failed, Blame::Lane, NOW, 0.5);
    assert_eq!(own, flowing(9, Ramp::Full));
    let unproven = flowing(9, Ramp::Full).after(Signal::Failed, Blame::Unproven, NOW, 0.5);
    assert_eq!(unproven, flowing(10, Ramp::Full));
    let proven = unproven.after(Signal::Failed, DESTINATION, NOW, 0.5);
    assert_eq!(proven, probing(later(1)));
}

/// A witness that Imprint returns ends the count of failures, and ends no wait.
#[test]
fn a_witness_ends_the_count_of_failures() {
    let state = flowing(7, rising(1, 7)).witnessed();
    assert_eq!(state, flowing(0, rising(1, 7)));
    for state in [throttled(NOW, 2), probing(NOW), stopped(NOW)] {
        assert_eq!((state.witnessed(), state.failures()), (state, 0));
    }
    assert_eq!(flowing(7, Ramp::Full).failures(), 7);
}

#[test]
fn each_state_has_its_name() {
    let table = [
        (DestinationState::FIRST, "flowing"),
        (probing(NOW), "probing"),
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
    let table = [
        (flowing(9, Ramp::Full), Admission::Lanes(8)),
        (flowing(0, rising(0, 1)), Admission::NotBefore(later(1))),
        (flowing(0, rising(1, 1)), Admission::Lanes(1)),
        (flowing(0, rising(9, 1)), Admission::Lanes(8)),
        (throttled(later(1), 1), Admission::NotBefore(later(1))),
        (throttled(NOW, 1), Admission::Lanes(8)),
        (probing(later(1)), Admission::ArrivalProbe),
        (probing(NOW), Admission::Probe),
        (stopped(later(1)), Admission::ArrivalProbe),
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
        (probing(NOW), false),
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
    let probes = |next, arrival| Probes {
        next,
        arrival,
        until: None,
    };
    let taken = |mut state: DestinationState, is_arrival| {
        state.probe_taken(is_arrival, NOW);
        state
    };
    let returned = |mut state: DestinationState, is_arrival| {
        state.probe_returned(is_arrival, NOW);
        state
    };
    let probing: fn(Probes) -> DestinationState = DestinationState::Probing;
    let stopped: fn(Probes) -> DestinationState = DestinationState::Stopped;
    for (state, every) in [(probing, 5), (stopped, 30)] {
        let due = state(probes(NOW, NOW));
        let regular = state(probes(later(every), later(1)));
        assert_eq!(taken(due, false), regular);
        assert_eq!(returned(regular, false), due);
        let arrival = state(probes(NOW, later(1)));
        assert_eq!(taken(due, true), arrival, "the regular probe stays due");
        assert_eq!(returned(arrival, true), due);
        assert_eq!(regular.next_probe(), Some(later(every)));
        let soon = NOW.after(Duration::from_millis(900));
        assert_eq!(regular.admits(8, soon), Admission::NotBefore(later(1)));
        assert_eq!(regular.admits(8, later(1)), Admission::ArrivalProbe);
        assert_eq!(regular.admits(8, later(every)), Admission::Probe);
    }
    for state in [flowing(2, Ramp::Full), throttled(later(9), 1)] {
        assert_eq!((taken(state, false), returned(state, true)), (state, state));
        assert_eq!(state.next_probe(), None);
    }
}

#[test]
fn without_a_hint_the_waits_double() {
    let mut state = DestinationState::FIRST;
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..4 {
        state = state.after(Signal::Throttled(None), DESTINATION, now, 1.0);
        let DestinationState::Throttled { until, .. } = state else {
            panic!("{state:?}")
        };
        waits.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(waits, [1, 2, 4, 8]);
    let shortest = DestinationState::FIRST.after(Signal::Throttled(None), DESTINATION, NOW, 0.0);
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
    assert_eq!(state.admits(8, NOW), Admission::ArrivalProbe);
    assert_eq!(state.admits(8, later(1)), Admission::Probe);
    state.probe_taken(false, later(1));
    state = state.after(Signal::Failed, DESTINATION, later(2), 0.5);
    assert_eq!(state.admits(8, later(3)), Admission::ArrivalProbe);
    assert_eq!(state.admits(8, later(6)), Admission::Probe);
}

/// FAULTS U43: the breaker does not overload a service that has just recovered; each answer admits two more lanes.
#[test]
fn a_recovered_destination_is_ramped_up() {
    let mut state = down().after(Signal::Applied, DESTINATION, later(9), 0.5);
    let mut rounds = Vec::new();
    for _ in 0..8 {
        let admitted = lanes(state.admits(64, later(9)));
        state.take_places(admitted);
        rounds.push(admitted);
        for _ in 0..admitted {
            state = state.after(Signal::Applied, DESTINATION, later(9), 0.5);
        }
    }
    assert_eq!(rounds, [2, 4, 8, 16, 32, 64, 64, 64]);
}

#[test]
fn a_ramp_never_runs_dry() {
    let mut state = down().after(Signal::Answered, DESTINATION, later(9), 0.5);
    state.take_places(2);
    assert_eq!(lanes(state.admits(8, later(9))), 0);
    state = state.after(Signal::Failed, DESTINATION, later(9), 0.5);
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
            state = state.after(signal, DESTINATION, NOW, 0.5);
            assert_eq!(state.as_str(), "flowing");
        }
    }
}

/// FAULTS U34: a destination that is stopped, and asks for a wait in the answer to a probe, gets no probe before the
/// end of the wait; also if a probe that was taken before comes back unused.
#[test]
fn a_stopped_destination_that_throttles_is_left_alone() {
    let mut state = after(&[(0, Signal::Refused)]);
    state.probe_taken(true, NOW);
    assert_eq!(state.admits(8, later(1)), Admission::ArrivalProbe);
    state.probe_taken(true, later(1));
    let hint = Signal::Throttled(Some(Duration::from_secs(40)));
    state = state.after(hint, DESTINATION, later(1), 0.5);
    state.probe_returned(true, later(1));
    assert_eq!(state.next_probe(), Some(later(41)));
    for soon in [2, 30, 40] {
        assert_eq!(
            state.admits(8, later(soon)),
            Admission::NotBefore(later(41))
        );
    }
    assert_eq!(state.admits(8, later(41)), Admission::Probe);
}

/// FAULTS U34, U43: an answer that comes during the wait of a stopped or probed destination ends neither the wait nor the
/// state. The first probe after the wait ends the state, with a ramp.
#[test]
fn a_stopped_or_probed_destination_recovers_after_its_wait() {
    let hint = Signal::Throttled(Some(Duration::from_secs(5)));
    for (before, name) in [
        (after(&[(0, Signal::Refused)]), "stopped"),
        (down(), "probing"),
    ] {
        let waiting = before.after(hint, DESTINATION, later(1), 0.5);
        let mut state = waiting.after(Signal::Applied, DESTINATION, later(2), 0.5);
        assert_eq!((state.as_str(), state.wait()), (name, Some(later(6))));
        assert_eq!(state.admits(8, later(5)), Admission::NotBefore(later(6)));
        assert_eq!(state.admits(8, later(6)), Admission::Probe);
        state.probe_taken(false, later(6));
        state = state.after(Signal::Applied, DESTINATION, later(7), 0.5);
        assert_eq!(state, flowing(0, rising(2, 1)), "{name}");
    }
}

/// FAULTS U34, U35: the breaker detects an outage that follows a 429 answer.
#[test]
fn a_wait_that_is_over_hides_no_outage() {
    let mut signals = vec![(0, Signal::Throttled(Some(Duration::from_secs(1))))];
    signals.extend([(2, Signal::Failed); 10]);
    assert_eq!(after(&signals).as_str(), "probing");
}
