//! The times of the probes of a destination that is down or stopped. This module is pure: it does no IO and reads no
//! clock.

use std::time::Duration;

use super::Admission;
use crate::time::Timestamp;

/// The times of the next probes of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// The time from which any lane can probe.
    pub next: Timestamp,
    /// The time from which a lane that has not failed can probe. Before this time, no lane can probe.
    pub arrival: Timestamp,
    /// The end of the wait that Imprint asked for. Before this time, no lane can probe.
    pub until: Option<Timestamp>,
}

impl Probes {
    /// Returns the times of the first probes. A lane that has not failed can probe at once.
    pub(super) fn after(wait: Duration, now: Timestamp) -> Self {
        Self {
            next: now.after(wait),
            arrival: now,
            until: None,
        }
    }

    /// Returns the time when the next probe by any lane is due.
    pub fn due(self) -> Timestamp {
        self.until.map_or(self.next, |until| self.next.max(until))
    }

    /// Records that Imprint asked for a wait. A longer wait from before stays.
    pub(super) fn wait_until(self, until: Timestamp) -> Self {
        Self {
            until: self.until.max(Some(until)),
            ..self
        }
    }

    /// Returns the probes with no probe before the probes that `other` allows.
    pub(super) fn not_before(self, other: Self) -> Self {
        Self {
            next: self.next.max(other.next),
            arrival: self.arrival.max(other.arrival),
            ..self
        }
    }

    /// Makes the next probe due at the end of the wait that Imprint asked for.
    pub(super) fn due_after_wait(self) -> Self {
        Self {
            next: self.until.unwrap_or(self.next),
            ..self
        }
    }

    pub(super) fn admits(self, now: Timestamp) -> Admission {
        let first = self
            .until
            .map_or(self.arrival, |until| self.arrival.max(until));
        if now < first {
            Admission::NotBefore(first)
        } else if now < self.next {
            Admission::ArrivalProbe
        } else {
            Admission::Probe
        }
    }
}
