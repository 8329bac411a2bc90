//! What the destination is like, and how that changes. Pure.

use std::time::Duration;

use super::backoff::backoff;
use crate::outbox::LaneId;
use crate::time::Timestamp;

/// How often one request tries whether a destination that refused us takes us again.
const REFUSED_PROBE_EVERY: Duration = Duration::from_secs(30);
/// How many requests in a row must fail before the destination counts as down: more than one bad customer makes, few
/// enough that an outage costs little.
const FAILURES_MAX: u32 = 10;
/// When a destination that went down is tried first, and when a second customer is asked whether it refuses everybody.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// How often it is tried after that.
const DOWN_PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often in a row one customer alone is refused until that is reported as if it were everybody.
const REFUSALS_MAX: u32 = 3;
/// The shortest pause after a 429 without a hint.
const THROTTLE_MIN: Duration = Duration::from_secs(1);
/// How many lanes go out at first when a destination is back. Each answer lets two more follow, so that their number
/// doubles with every round trip (as TCP starts slowly, RFC 5681): what has just come up is not run over.
const RAMP_FIRST: usize = 2;
/// After how many answers it is up for good.
const RAMP_ANSWERS: u32 = 64;

/// What a request says about the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It applied an update.
    Applied,
    /// It answered, and had something to say about one customer.
    Answered,
    /// It answered, and that says nothing about updates.
    Unrelated,
    /// It was not there, or said that it cannot just now.
    Failed,
    /// It asks for a pause; of this length, if it said so.
    Throttled(Option<Duration>),
    /// It refuses our key, sends us elsewhere, or is not who it should be.
    Refused,
    /// It knows the customer of this lane and refuses the operation.
    Forbidden(LaneId),
}

/// Whose fault it can be that a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Nothing tells.
    Unknown,
    /// Since this lane was last tried a request of another one was applied.
    Lane,
}

/// How fast a destination that flows is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// As fast as rate and concurrency allow.
    Full,
    /// It has just come back.
    Rising {
        /// How many lanes may go out before another answer comes.
        credits: usize,
        /// How many answers have come.
        answers: u32,
    },
}

/// What the destination is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    /// Everything that is due goes out.
    Flowing {
        /// How many requests have failed in a row.
        failures: u32,
        /// How fast.
        ramp: Ramp,
    },
    /// It is down, or may refuse everybody. Only a probe goes out, and what waits waits without being counted as failed.
    Probing {
        /// When.
        probe_at: Timestamp,
        /// What for.
        doubt: ProbeReason,
    },
    /// It asked us to wait.
    Throttled {
        /// Until when.
        until: Timestamp,
        /// How many times in a row it asked without saying how long.
        streak: u32,
    },
    /// It refuses our key or the operation. Only a probe goes out.
    Stopped {
        /// When.
        probe_at: Timestamp,
    },
}

/// What a probe is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeReason {
    /// Whether it is there again.
    Outage,
    /// Whether it refuses everybody or one customer only: this lane, so many times in a row.
    Forbidden(LaneId, u32),
}

impl DestinationState {
    /// Every word for a condition, the first one's first.
    pub const NAMES: [&'static str; 4] = ["flowing", "probing", "throttled", "stopped"];

    /// What it is like as long as nothing else is known.
    pub const FIRST: Self = Self::Flowing {
        failures: 0,
        ramp: Ramp::Full,
    };

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flowing { .. } => "flowing",
            Self::Probing {
                doubt: ProbeReason::Forbidden(_, REFUSALS_MAX..),
                ..
            } => "stopped",
            Self::Probing { .. } => "probing",
            Self::Throttled { .. } => "throttled",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// What it is like after this signal. What says nothing about the destination as a whole changes nothing.
    #[must_use]
    pub fn after(self, signal: Signal, fault: Attribution, now: Timestamp, jitter: f64) -> Self {
        match (signal, fault) {
            (Signal::Applied | Signal::Answered, _) => self.answered(now),
            (Signal::Unrelated, _) => self.aside(),
            (Signal::Failed, _) | (Signal::Forbidden(_), Attribution::Lane) => self.failed(now),
            (Signal::Throttled(hint), _) => self.throttled(hint, now, jitter),
            (Signal::Refused, _) => self.stopped(now),
            (Signal::Forbidden(lane), Attribution::Unknown) => self.forbidden(lane, now),
        }
    }

    /// It took a request and had something to say about it. A wait that it asked for holds all the same.
    fn answered(self, now: Timestamp) -> Self {
        match self {
            Self::Throttled { until, .. } if now < until => self,
            Self::Throttled { .. } => Self::FIRST,
            Self::Flowing { ramp, .. } => Self::Flowing {
                failures: 0,
                ramp: ramp.risen(),
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

    /// Only the place is free again that was taken.
    fn aside(mut self) -> Self {
        self.return_places(1);
        self
    }

    fn failed(self, now: Timestamp) -> Self {
        match self {
            Self::Flowing { failures, .. } if failures + 1 >= FAILURES_MAX => Self::Probing {
                probe_at: now.after(PROBE_FIRST),
                doubt: ProbeReason::Outage,
            },
            Self::Flowing { failures, ramp } => Self::Flowing {
                failures: failures + 1,
                ramp: ramp.with(1),
            },
            // The wait it asked for is over, so this is signal.
            Self::Throttled { until, .. } if now >= until => Self::Flowing {
                failures: 1,
                ramp: Ramp::Full,
            },
            // It is down: that it does not answer now says nothing about whether it refuses us.
            Self::Probing { probe_at, .. } => Self::Probing {
                probe_at,
                doubt: ProbeReason::Outage,
            },
            Self::Throttled { .. } | Self::Stopped { .. } => self,
        }
    }

    fn stopped(self, now: Timestamp) -> Self {
        match self {
            Self::Stopped { .. } => self,
            Self::Flowing { .. } | Self::Probing { .. } | Self::Throttled { .. } => Self::Stopped {
                probe_at: now.after(REFUSED_PROBE_EVERY),
            },
        }
    }

    /// One customer proves nothing; the second one that is refused in a row does. Where there is nobody else, one who is
    /// refused again and again is reported as if it were everybody, and asked as often as one that is down: the next
    /// customer who comes may be served.
    fn forbidden(self, lane: LaneId, now: Timestamp) -> Self {
        let times = match self {
            Self::Stopped { .. } => return self,
            Self::Probing {
                doubt: ProbeReason::Forbidden(other, _),
                ..
            } if other != lane => return self.stopped(now),
            Self::Probing {
                doubt: ProbeReason::Forbidden(_, times),
                ..
            } => times + 1,
            Self::Flowing { .. } | Self::Probing { .. } | Self::Throttled { .. } => 1,
        };
        let rest = if times < REFUSALS_MAX {
            PROBE_FIRST
        } else {
            DOWN_PROBE_EVERY
        };
        Self::Probing {
            probe_at: now.after(rest),
            doubt: ProbeReason::Forbidden(lane, times),
        }
    }

    fn throttled(self, hint: Option<Duration>, now: Timestamp, jitter: f64) -> Self {
        let (until, streak) = match self {
            // Requests that were under way with the first one say the same once more.
            Self::Throttled { until, streak } if now < until => (until, streak),
            Self::Throttled { streak, .. } => (now, streak.saturating_add(1)),
            // A key that is refused is worse signal than a full street.
            Self::Stopped { .. } => return self,
            Self::Flowing { .. } | Self::Probing { .. } => (now, 1),
        };
        let wait = hint.unwrap_or_else(|| backoff(streak, jitter).max(THROTTLE_MIN));
        Self::Throttled {
            until: until.max(now.after(wait)),
            streak,
        }
    }

    /// How many of `wanted` lanes it may be sent, or from when on any.
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

    /// Whether lanes may go out that were granted before it was known to be like this.
    pub(super) fn honours_permits(self, now: Timestamp) -> bool {
        match self {
            Self::Flowing { .. } => true,
            Self::Throttled { until, .. } => now >= until,
            Self::Probing { .. } | Self::Stopped { .. } => false,
        }
    }

    /// So many lanes go out.
    pub(super) fn take_places(&mut self, lanes: usize) {
        if let Self::Flowing {
            ramp: Ramp::Rising { credits, .. },
            ..
        } = self
        {
            *credits = credits.saturating_sub(lanes);
        }
    }

    /// So many lanes did not go out after all.
    pub(super) fn return_places(&mut self, lanes: usize) {
        if let Self::Flowing { ramp, .. } = self {
            *ramp = ramp.with(lanes);
        }
    }

    /// A probe has gone out; the next one is due later.
    pub(super) fn probe_taken(&mut self, now: Timestamp) {
        match self {
            Self::Probing { probe_at, .. } => *probe_at = now.after(DOWN_PROBE_EVERY),
            Self::Stopped { probe_at } => *probe_at = now.after(REFUSED_PROBE_EVERY),
            Self::Flowing { .. } | Self::Throttled { .. } => {}
        }
    }

    /// There was nothing to probe with: it is still due.
    pub(super) fn probe_returned(&mut self, now: Timestamp) {
        match self {
            Self::Probing { probe_at, .. } | Self::Stopped { probe_at } => *probe_at = now,
            Self::Flowing { .. } | Self::Throttled { .. } => {}
        }
    }
}

impl Ramp {
    fn risen(self) -> Self {
        match self {
            Self::Rising { answers, credits } if answers < RAMP_ANSWERS => Self::Rising {
                credits: credits + 2,
                answers: answers + 1,
            },
            Self::Rising { .. } | Self::Full => Self::Full,
        }
    }

    fn with(self, more: usize) -> Self {
        match self {
            Self::Rising { answers, credits } => Self::Rising {
                credits: credits + more,
                answers,
            },
            Self::Full => Self::Full,
        }
    }
}

/// How many lanes may be sent now, and when to ask again if it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// So many, at least one. What is not used is to be given back.
    Lanes(usize),
    /// One, to find out. If it is not used, it is to be given back.
    Probe,
    /// None before this moment.
    NotBefore(Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    /// What it is like after these signal, each with its second.
    fn after(signal: &[(u64, Signal)]) -> DestinationState {
        signal
            .iter()
            .fold(DestinationState::FIRST, |condition, (at, signal)| {
                condition.after(*signal, Attribution::Unknown, later(*at), 0.5)
            })
    }

    const fn lanes(admission: Admission) -> usize {
        match admission {
            Admission::Lanes(lanes) => lanes,
            Admission::Probe => 1,
            Admission::NotBefore(_) => 0,
        }
    }

    fn down() -> DestinationState {
        after(&[(0, Signal::Failed); 10])
    }

    /// U34: the whole destination waits.
    #[test]
    fn a_throttled_destination_waits_for_its_hint() {
        let hint = Signal::Throttled(Some(Duration::from_secs(5)));
        let condition = after(&[(0, hint), (1, Signal::Applied)]);
        assert_eq!(
            condition.admits(8, later(1)),
            Admission::NotBefore(later(5))
        );
        assert_eq!(condition.admits(8, later(5)), Admission::Lanes(8));
    }

    #[test]
    fn without_a_hint_the_waits_grow() {
        let mut condition = DestinationState::FIRST;
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..4 {
            condition = condition.after(Signal::Throttled(None), Attribution::Unknown, now, 1.0);
            let DestinationState::Throttled { until, .. } = condition else {
                panic!("it is throttled")
            };
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    /// U01, U35, N19, N20: an outage costs ten requests and a probe every 5 s.
    #[test]
    fn a_destination_that_is_down_is_probed_until_it_answers() {
        for failed in 1..10 {
            let condition = after(&vec![(0, Signal::Failed); failed]);
            assert_eq!(condition.admits(8, NOW), Admission::Lanes(8), "{failed}");
        }
        let mut condition = down();
        assert_eq!(condition.admits(8, NOW), Admission::NotBefore(later(1)));
        assert_eq!(condition.admits(8, later(1)), Admission::Probe);
        condition.probe_taken(later(1));
        condition = condition.after(Signal::Failed, Attribution::Unknown, later(2), 0.5);
        assert_eq!(
            condition.admits(8, later(3)),
            Admission::NotBefore(later(6))
        );
        assert_eq!(condition.admits(8, later(6)), Admission::Probe);
    }

    /// U43: what has just come up is not run over; each answer lets two more follow, until it is up for good.
    #[test]
    fn a_destination_that_is_back_is_ramped_up() {
        let mut condition = down().after(Signal::Applied, Attribution::Unknown, later(9), 0.5);
        let mut rounds = Vec::new();
        for _ in 0..8 {
            let granted = lanes(condition.admits(64, later(9)));
            condition.take_places(granted);
            rounds.push(granted);
            for _ in 0..granted {
                condition = condition.after(Signal::Applied, Attribution::Unknown, later(9), 0.5);
            }
        }
        assert_eq!(rounds, [2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn a_ramp_never_runs_dry() {
        let mut condition = down().after(Signal::Answered, Attribution::Unknown, later(9), 0.5);
        condition.take_places(2);
        assert_eq!(lanes(condition.admits(8, later(9))), 0);
        condition = condition.after(Signal::Failed, Attribution::Unknown, later(9), 0.5);
        assert_eq!(condition.admits(8, later(9)), Admission::Lanes(1));
        condition.take_places(1);
        condition.return_places(1);
        assert_eq!(condition.admits(8, later(9)), Admission::Lanes(1));
    }

    /// O06, V9: failures of one customer among successes of others are no outage.
    #[test]
    fn failures_among_successes_are_no_outage() {
        let round = [
            (0, Signal::Failed),
            (0, Signal::Failed),
            (0, Signal::Applied),
        ];
        let mut condition = DestinationState::FIRST;
        for _ in 0..100 {
            for (_, signal) in round {
                condition = condition.after(signal, Attribution::Lane, NOW, 0.5);
                assert_eq!(condition.as_str(), "flowing");
            }
        }
    }

    /// U34, U35: an outage after a 429 is an outage.
    #[test]
    fn a_wait_that_is_over_hides_no_outage() {
        let mut signal = vec![(0, Signal::Throttled(Some(Duration::from_secs(1))))];
        signal.extend([(2, Signal::Failed); 10]);
        assert_eq!(after(&signal).as_str(), "probing");
    }

    /// U26, M05: one customer who is refused stops nobody; a second one does, and then it is as with a refused key.
    #[test]
    fn a_forbidden_operation_stops_the_destination_once_a_second_customer_has_seen_it() {
        let refused = |lane| Signal::Forbidden(LaneId(lane));
        let once = after(&[(0, refused(1))]);
        assert_eq!(once.admits(8, NOW), Admission::NotBefore(later(1)));
        assert_eq!(once.admits(8, later(1)), Admission::Probe);
        let served = once.after(Signal::Applied, Attribution::Unknown, later(1), 0.5);
        assert_eq!(served.as_str(), "flowing");
        let another = once.after(refused(2), Attribution::Unknown, later(1), 0.5);
        assert_eq!(another.admits(8, later(2)), Admission::NotBefore(later(31)));
        assert_eq!(another.as_str(), "stopped");
        let twice = once.after(refused(1), Attribution::Unknown, later(1), 0.5);
        assert_eq!(
            twice.admits(8, later(2)),
            Admission::Probe,
            "it may be that one's own"
        );
        let thrice = twice.after(refused(1), Attribution::Unknown, later(2), 0.5);
        assert_eq!(thrice.as_str(), "stopped", "there is nobody else");
        assert_eq!(
            thrice.admits(8, later(7)),
            Admission::Probe,
            "but there may be soon"
        );
        let own = DestinationState::FIRST.after(refused(1), Attribution::Lane, NOW, 0.5);
        assert_eq!(own.admits(8, NOW), Admission::Lanes(8));
    }
}
