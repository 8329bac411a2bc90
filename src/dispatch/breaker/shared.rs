//! The state of the destination as the processes of a store share it. This module is pure: it does no IO and reads no
//! clock.
//!
//! The stored times follow the clock of the store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DestinationState, FAILURES_MAX, Probes, RAMP_FIRST, Ramp};
use crate::time::Timestamp;

/// The largest difference between two comparisons of the clocks.
pub(in crate::dispatch) const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// The stored form of a state. All times are milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::dispatch) struct StoredState {
    state: StateName,
    /// The time when the process stored the state.
    at: i64,
    /// The time when the process sent the request whose answer decided about the state.
    sent_at: i64,
    /// The times of the next probes: by any lane, and by a lane that has not failed.
    probes: Option<(i64, i64)>,
    /// The end of the wait that Imprint asked for.
    until: Option<i64>,
    streak: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateName {
    Flowing,
    Probing,
    Throttled,
    Stopped,
}

/// The difference between the clock of the store and the clock of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dispatch) struct ClockShift {
    /// The time by which the store is ahead, in milliseconds.
    millis: i64,
}

impl ClockShift {
    /// Compares the time of the store with the time of this process at the same moment.
    pub(in crate::dispatch) const fn between(store: Timestamp, process: Timestamp) -> Self {
        let millis = store.as_millis().saturating_sub(process.as_millis());
        Self { millis }
    }

    const fn stored(self, time: Timestamp) -> i64 {
        time.as_millis().saturating_add(self.millis)
    }

    const fn of_process(self, stored: i64) -> Timestamp {
        Timestamp::from_millis(stored.saturating_sub(self.millis))
    }
}

impl StoredState {
    /// Returns the stored form of a state at the time `now`. `sent_at` is the time of the request that decided about the
    /// state.
    pub(in crate::dispatch) fn of(
        state: DestinationState,
        (sent_at, now): (Timestamp, Timestamp),
        shift: ClockShift,
    ) -> Self {
        let (name, streak) = match state {
            DestinationState::Flowing { .. } => (StateName::Flowing, 0),
            DestinationState::Probing(_) => (StateName::Probing, 0),
            DestinationState::Throttled { streak, .. } => (StateName::Throttled, streak),
            DestinationState::Stopped(_) => (StateName::Stopped, 0),
        };
        Self {
            state: name,
            at: shift.stored(now),
            sent_at: shift.stored(sent_at),
            probes: state
                .probes()
                .map(|probes| (shift.stored(probes.next), shift.stored(probes.arrival))),
            until: state.wait().map(|until| shift.stored(until)),
            streak,
        }
    }

    /// Returns the shift by which a process reads the times of this state at the time `now`.
    ///
    /// If the clock of the store has gone back since a process stored the state, the rest of a wait would be too long. The
    /// process then reads the times as if the state had just been stored.
    pub(in crate::dispatch) fn shift(self, shift: ClockShift, now: Timestamp) -> ClockShift {
        let ahead = shift.of_process(self.at).since(now);
        match ahead > CLOCKS_DIFFER {
            true => ClockShift {
                millis: self.at.saturating_sub(now.as_millis()),
            },
            false => shift,
        }
    }

    /// Returns the time of the request that decided about the state, by the clock of this process.
    pub(in crate::dispatch) const fn sent_at(self, shift: ClockShift) -> Timestamp {
        shift.of_process(self.sent_at)
    }

    /// Returns this state for a process in the state `before`.
    ///
    /// If Imprint works again for a different process, this process sends few lanes at first, and its next failure makes
    /// it probe again.
    pub(in crate::dispatch) fn for_process(
        self,
        before: DestinationState,
        shift: ClockShift,
    ) -> DestinationState {
        let until = self.until.map(|until| shift.of_process(until));
        let probes = self.probes.map(|(next, arrival)| Probes {
            next: shift.of_process(next),
            arrival: shift.of_process(arrival),
            until,
        });
        match (self.state, probes, until, before) {
            (StateName::Probing, Some(probes), ..) => DestinationState::Probing(probes),
            (StateName::Stopped, Some(probes), ..) => DestinationState::Stopped(probes),
            (StateName::Throttled, _, Some(until), _) => DestinationState::Throttled {
                until,
                streak: self.streak,
            },
            (_, _, _, DestinationState::Flowing { .. }) => before,
            (_, _, _, DestinationState::Throttled { .. }) => DestinationState::FIRST,
            (_, _, _, DestinationState::Probing(_) | DestinationState::Stopped(_)) => {
                DestinationState::Flowing {
                    failures: FAILURES_MAX.saturating_sub(1),
                    ramp: Ramp::Rising {
                        credits: RAMP_FIRST,
                        answers: 1,
                    },
                }
            }
        }
    }
}

impl DestinationState {
    /// Returns the part of the state that processes share: a flowing process keeps its failures and its ramp.
    pub(in crate::dispatch) const fn outline(self) -> Self {
        match self {
            Self::Flowing { .. } => Self::FIRST,
            Self::Probing(_) | Self::Throttled { .. } | Self::Stopped(_) => self,
        }
    }

    /// Returns whether dispatch sends only probes.
    pub(in crate::dispatch) const fn is_probed(self) -> bool {
        self.probes().is_some()
    }

    /// Returns this state with no probe before the probes that `other` allows, if both are the same state.
    #[must_use]
    pub(in crate::dispatch) fn not_probed_before(self, other: Self) -> Self {
        match (self, other) {
            (Self::Probing(mine), Self::Probing(theirs)) => Self::Probing(mine.not_before(theirs)),
            (Self::Stopped(mine), Self::Stopped(theirs)) => Self::Stopped(mine.not_before(theirs)),
            (
                Self::Flowing { .. } | Self::Probing(_) | Self::Throttled { .. } | Self::Stopped(_),
                _,
            ) => self,
        }
    }

    const fn probes(self) -> Option<Probes> {
        match self {
            Self::Flowing { .. } | Self::Throttled { .. } => None,
            Self::Probing(probes) | Self::Stopped(probes) => Some(probes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_state_is_the_same_under_another_clock() {
        let probes = Probes {
            next: at(5_000),
            arrival: at(1_000),
            until: None,
        };
        let waiting = probes.wait_until(at(7_000));
        let until = at(3_000);
        for state in [
            DestinationState::FIRST,
            DestinationState::Probing(probes),
            DestinationState::Stopped(waiting),
            DestinationState::Throttled { until, streak: 3 },
        ] {
            let shift = ClockShift::between(at(90_000), at(1_000));
            let stored = StoredState::of(state, (at(500), at(600)), shift);
            let text = serde_json::to_string(&stored).unwrap();
            let read: StoredState = serde_json::from_str(&text).unwrap();
            assert_eq!(read.for_process(DestinationState::FIRST, shift), state);
            assert_eq!(read.sent_at(shift), at(500));
            assert_eq!(read.sent_at(ClockShift::default()), at(89_500));
        }
    }

    /// FAULTS N1175: the clock of the store is behind the time when a process stored the state, or ahead.
    #[test]
    fn no_wait_is_longer_after_the_clock_of_the_store_went_back() {
        let until = at(93_000);
        let state = DestinationState::Throttled { until, streak: 1 };
        let stored = StoredState::of(state, (at(89_500), at(90_000)), ClockShift::default());
        for (store, until) in [
            (86_000, 4_000),
            (89_000, 5_000),
            (90_000, 4_000),
            (95_000, -1_000),
        ] {
            let now = at(1_000);
            let shift = stored.shift(ClockShift::between(at(store), now), now);
            let read = stored.for_process(DestinationState::FIRST, shift);
            assert_eq!(read.wait(), Some(at(until)), "{store}");
        }
    }

    #[test]
    fn a_recovery_of_another_process_begins_with_few_lanes() {
        let shift = ClockShift::default();
        let flowing = StoredState::of(DestinationState::FIRST, (at(0), at(0)), shift);
        let probing = DestinationState::Probing(Probes {
            next: at(0),
            arrival: at(0),
            until: None,
        });
        let DestinationState::Flowing { failures, ramp } = flowing.for_process(probing, shift)
        else {
            panic!("it does not flow");
        };
        assert_eq!(failures + 1, FAILURES_MAX);
        assert_ne!(ramp, Ramp::Full);
    }
}
