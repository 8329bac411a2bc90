//! Whether anything may be sent at all: the destination as all dispatch threads see it.
//!
//! The conditions are pure values; [`Destination`] shares one of them, and the pace, between threads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::backoff::backoff;
use super::pace::{Pace, Rate};
use crate::imprint::Outcome;
use crate::time::Timestamp;

/// How often one request tries whether a destination that refused us takes us again.
const REFUSED_PROBE_EVERY: Duration = Duration::from_secs(30);
/// How many requests in a row must fail before the destination counts as down: more than one bad customer makes, few
/// enough that an outage costs little.
const FAILURES_MAX: u32 = 10;
/// When a destination that went down is tried first.
const DOWN_PROBE_FIRST: Duration = Duration::from_secs(1);
/// How often it is tried after that.
const DOWN_PROBE_EVERY: Duration = Duration::from_secs(5);
/// The shortest pause after a 429 without a hint.
const THROTTLE_MIN: Duration = Duration::from_secs(1);

/// What the destination is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Everything that is due goes out.
    Flowing {
        /// How many requests have failed in a row.
        failures: u32,
    },
    /// It is down. Only a probe goes out, and what waits waits without being counted as failed.
    Probing {
        /// When.
        probe_at: Timestamp,
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

impl Condition {
    /// Every word for a condition, the first one's first.
    pub const WORDS: [&'static str; 4] = ["flowing", "probing", "throttled", "stopped"];

    /// What it is like as long as nothing else is known.
    pub const FIRST: Self = Self::Flowing { failures: 0 };

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flowing { .. } => "flowing",
            Self::Probing { .. } => "probing",
            Self::Throttled { .. } => "throttled",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// What it is like after this outcome. What says nothing about the destination as a whole changes nothing.
    #[must_use]
    pub fn after(self, outcome: &Outcome, now: Timestamp, jitter: f64) -> Self {
        match outcome {
            Outcome::Applied | Outcome::NotFound | Outcome::Rejected(_) => self.answered(now),
            Outcome::Unavailable(_) | Outcome::Unknown(_) => self.failed(now),
            Outcome::Throttled(hint) => self.throttled(*hint, now, jitter),
            Outcome::Denied(_) => match self {
                Self::Stopped { .. } => self,
                Self::Flowing { .. } | Self::Probing { .. } | Self::Throttled { .. } => {
                    Self::Stopped {
                        probe_at: now.after(REFUSED_PROBE_EVERY),
                    }
                }
            },
        }
    }

    /// It took a request and had something to say about it. A wait that it asked for holds all the same.
    fn answered(self, now: Timestamp) -> Self {
        match self {
            Self::Throttled { until, .. } if now < until => self,
            Self::Flowing { .. }
            | Self::Probing { .. }
            | Self::Throttled { .. }
            | Self::Stopped { .. } => Self::FIRST,
        }
    }

    fn failed(self, now: Timestamp) -> Self {
        match self {
            Self::Flowing { failures } if failures + 1 >= FAILURES_MAX => Self::Probing {
                probe_at: now.after(DOWN_PROBE_FIRST),
            },
            Self::Flowing { failures } => Self::Flowing {
                failures: failures + 1,
            },
            // The wait it asked for is over, so this is news.
            Self::Throttled { until, .. } if now >= until => Self::Flowing { failures: 1 },
            Self::Probing { .. } | Self::Throttled { .. } | Self::Stopped { .. } => self,
        }
    }

    fn throttled(self, hint: Option<Duration>, now: Timestamp, jitter: f64) -> Self {
        let (until, streak) = match self {
            // Requests that were under way with the first one say the same once more.
            Self::Throttled { until, streak } if now < until => (until, streak),
            Self::Throttled { streak, .. } => (now, streak.saturating_add(1)),
            // A key that is refused is worse news than a full street.
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
    fn admits(self, wanted: usize, now: Timestamp) -> Grant {
        match self {
            Self::Flowing { .. } => Grant::Lanes(wanted),
            Self::Throttled { until, .. } if now < until => Grant::NotBefore(until),
            Self::Throttled { .. } => Grant::Lanes(wanted),
            Self::Probing { probe_at } | Self::Stopped { probe_at } if now < probe_at => {
                Grant::NotBefore(probe_at)
            }
            Self::Probing { .. } | Self::Stopped { .. } => Grant::Probe,
        }
    }

    /// After a probe has gone out, the next one is due later; when there was nothing to probe with, it still is.
    fn probed(&mut self, now: Timestamp, sent: Sent) {
        let (probe_at, every) = match self {
            Self::Probing { probe_at } => (probe_at, DOWN_PROBE_EVERY),
            Self::Stopped { probe_at } => (probe_at, REFUSED_PROBE_EVERY),
            Self::Flowing { .. } | Self::Throttled { .. } => return,
        };
        *probe_at = match sent {
            Sent::Something => now.after(every),
            Sent::Nothing => now,
        };
    }
}

/// Whether a leave to send was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Something,
    Nothing,
}

/// How many lanes may be sent now, and when to ask again if it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many, at least one. What is not used is to be given back.
    Lanes(usize),
    /// One, to find out. If it is not used, it is to be given back.
    Probe,
    /// None before this moment.
    NotBefore(Timestamp),
}

impl Grant {
    /// How many lanes that is.
    pub const fn lanes(self) -> usize {
        match self {
            Self::Lanes(lanes) => lanes,
            Self::Probe => 1,
            Self::NotBefore(_) => 0,
        }
    }
}

/// The destination, shared by all dispatch threads.
#[derive(Debug)]
pub struct Destination {
    /// Held only while a decision is made, never across an await.
    shared: Mutex<Shared>,
    changed: Notify,
}

#[derive(Debug)]
struct Shared {
    condition: Condition,
    pace: Pace,
}

impl Destination {
    /// A destination that flows at this rate.
    pub fn new(rate: Rate, now: Timestamp) -> Self {
        let shared = Shared {
            condition: Condition::FIRST,
            pace: Pace::new(rate, now),
        };
        Self {
            shared: Mutex::new(shared),
            changed: Notify::new(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is like.
    pub fn condition(&self) -> Condition {
        self.shared().condition
    }

    /// Asks for leave to send up to `wanted` lanes.
    pub fn grant(&self, wanted: usize, now: Timestamp) -> Grant {
        let mut shared = self.shared();
        let admitted = shared.condition.admits(wanted, now);
        let taken = shared.pace.take(admitted.lanes(), now);
        match admitted {
            Grant::NotBefore(_) => admitted,
            Grant::Lanes(_) | Grant::Probe if taken == 0 => Grant::NotBefore(shared.pace.next()),
            Grant::Lanes(_) => Grant::Lanes(taken),
            Grant::Probe => {
                shared.condition.probed(now, Sent::Something);
                Grant::Probe
            }
        }
    }

    /// Gives back what was granted and not used, because only so many lanes had something to send.
    pub fn give_back(&self, granted: Grant, used: usize, now: Timestamp) {
        let unused = granted.lanes().saturating_sub(used);
        if unused == 0 {
            return;
        }
        let mut shared = self.shared();
        shared.pace.give_back(unused);
        if granted == Grant::Probe {
            shared.condition.probed(now, Sent::Nothing);
        }
    }

    /// Learns from an outcome; says what it is like now.
    pub fn note(&self, outcome: &Outcome, now: Timestamp, jitter: f64) -> Condition {
        let mut shared = self.shared();
        let before = shared.condition;
        shared.condition = before.after(outcome, now, jitter);
        let after = shared.condition;
        drop(shared);
        if before != after {
            self.changed.notify_waiters();
        }
        after
    }

    /// Tries at once whether it takes us again, because the key is another one.
    pub fn probe_now(&self, now: Timestamp) {
        if let Condition::Stopped { probe_at } = &mut self.shared().condition {
            *probe_at = now;
        }
        self.changed.notify_waiters();
    }

    /// Resolves when something has changed since the future was made.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::Cause;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    /// U25: one probe every 30 s, and at once when the key changes.
    #[test]
    fn a_refused_key_lets_one_probe_through_every_thirty_seconds() {
        let destination = Destination::new(Rate::Unlimited, NOW);
        assert_eq!(destination.grant(8, NOW), Grant::Lanes(8));
        let denied = Outcome::Denied(Cause::Status(401));
        destination.note(&denied, NOW, 0.5);
        destination.note(&denied, later(9), 0.5);
        assert_eq!(destination.grant(8, later(10)), Grant::NotBefore(later(30)));
        assert_eq!(destination.grant(8, later(30)), Grant::Probe);
        assert_eq!(destination.grant(8, later(31)), Grant::NotBefore(later(60)));
        destination.probe_now(later(32));
        assert_eq!(destination.grant(8, later(32)), Grant::Probe);
        destination.note(&Outcome::Applied, later(33), 0.5);
        assert_eq!(destination.grant(8, later(33)), Grant::Lanes(8));
    }

    /// U34: the whole destination waits.
    #[test]
    fn a_throttled_destination_waits_for_its_hint() {
        let destination = Destination::new(Rate::Unlimited, NOW);
        destination.note(&Outcome::Throttled(Some(Duration::from_secs(5))), NOW, 0.5);
        destination.note(&Outcome::Applied, later(1), 0.5);
        assert_eq!(destination.grant(8, later(1)), Grant::NotBefore(later(5)));
        assert_eq!(destination.grant(8, later(5)), Grant::Lanes(8));
    }

    #[test]
    fn without_a_hint_the_waits_grow() {
        let mut condition = Condition::FIRST;
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..4 {
            condition = condition.after(&Outcome::Throttled(None), now, 1.0);
            let Condition::Throttled { until, .. } = condition else {
                panic!("it is throttled")
            };
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    /// U01, U35, N19, N20: an outage costs ten requests and a probe every 5 s, and the first success opens all lanes.
    #[test]
    fn a_destination_that_is_down_is_probed_until_it_answers() {
        let destination = Destination::new(Rate::Unlimited, NOW);
        for failed in 1..FAILURES_MAX {
            destination.note(&Outcome::Unavailable(Cause::Connect), NOW, 0.5);
            assert_eq!(destination.grant(8, NOW), Grant::Lanes(8), "{failed}");
        }
        destination.note(&Outcome::Unknown(Cause::Deadline), NOW, 0.5);
        assert_eq!(destination.grant(8, NOW), Grant::NotBefore(later(1)));
        assert_eq!(destination.grant(8, later(1)), Grant::Probe);
        destination.note(&Outcome::Unavailable(Cause::Connect), later(2), 0.5);
        assert_eq!(destination.grant(8, later(3)), Grant::NotBefore(later(6)));
        assert_eq!(destination.grant(8, later(6)), Grant::Probe);
        destination.note(&Outcome::Applied, later(7), 0.5);
        assert_eq!(destination.grant(8, later(7)), Grant::Lanes(8));
    }

    /// O06, V9: failures of one customer among successes of others are no outage.
    #[test]
    fn failures_among_successes_are_no_outage() {
        let mut condition = Condition::FIRST;
        for _ in 0..100 {
            for outcome in [
                Outcome::Unknown(Cause::Deadline),
                Outcome::Unavailable(Cause::Status(500)),
                Outcome::Applied,
            ] {
                condition = condition.after(&outcome, NOW, 0.5);
                assert_eq!(condition.as_str(), "flowing");
            }
        }
    }

    /// U34, U35: an outage after a 429 is an outage.
    #[test]
    fn a_wait_that_is_over_hides_no_outage() {
        let mut condition =
            Condition::FIRST.after(&Outcome::Throttled(Some(Duration::from_secs(1))), NOW, 0.5);
        for _ in 0..FAILURES_MAX {
            condition = condition.after(&Outcome::Unavailable(Cause::Status(500)), later(2), 0.5);
        }
        assert_eq!(condition.as_str(), "probing");
    }

    #[test]
    fn a_probe_that_found_nothing_to_send_stays_due() {
        let destination = Destination::new(Rate::Unlimited, NOW);
        destination.note(&Outcome::Denied(Cause::Status(401)), NOW, 0.5);
        assert_eq!(destination.grant(8, later(30)), Grant::Probe);
        destination.give_back(Grant::Probe, 0, later(30));
        assert_eq!(destination.grant(8, later(31)), Grant::Probe);
    }
}
