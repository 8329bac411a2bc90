//! The breaker: the state of the destination, and how each result of a request changes it. Pure.
//!
//! | state | entered | left | a restart there |
//! |---|---|---|---|
//! | flowing | at the start; from any other state when a request is answered | see the other rows | flows again |
//! | throttled | Imprint answers 429 | its time is over and a request was answered | the store knows the time, so it stays throttled |
//! | probing | 10 requests in a row failed, or one customer's operation is forbidden | a probe is answered | flows; the next failures stop it again |
//! | stopped | the key is refused, or the operation is forbidden for a second customer | a probe is answered | flows; the next refusal stops it again |

use std::time::Duration;

use super::backoff::backoff;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// How often a stopped destination is probed.
const STOPPED_PROBE_EVERY: Duration = Duration::from_secs(30);
/// How many requests in a row must fail before the destination counts as down: more than one faulty customer causes, few
/// enough that an outage costs little.
const FAILURES_MAX: u32 = 10;
/// When a destination that went down is probed first, and when a second customer is tried after one was forbidden.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// How often a destination that is down is probed after that.
const DOWN_PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often in a row one customer alone is forbidden before the state is reported as stopped.
const FORBIDDEN_MAX: u32 = 3;
/// The shortest wait after a 429 without Retry-After.
const THROTTLE_MIN: Duration = Duration::from_secs(1);
/// How many lanes are sent at first when the destination has recovered. Each answer lets two more follow, so that their
/// number doubles with every round trip (like the slow start of TCP, RFC 5681): a service that has just started is not
/// overloaded.
const RAMP_FIRST: usize = 2;
/// After how many answers the ramp ends.
const RAMP_ANSWERS: u32 = 64;

/// What the result of a request says about the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It applied an update.
    Applied,
    /// It answered, and the answer concerns one customer only.
    Answered,
    /// It answered, and the answer says nothing about updates.
    Unrelated,
    /// It could not be reached, or failed.
    Failed,
    /// It answered 429, with this Retry-After if there was one.
    Throttled(Option<Duration>),
    /// It refused our key, redirected us, or has the wrong certificate.
    Refused,
    /// It knows the customer of this lane, and forbids the operation.
    Forbidden(LaneId),
}

/// What a failure can be blamed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Nothing shows it.
    Unknown,
    /// The lane: a request of another lane was applied since this lane last failed.
    Lane,
}

/// How many lanes a flowing destination receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// As many as rate and concurrency allow.
    Full,
    /// It has just recovered.
    Rising {
        /// How many lanes may be sent before the next answer.
        credits: usize,
        /// How many answers have come.
        answers: u32,
    },
}

/// The state of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    /// All due lanes are sent.
    Flowing {
        /// How many requests have failed in a row.
        failures: u32,
        /// How many lanes are sent.
        ramp: Ramp,
    },
    /// It is down, or may forbid the operation for everybody. Only probes are sent, and waiting lanes use up no attempt.
    Probing {
        /// When the next probe is due.
        probe_at: Timestamp,
        /// What the probe must find out.
        reason: ProbeReason,
    },
    /// It asked us to wait. Nothing is sent.
    Throttled {
        /// Until when.
        until: Timestamp,
        /// How many times in a row it asked without saying how long.
        streak: u32,
    },
    /// It refuses our key or the operation. Only probes are sent.
    Stopped {
        /// When the next probe is due.
        probe_at: Timestamp,
    },
}

/// What a probe must find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeReason {
    /// Whether the destination works again.
    Outage,
    /// Whether it forbids the operation for everybody or only for this lane, and how often in a row it has done so.
    Forbidden(LaneId, u32),
}

impl DestinationState {
    /// The names of all states, that of [`Self::FIRST`] first.
    pub const NAMES: [&'static str; 4] = ["flowing", "probing", "throttled", "stopped"];

    /// The state as long as nothing is known.
    pub const FIRST: Self = Self::Flowing {
        failures: 0,
        ramp: Ramp::Full,
    };

    /// The name of the state. A destination that forbids the operation again and again, with no second customer to confirm
    /// it, is reported as stopped.
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

    /// The state after this signal.
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

    /// An answer does not end a wait that Imprint asked for.
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

    /// Only the place in the ramp is free again.
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
            // It is down, which says nothing about whether it forbids the operation.
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

    /// One customer proves nothing; a second one in a row does. If there is no second one, the same customer is probed as
    /// often as an outage: the next new customer may be served.
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
            // Requests that were in flight with the first one get the same answer.
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

    /// How many of `wanted` lanes may be sent, or the time before which none may.
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

    /// Whether a permit for a lane that was given in an earlier state is still valid.
    pub(super) fn honours_permits(self, now: Timestamp) -> bool {
        match self {
            Self::Flowing { .. } => true,
            Self::Throttled { until, .. } => now >= until,
            Self::Probing { .. } | Self::Stopped { .. } => false,
        }
    }

    /// Permits for this many lanes were given.
    pub(super) const fn take_places(&mut self, lanes: usize) {
        if let Self::Flowing {
            ramp: Ramp::Rising { credits, .. },
            ..
        } = self
        {
            *credits = credits.saturating_sub(lanes);
        }
    }

    /// Permits for this many lanes were returned.
    pub(super) const fn return_places(&mut self, lanes: usize) {
        if let Self::Flowing { ramp, .. } = self {
            *ramp = ramp.with(lanes);
        }
    }

    /// The permit for a probe was given; the next probe is due later.
    pub(super) fn probe_taken(&mut self, now: Timestamp) {
        match self {
            Self::Probing { probe_at, .. } => *probe_at = now.after(DOWN_PROBE_EVERY),
            Self::Stopped { probe_at } => *probe_at = now.after(STOPPED_PROBE_EVERY),
            Self::Flowing { .. } | Self::Throttled { .. } => {}
        }
    }

    /// The permit for a probe, given at this time, was returned unused: the probe is still due.
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

/// How many lanes the destination accepts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// At most this many.
    Lanes(usize),
    /// One, to find out whether it works again.
    Probe,
    /// None before this time.
    NotBefore(Timestamp),
}

#[cfg(test)]
mod tests;
