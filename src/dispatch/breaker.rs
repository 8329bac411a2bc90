//! The circuit breaker: the state of the destination, and the change of state that each result of a request causes.
//! This module is pure: it does no IO and reads no clock.
//!
//! | state | entered when | left when | after a restart |
//! |---|---|---|---|
//! | flowing | at the start; Imprint answers a request in any other state | another state is entered | flowing |
//! | throttled | Imprint answers 429 | the wait is over and Imprint answered a request | throttled |
//! | probing | 10 requests in a row fail; Imprint forbids the operation once | Imprint answers a probe | flowing |
//! | stopped | Imprint refuses the key; Imprint forbids a second customer | Imprint answers a probe | flowing |
//!
//! The store keeps only the end of a throttling. After a restart, the next failures or refusals change the state again.

use std::time::Duration;

use super::backoff::backoff;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// The interval between two probes of a stopped destination.
const STOPPED_PROBE_EVERY: Duration = Duration::from_secs(30);
/// The number of requests in a row that must fail before the breaker treats the destination as down. One faulty
/// customer causes fewer failures in a row, and an outage costs only these few requests.
const FAILURES_MAX: u32 = 10;
/// The delay before the first probe of a destination that went down. After Imprint forbade the operation
/// for one customer, the breaker also waits this long before the dispatcher tries another customer.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// The interval between further probes of a destination that is down.
const DOWN_PROBE_EVERY: Duration = Duration::from_secs(5);
/// The number of forbidden operations in a row, of one customer alone, after which the breaker reports `stopped`.
const FORBIDDEN_MAX: u32 = 3;
/// The shortest wait after a 429 answer without `Retry-After`.
const THROTTLE_MIN: Duration = Duration::from_secs(1);
/// The number of lanes that the ramp admits when the destination has recovered. Each answer admits two more lanes, so
/// the number doubles with every round trip (like the slow start of TCP, RFC 5681). A service that has just started is
/// therefore not overloaded.
const RAMP_FIRST: usize = 2;
/// The number of answers after which the ramp ends and the breaker admits all lanes.
const RAMP_ANSWERS: u32 = 64;

/// The evidence about the destination in the result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Imprint applied an update.
    Applied,
    /// Imprint answered, and the answer concerns only one customer.
    Answered,
    /// Imprint answered, and the answer does not show whether Imprint accepts updates.
    Unrelated,
    /// Imprint could not be reached, or answered with a server error.
    Failed,
    /// Imprint answered 429; the value is the `Retry-After` of the answer, if present.
    Throttled(Option<Duration>),
    /// Imprint refused our API key or redirected us, or Imprint's certificate is wrong.
    Refused,
    /// Imprint knows the customer of this lane, but forbids the operation.
    Forbidden(LaneId),
}

/// The party that caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// There is no evidence which party caused the failure.
    Unknown,
    /// The lane caused the failure: Imprint applied a request of another lane since this lane last failed.
    Lane,
}

/// The number of lanes that a flowing destination accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// Dispatch sends as many lanes as the rate and the concurrency allow.
    Full,
    /// The destination has just recovered: the breaker admits few lanes at first, and more after each answer.
    Rising {
        /// The number of lanes that dispatch may send before the next answer.
        credits: usize,
        /// The number of answers since the destination recovered.
        answers: u32,
    },
}

/// The state of the destination, as the breaker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    /// Dispatch sends all due lanes.
    Flowing {
        /// The number of requests to Imprint that have failed in a row.
        failures: u32,
        /// The ramp, which limits the number of lanes after a recovery.
        ramp: Ramp,
    },
    /// The destination is down, or may forbid the operation for every customer. Dispatch sends only probes, and counts
    /// no attempts against entries.
    Probing {
        /// The time when the next probe of the destination is due.
        probe_at: Timestamp,
        /// The question that the next probe answers.
        reason: ProbeReason,
    },
    /// Imprint asked for a wait (429). Dispatch sends nothing.
    Throttled {
        /// The end of the wait that Imprint asked for.
        until: Timestamp,
        /// The number of 429 answers in a row without `Retry-After`.
        streak: u32,
    },
    /// Imprint refuses our API key, or forbids the operation. Dispatch sends only probes.
    Stopped {
        /// The time when the next probe of the destination is due.
        probe_at: Timestamp,
    },
}

/// The question that a probe of the destination answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeReason {
    /// The probe tests whether the destination works again after an outage.
    Outage,
    /// The probe tests whether the operation is forbidden for every customer, or only for the customer of this lane.
    /// The number counts the forbidden operations of this lane in a row.
    Forbidden(LaneId, u32),
}

impl DestinationState {
    /// The names of all destination states; the name of [`Self::FIRST`] comes first.
    pub const NAMES: [&'static str; 4] = ["flowing", "probing", "throttled", "stopped"];

    /// The state of the destination before the first result is known.
    pub const FIRST: Self = Self::Flowing {
        failures: 0,
        ramp: Ramp::Full,
    };

    /// Returns the name of the state. The name is also `stopped` while the destination keeps forbidding the operation
    /// for one customer and dispatch has no second customer to try.
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

    /// Returns the state of the destination after this signal.
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

    /// Returns the state after Imprint answered. An answer does not end a wait that Imprint asked for.
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

    /// Returns the state after an answer that shows nothing about updates: the answer only frees one place in the ramp.
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
            // The wait of the throttling is over, so this failure counts like any other failure.
            Self::Throttled { until, .. } if now >= until => Self::Flowing {
                failures: 1,
                ramp: Ramp::Full,
            },
            // A failed probe does not show whether Imprint forbids the operation.
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

    /// Returns the state after Imprint forbade an operation. Only a second customer in a row proves that Imprint
    /// forbids the operation for every customer. Without a second customer, the breaker probes as often as during an
    /// outage, because Imprint may serve the next customer.
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
            // Requests that were in flight together with the first throttled request also get a 429 answer.
            Self::Throttled { until, streak } if now < until => (until, streak),
            Self::Throttled { streak, .. } => (now, streak.saturating_add(1)),
            // A refused API key takes precedence over throttling.
            Self::Stopped { .. } => return self,
            Self::Flowing { .. } | Self::Probing { .. } => (now, 1),
        };
        let wait = hint.unwrap_or_else(|| backoff(streak, jitter).max(THROTTLE_MIN));
        Self::Throttled {
            until: until.max(now.after(wait)),
            streak,
        }
    }

    /// Returns how many of the `wanted` lanes dispatch may send, or the time before which dispatch may send none.
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

    /// Returns whether a lane may still use a send permit that was given in an earlier state.
    pub(super) fn honours_permits(self, now: Timestamp) -> bool {
        match self {
            Self::Flowing { .. } => true,
            Self::Throttled { until, .. } => now >= until,
            Self::Probing { .. } | Self::Stopped { .. } => false,
        }
    }

    /// Takes places in the ramp for this number of lanes.
    pub(super) const fn take_places(&mut self, lanes: usize) {
        if let Self::Flowing {
            ramp: Ramp::Rising { credits, .. },
            ..
        } = self
        {
            *credits = credits.saturating_sub(lanes);
        }
    }

    /// Frees the places of this number of lanes in the ramp.
    pub(super) const fn return_places(&mut self, lanes: usize) {
        if let Self::Flowing { ramp, .. } = self {
            *ramp = ramp.with(lanes);
        }
    }

    /// Schedules the next probe, after a permit for the current probe was given.
    pub(super) fn probe_taken(&mut self, now: Timestamp) {
        match self {
            Self::Probing { probe_at, .. } => *probe_at = now.after(DOWN_PROBE_EVERY),
            Self::Stopped { probe_at } => *probe_at = now.after(STOPPED_PROBE_EVERY),
            Self::Flowing { .. } | Self::Throttled { .. } => {}
        }
    }

    /// Makes the probe due again after its permit, which was given at `acquired_at`, was returned unused.
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

/// The number of lanes that the breaker admits now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The breaker admits at most this number of lanes.
    Lanes(usize),
    /// The breaker admits one lane, to test whether the destination works again.
    Probe,
    /// The breaker admits no lane before this time.
    NotBefore(Timestamp),
}

#[cfg(test)]
mod tests;
