//! The circuit breaker: the state of the destination (Imprint), and how each result of a request changes the state.
//! This module is pure: it does no IO and reads no clock.
//!
//! | state | entered when | left when | after a restart |
//! |---|---|---|---|
//! | flowing | at the start; Imprint answers a request in a different state | a different state begins | flowing |
//! | throttled | Imprint throttles the destination | the wait is over and Imprint answered a request | throttled |
//! | probing | 10 requests in a row fail | Imprint answers a probe | flowing |
//! | stopped | Imprint refuses the key, the operation, or many customers in a row | Imprint answers a probe | flowing |
//!
//! A failure changes the state only if the destination caused the failure: [`evidence`](super::evidence) decides about
//! the cause. In the states probing and stopped, dispatch also sends requests of lanes that have not failed, but at
//! most one request a second.
//!
//! Imprint can also ask for a wait in the states probing and stopped. Dispatch then sends no probe before the end of
//! the wait, not even with a new API key.
//!
//! The store keeps only the end of a wait that Imprint asked for. After a restart, every other state begins again when
//! requests fail.

use std::time::Duration;

use super::backoff::backoff;
use super::evidence::Blame;
use crate::time::Timestamp;

pub use self::probes::Probes;
pub(super) use self::shared::{CLOCKS_DIFFER, ClockShift, StoredState};

mod probes;
mod shared;

/// The interval between two probes of a stopped destination.
const STOPPED_PROBE_EVERY: Duration = Duration::from_secs(30);
/// The number of requests in a row that must fail before the breaker treats the destination as down.
///
/// A single customer with invalid data causes fewer failures in a row. In an outage, only this small number of requests
/// fails before the breaker stops the other requests.
const FAILURES_MAX: u32 = 10;
/// The delay before the first probe of a destination that went down.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// The interval between further probes of a destination that is down.
const DOWN_PROBE_EVERY: Duration = Duration::from_secs(5);
/// The shortest interval between two probes by lanes that have not failed.
///
/// Such a lane does not wait for the next regular probe: a failure of other customers should not delay this customer.
const ARRIVAL_PROBE_EVERY: Duration = Duration::from_secs(1);
/// The shortest wait after a 429 answer without `Retry-After`.
const THROTTLE_MIN: Duration = Duration::from_secs(1);
/// The number of lanes that the breaker admits when the destination has recovered.
///
/// Each answer admits two more lanes, so the number doubles with every round trip (like the slow start of TCP, RFC
/// 5681). This slow start is called *ramp*, and protects a service that has just started from overload.
const RAMP_FIRST: usize = 2;
/// The number of answers after which the ramp ends and the breaker admits all lanes.
const RAMP_ANSWERS: u32 = 64;

/// What the result of a request shows about the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Imprint applied an update.
    Applied,
    /// Imprint answered a search, and the answer concerns only one customer.
    Answered,
    /// Imprint rejected the content of an update, and the answer contains an error type that only Imprint uses.
    Rejected,
    /// An answer without Imprint's error type rejected an update: possibly a gateway rejects the updates of every
    /// customer.
    Unexplained,
    /// The answer says that the customer does not exist. Possibly a gateway gives this answer for every customer.
    Missing,
    /// Imprint answered, and the answer does not show whether Imprint accepts updates.
    Unrelated,
    /// Imprint could not be reached, or answered with a server error.
    Failed,
    /// Imprint answered 429. The value is the time in the header `Retry-After`, if the answer has this header.
    Throttled(Option<Duration>),
    /// Imprint refused our API key or our certificate or redirected us, or Imprint's certificate is wrong.
    Refused,
    /// Imprint knows the customer of the lane, but the API key does not permit the operation.
    Forbidden,
}

/// The party that caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Nothing shows whether the lane or the destination caused the failure.
    Unknown,
    /// The lane caused the failure: Imprint applied a request of a different lane since this lane last failed.
    Lane,
}

/// The number of lanes that dispatch can send while the state is flowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// Dispatch sends as many lanes as the rate limit and the concurrency allow.
    Full,
    /// The destination has just recovered. The breaker admits few lanes at first, and more lanes after each answer.
    Rising {
        /// The number of lanes that dispatch can send before the next answer.
        credits: usize,
        /// The number of answers since the destination recovered.
        answers: u32,
    },
}

/// The state of the destination in the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    /// Dispatch sends all due lanes.
    Flowing {
        /// The number of requests to Imprint that have failed in a row.
        failures: u32,
        /// The limit on the number of lanes after a recovery.
        ramp: Ramp,
    },
    /// The destination is down. Dispatch sends only probes, and counts no failed attempts of entries.
    Probing(Probes),
    /// Imprint asked for a wait (429). Dispatch sends nothing.
    Throttled {
        /// The end of the wait that Imprint asked for.
        until: Timestamp,
        /// The number of 429 answers in a row without `Retry-After`.
        streak: u32,
    },
    /// Imprint refuses our API key, or forbids the operation. Dispatch sends only probes.
    Stopped(Probes),
}

impl DestinationState {
    /// The names of all destination states. The first name belongs to [`Self::FIRST`].
    pub const NAMES: [&'static str; 4] = ["flowing", "probing", "throttled", "stopped"];

    /// The state of the destination before the first result is known.
    pub const FIRST: Self = Self::Flowing {
        failures: 0,
        ramp: Ramp::Full,
    };

    /// Returns the name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flowing { .. } => "flowing",
            Self::Probing(_) => "probing",
            Self::Throttled { .. } => "throttled",
            Self::Stopped(_) => "stopped",
        }
    }

    /// Returns the state of the destination after this signal.
    #[must_use]
    pub fn after(self, signal: Signal, blame: Blame, now: Timestamp, jitter: f64) -> Self {
        match (signal, blame) {
            (Signal::Rejected | Signal::Missing, Blame::Destination) => self.stopped(now),
            (Signal::Applied | Signal::Answered | Signal::Rejected | Signal::Missing, _) => {
                self.answered(now)
            }
            (Signal::Unrelated, _) | (_, Blame::Lane) => self.unrelated(),
            (Signal::Failed, blame) => self.failed(blame == Blame::Destination, now),
            (_, Blame::Unproven) => self.unrelated(),
            (Signal::Throttled(hint), Blame::Destination) => self.throttled(hint, now, jitter),
            (Signal::Refused | Signal::Forbidden | Signal::Unexplained, Blame::Destination) => {
                self.stopped(now)
            }
        }
    }

    /// Returns the end of the wait that Imprint asked for.
    pub(super) const fn wait(self) -> Option<Timestamp> {
        match self {
            Self::Throttled { until, .. } => Some(until),
            Self::Probing(probes) | Self::Stopped(probes) => probes.until,
            Self::Flowing { .. } => None,
        }
    }

    /// Returns whether Imprint asked for a wait that is not over.
    pub(super) fn waits(self, now: Timestamp) -> bool {
        self.wait().is_some_and(|until| now < until)
    }

    /// Returns the number of requests that failed in a row.
    pub const fn failures(self) -> u32 {
        match self {
            Self::Flowing { failures, .. } => failures,
            Self::Probing(_) | Self::Throttled { .. } | Self::Stopped(_) => 0,
        }
    }

    /// Returns the state after an answer of Imprint. An answer does not end a wait that Imprint asked for.
    fn answered(self, now: Timestamp) -> Self {
        match self {
            Self::Throttled { until, .. } if now < until => self,
            Self::Throttled { .. } => Self::FIRST,
            Self::Flowing { ramp, .. } => Self::Flowing {
                failures: 0,
                ramp: ramp.after_answer(),
            },
            // Only a probe after the wait ends these states, so that the recovery has a ramp and is reported.
            Self::Stopped(probes) if self.waits(now) => Self::Stopped(probes.due_after_wait()),
            Self::Probing(probes) if self.waits(now) => Self::Probing(probes.due_after_wait()),
            Self::Probing(_) | Self::Stopped(_) => Self::Flowing {
                failures: 0,
                ramp: Ramp::Rising {
                    credits: RAMP_FIRST,
                    answers: 1,
                },
            },
        }
    }

    /// Returns the state after Imprint has returned a witness, a customer whose update Imprint applied before.
    ///
    /// The failures in a row start again at 0. The states probing, throttled and stopped do not end, because a retrieve
    /// does not show that Imprint accepts updates.
    pub(super) const fn witnessed(self) -> Self {
        match self {
            Self::Flowing { ramp, .. } => Self::Flowing { failures: 0, ramp },
            Self::Probing(_) | Self::Throttled { .. } | Self::Stopped(_) => self,
        }
    }

    /// Returns the state after an answer that shows nothing about updates. If a ramp limits the lanes, one more lane
    /// can start.
    const fn unrelated(mut self) -> Self {
        self.return_places(1);
        self
    }

    /// Returns the state after a failure. If `may_open` is false, the failure does not change the state to probing.
    fn failed(self, may_open: bool, now: Timestamp) -> Self {
        match self {
            Self::Flowing { failures, .. } if may_open && failures + 1 >= FAILURES_MAX => {
                Self::Probing(Probes::after(PROBE_FIRST, now))
            }
            Self::Flowing { failures, ramp } => Self::Flowing {
                failures: (failures + 1).min(FAILURES_MAX),
                ramp: ramp.with(1),
            },
            // The wait that Imprint asked for is over, so this failure is the first failure in a row.
            Self::Throttled { until, .. } if now >= until => Self::Flowing {
                failures: 1,
                ramp: Ramp::Full,
            },
            Self::Probing(_) | Self::Throttled { .. } | Self::Stopped(_) => self,
        }
    }

    fn stopped(self, now: Timestamp) -> Self {
        match self {
            Self::Stopped(_) => self,
            Self::Flowing { .. } | Self::Probing(_) | Self::Throttled { .. } => {
                Self::Stopped(Probes {
                    until: self.wait(),
                    ..Probes::after(STOPPED_PROBE_EVERY, now)
                })
            }
        }
    }

    fn throttled(self, hint: Option<Duration>, now: Timestamp, jitter: f64) -> Self {
        let (until, streak) = match self {
            // Imprint throttled several requests that were in flight at once: count their 429 answers as one.
            Self::Throttled { until, streak } if now < until => (until, streak),
            Self::Throttled { streak, .. } => (now, streak.saturating_add(1)),
            Self::Flowing { .. } | Self::Probing(_) | Self::Stopped(_) => (now, 1),
        };
        let wait = hint.unwrap_or_else(|| backoff(streak, jitter).max(THROTTLE_MIN));
        let until = until.max(now.after(wait));
        match self {
            // Stay in these states: their reasons are more serious than a 429 answer.
            Self::Stopped(probes) => Self::Stopped(probes.wait_until(until)),
            Self::Probing(probes) => Self::Probing(probes.wait_until(until)),
            Self::Flowing { .. } | Self::Throttled { .. } => Self::Throttled { until, streak },
        }
    }

    /// Returns how many of the `wanted` lanes dispatch can send, or the time before which dispatch must not send any
    /// lane.
    pub(super) fn admits(self, wanted: usize, now: Timestamp) -> Admission {
        match self {
            Self::Flowing {
                ramp: Ramp::Rising { credits: 0, .. },
                ..
            } => Admission::NotBefore(now.after(PROBE_FIRST)),
            Self::Flowing {
                ramp: Ramp::Rising { credits, .. },
                ..
            } => Admission::Lanes(wanted.min(credits)),
            Self::Flowing { .. } => Admission::Lanes(wanted),
            Self::Throttled { until, .. } if now < until => Admission::NotBefore(until),
            Self::Throttled { .. } => Admission::Lanes(wanted),
            Self::Probing(probes) | Self::Stopped(probes) => probes.admits(now),
        }
    }

    /// Returns whether a lane can use a send permit that it got before the current state began.
    pub(super) fn honours_permits(self, now: Timestamp) -> bool {
        match self {
            Self::Flowing { .. } => true,
            Self::Throttled { until, .. } => now >= until,
            Self::Probing(_) | Self::Stopped(_) => false,
        }
    }

    /// Subtracts this number of lanes from the ramp's credits.
    pub(super) const fn take_places(&mut self, lanes: usize) {
        if let Self::Flowing {
            ramp: Ramp::Rising { credits, .. },
            ..
        } = self
        {
            *credits = credits.saturating_sub(lanes);
        }
    }

    /// Adds this number of lanes to the ramp's credits.
    pub(super) const fn return_places(&mut self, lanes: usize) {
        if let Self::Flowing { ramp, .. } = self {
            *ramp = ramp.with(lanes);
        }
    }

    /// Sets the times of the next probes after a lane got a probe permit.
    pub(super) fn probe_taken(&mut self, is_arrival: bool, now: Timestamp) {
        let (probes, every) = match self {
            Self::Probing(probes) => (probes, DOWN_PROBE_EVERY),
            Self::Stopped(probes) => (probes, STOPPED_PROBE_EVERY),
            Self::Flowing { .. } | Self::Throttled { .. } => return,
        };
        probes.arrival = now.after(ARRIVAL_PROBE_EVERY);
        if !is_arrival {
            probes.next = now.after(every);
        }
    }

    /// Makes a probe due again after a lane returned its probe permit unused. `acquired_at` is the time when the lane
    /// got the permit.
    pub(super) const fn probe_returned(&mut self, is_arrival: bool, acquired_at: Timestamp) {
        match self {
            Self::Probing(probes) | Self::Stopped(probes) => {
                probes.arrival = acquired_at;
                if !is_arrival {
                    probes.next = acquired_at;
                }
            }
            Self::Flowing { .. } | Self::Throttled { .. } => {}
        }
    }

    /// Returns the time of the next regular probe.
    pub(super) fn next_probe(self) -> Option<Timestamp> {
        match self {
            Self::Probing(probes) | Self::Stopped(probes) => Some(probes.due()),
            Self::Flowing { .. } | Self::Throttled { .. } => None,
        }
    }
}

impl Ramp {
    const fn after_answer(self) -> Self {
        match self {
            Self::Rising { answers, credits } if answers < RAMP_ANSWERS => Self::Rising {
                credits: credits.saturating_add(2),
                answers: answers + 1,
            },
            Self::Rising { .. } | Self::Full => Self::Full,
        }
    }

    const fn with(self, more: usize) -> Self {
        match self {
            Self::Rising { answers, credits } => Self::Rising {
                credits: credits.saturating_add(more),
                answers,
            },
            Self::Full => Self::Full,
        }
    }
}

/// The number of lanes that the breaker admits now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The breaker admits at most this number of lanes.
    Lanes(usize),
    /// The breaker admits one lane, whose request tests whether the destination works again.
    Probe,
    /// The breaker admits one lane that has not failed. The request of this lane tests whether the destination works.
    ArrivalProbe,
    /// The breaker admits no lane before this time.
    NotBefore(Timestamp),
}

#[cfg(test)]
mod tests;
