//! The circuit breaker: the state of the destination, and the change that each result of a request causes. Pure.
//!
//! | state | entered | left | a restart there |
//! |---|---|---|---|
//! | flowing | at the start; from any other state when Imprint answers a request | see the other rows | flows again |
//! | throttled | Imprint answers 429 | the wait is over and Imprint answered a request | the store keeps the end of the
//! wait, so the destination stays throttled |
//! | probing | 10 requests in a row failed, or Imprint forbids the operation for one customer | Imprint answers a probe
//! | flows; the next failures stop the destination again |
//! | stopped | Imprint refuses the key, or forbids the operation for a second customer | Imprint answers a probe |
//! flows; the next refusal stops the destination again |

use std::time::Duration;

use super::backoff::backoff;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// The interval between two probes of a stopped destination.
const STOPPED_PROBE_EVERY: Duration = Duration::from_secs(30);
/// The number of requests in a row that must fail before the destination counts as down. One faulty customer causes
/// fewer failures, and an outage still costs only a few requests.
const FAILURES_MAX: u32 = 10;
/// The delay before the first probe of a destination that went down. After Imprint answered 403 for one customer, also the
/// delay before another customer is tried.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// The interval between further probes of a destination that is down.
const DOWN_PROBE_EVERY: Duration = Duration::from_secs(5);
/// The number of forbidden answers in a row for one customer alone after which the state is reported as stopped.
const FORBIDDEN_MAX: u32 = 3;
/// The shortest wait after a 429 without Retry-After.
const THROTTLE_MIN: Duration = Duration::from_secs(1);
/// The number of lanes sent at first when the destination has recovered. Each answer lets two more lanes follow, so the
/// number of lanes doubles with every round trip (like the slow start of TCP, RFC 5681). So a service that has just
/// started is not overloaded.
const RAMP_FIRST: usize = 2;
/// The number of answers after which the ramp ends.
const RAMP_ANSWERS: u32 = 64;

/// The statement that the result of a request makes about the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Imprint applied an update.
    Applied,
    /// Imprint answered, and the answer concerns one customer only.
    Answered,
    /// Imprint answered, and the answer says nothing about updates.
    Unrelated,
    /// Imprint could not be reached, or answered with a server failure.
    Failed,
    /// Imprint answered 429, with this `Retry-After` if the answer had one.
    Throttled(Option<Duration>),
    /// Imprint refused our key or redirected us, or its certificate is wrong.
    Refused,
    /// Imprint knows the customer of this lane, and forbids the operation.
    Forbidden(LaneId),
}

/// The party at fault for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// No evidence shows which party is at fault.
    Unknown,
    /// The lane is at fault: a request of another lane was applied since this lane last failed.
    Lane,
}

/// The number of lanes that a flowing destination receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// As many lanes as rate and concurrency allow.
    Full,
    /// The destination has just recovered: few lanes at first, then more with each answer.
    Rising {
        /// The number of lanes that may be sent before the next answer.
        credits: usize,
        /// The number of answers since the recovery.
        answers: u32,
    },
}

/// The state of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    /// All due lanes are sent.
    Flowing {
        /// The number of requests that have failed in a row.
        failures: u32,
        /// The number of lanes that are sent.
        ramp: Ramp,
    },
    /// The destination is down, or may forbid the operation for everybody. Only probes are sent, and no attempts are
    /// counted.
    Probing {
        /// The time when the next probe is due.
        probe_at: Timestamp,
        /// The question that the probe must answer.
        reason: ProbeReason,
    },
    /// Imprint asked for a wait. Nothing is sent.
    Throttled {
        /// The end of the wait.
        until: Timestamp,
        /// The number of 429 answers in a row without `Retry-After`.
        streak: u32,
    },
    /// Imprint refuses our key or the operation. Only probes are sent.
    Stopped {
        /// The time when the next probe is due.
        probe_at: Timestamp,
    },
}

/// The question that a probe must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeReason {
    /// Does the destination work again?
    Outage,
    /// Is the operation forbidden for everybody, or only for this lane? The number counts this lane's forbidden answers
    /// in a row.
    Forbidden(LaneId, u32),
}

impl DestinationState {
    /// The names of all states. The name of [`Self::FIRST`] comes first.
    pub const NAMES: [&'static str; 4] = ["flowing", "probing", "throttled", "stopped"];

    /// The state before the first result is known.
    pub const FIRST: Self = Self::Flowing {
        failures: 0,
        ramp: Ramp::Full,
    };

    /// Returns the name of the state. If the destination keeps forbidding the operation for one customer and no second
    /// customer is tried, the name is `stopped`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flowing { .. } => "flowing",
            Self::Probing {
                reason: ProbeReason::Forbidden(_, FORBIDDEN_MAX..),
                ..
            } => "stopped",
            Self::Probing { .. } => "probing",
            Self::Throttled { .. } => "throttled",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// Returns the state after this signal.
    #[must_use]
    pub fn after(
        self,
        signal: Signal,
        attribution: Attribution,
        now: Timestamp,
        jitter: f64,
    ) -> Self {
        match (signal, attribution) {
            (Signal::Applied | Signal::Answered, _) => self.answered(now),
            (Signal::Unrelated, _) => self.unrelated(),
            (Signal::Failed, _) | (Signal::Forbidden(_), Attribution::Lane) => self.failed(now),
            (Signal::Throttled(hint), _) => self.throttled(hint, now, jitter),
            (Signal::Refused, _) => self.stopped(now),
            (Signal::Forbidden(lane), Attribution::Unknown) => self.forbidden(lane, now),
        }
    }

    /// Returns the state after an answer. An answer does not end a wait that Imprint asked for.
    fn answered(self, now: Timestamp) -> Self {
        match self {
            Self::Throttled { until, .. } if now < until => self,
            Self::Throttled { .. } => Self::FIRST,
            Self::Flowing { ramp, .. } => Self::Flowing {
                failures: 0,
                ramp: ramp.after_answer(),
            },
            Self::Probing { .. } | Self::Stopped { .. } => Self::Flowing {
                failures: 0,
                ramp: Ramp::Rising {
                    credits: RAMP_FIRST,
                    answers: 1,
                },
            },
        }
    }

    /// Returns the state after an answer that says nothing about updates: it only frees its place in the ramp.
    const fn unrelated(mut self) -> Self {
        self.return_places(1);
        self
    }

    fn failed(self, now: Timestamp) -> Self {
        match self {
            Self::Flowing { failures, .. } if failures + 1 >= FAILURES_MAX => Self::Probing {
                probe_at: now.after(PROBE_FIRST),
                reason: ProbeReason::Outage,
            },
            Self::Flowing { failures, ramp } => Self::Flowing {
                failures: failures + 1,
                ramp: ramp.with(1),
            },
            // The wait is over, so this failure counts like any other.
            Self::Throttled { until, .. } if now >= until => Self::Flowing {
                failures: 1,
                ramp: Ramp::Full,
            },
            // A failed probe says nothing about whether the operation is forbidden.
            Self::Probing { probe_at, .. } => Self::Probing {
                probe_at,
                reason: ProbeReason::Outage,
            },
            Self::Throttled { .. } | Self::Stopped { .. } => self,
        }
    }

    fn stopped(self, now: Timestamp) -> Self {
        match self {
            Self::Stopped { .. } => self,
            Self::Flowing { .. } | Self::Probing { .. } | Self::Throttled { .. } => Self::Stopped {
                probe_at: now.after(STOPPED_PROBE_EVERY),
            },
        }
    }

    /// Returns the state after a forbidden operation. Only a second customer in a row proves that the operation is
    /// forbidden for everybody. Without a second customer, the same customer is probed as often as during an outage:
    /// the next new customer may be served.
    fn forbidden(self, lane: LaneId, now: Timestamp) -> Self {
        let times = match self {
            Self::Stopped { .. } => return self,
            Self::Probing {
                reason: ProbeReason::Forbidden(other, _),
                ..
            } if other != lane => return self.stopped(now),
            Self::Probing {
                reason: ProbeReason::Forbidden(_, times),
                ..
            } => times.saturating_add(1),
            Self::Flowing { .. } | Self::Probing { .. } | Self::Throttled { .. } => 1,
        };
        let wait = if times < FORBIDDEN_MAX {
            PROBE_FIRST
        } else {
            DOWN_PROBE_EVERY
        };
        Self::Probing {
            probe_at: now.after(wait),
            reason: ProbeReason::Forbidden(lane, times),
        }
    }

    fn throttled(self, hint: Option<Duration>, now: Timestamp, jitter: f64) -> Self {
        let (until, streak) = match self {
            // Requests that were in flight together with the first throttled request get the same answer.
            Self::Throttled { until, streak } if now < until => (until, streak),
            Self::Throttled { streak, .. } => (now, streak.saturating_add(1)),
            // A refused key takes precedence over throttling.
            Self::Stopped { .. } => return self,
            Self::Flowing { .. } | Self::Probing { .. } => (now, 1),
        };
        let wait = hint.unwrap_or_else(|| backoff(streak, jitter).max(THROTTLE_MIN));
        Self::Throttled {
            until: until.max(now.after(wait)),
            streak,
        }
    }

    /// Returns how many of `wanted` lanes may be sent, or the time before which no lane may be sent.
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
            Self::Probing { probe_at, .. } | Self::Stopped { probe_at } if now < probe_at => {
                Admission::NotBefore(probe_at)
            }
            Self::Probing { .. } | Self::Stopped { .. } => Admission::Probe,
        }
    }

    /// Returns whether a permit that was given in an earlier state is still valid for its lane.
    pub(super) fn honours_permits(self, now: Timestamp) -> bool {
        match self {
            Self::Flowing { .. } => true,
            Self::Throttled { until, .. } => now >= until,
            Self::Probing { .. } | Self::Stopped { .. } => false,
        }
    }

    /// Takes the places of this many lanes in the ramp.
    pub(super) const fn take_places(&mut self, lanes: usize) {
        if let Self::Flowing {
            ramp: Ramp::Rising { credits, .. },
            ..
        } = self
        {
            *credits = credits.saturating_sub(lanes);
        }
    }

    /// Frees the places of this many lanes in the ramp.
    pub(super) const fn return_places(&mut self, lanes: usize) {
        if let Self::Flowing { ramp, .. } = self {
            *ramp = ramp.with(lanes);
        }
    }

    /// Schedules the next probe, after the permit for this one was given.
    pub(super) fn probe_taken(&mut self, now: Timestamp) {
        match self {
            Self::Probing { probe_at, .. } => *probe_at = now.after(DOWN_PROBE_EVERY),
            Self::Stopped { probe_at } => *probe_at = now.after(STOPPED_PROBE_EVERY),
            Self::Flowing { .. } | Self::Throttled { .. } => {}
        }
    }

    /// Makes the probe due again: its permit, given at `acquired_at`, was returned unused.
    pub(super) const fn probe_returned(&mut self, acquired_at: Timestamp) {
        match self {
            Self::Probing { probe_at, .. } | Self::Stopped { probe_at } => *probe_at = acquired_at,
            Self::Flowing { .. } | Self::Throttled { .. } => {}
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

/// The number of lanes that the destination accepts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// At most this many lanes.
    Lanes(usize),
    /// One lane, to test whether the destination works again.
    Probe,
    /// No lane before this time.
    NotBefore(Timestamp),
}

#[cfg(test)]
mod tests;
