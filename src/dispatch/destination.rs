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
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// The shortest pause after a 429 without a hint.
const THROTTLE_MIN: Duration = Duration::from_secs(1);

/// What the destination is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Everything that is due goes out.
    #[default]
    Flowing,
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
    /// Every word for a condition.
    pub const WORDS: [&'static str; 3] = ["flowing", "throttled", "stopped"];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flowing => "flowing",
            Self::Throttled { .. } => "throttled",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// What it is like after this outcome. What says nothing about the destination as a whole changes nothing.
    #[must_use]
    pub fn after(self, outcome: &Outcome, now: Timestamp, jitter: f64) -> Self {
        match (self, outcome) {
            (Self::Stopped { .. }, Outcome::Denied(_)) => self,
            (_, Outcome::Denied(_)) => Self::Stopped {
                probe_at: now.after(PROBE_EVERY),
            },
            (Self::Stopped { .. }, Outcome::Throttled(_))
            | (Self::Flowing, Outcome::Throttled(_)) => throttled(1, outcome, now, jitter),
            (Self::Throttled { until, streak }, Outcome::Throttled(_)) => {
                // Requests that were under way with the first one say the same once more.
                let streak = if now < until {
                    streak
                } else {
                    streak.saturating_add(1)
                };
                throttled(streak, outcome, now, jitter).max_until(until)
            }
            (_, Outcome::Applied | Outcome::NotFound | Outcome::Rejected(_)) => match self {
                Self::Throttled { until, .. } if now < until => self,
                Self::Throttled { .. } | Self::Stopped { .. } | Self::Flowing => Self::Flowing,
            },
            (_, Outcome::Unavailable(_) | Outcome::Unknown(_)) => self,
        }
    }

    fn max_until(self, other: Timestamp) -> Self {
        match self {
            Self::Throttled { until, streak } => Self::Throttled {
                until: until.max(other),
                streak,
            },
            Self::Flowing | Self::Stopped { .. } => self,
        }
    }
}

fn throttled(streak: u32, outcome: &Outcome, now: Timestamp, jitter: f64) -> Condition {
    let hint = if let Outcome::Throttled(hint) = outcome {
        *hint
    } else {
        None
    };
    let wait = hint.unwrap_or_else(|| backoff(streak, jitter).max(THROTTLE_MIN));
    Condition::Throttled {
        until: now.after(wait),
        streak,
    }
}

/// How many lanes may be sent now, and when to ask again if it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many, at least one. What is not used is to be given back.
    Lanes(usize),
    /// None before this moment.
    NotBefore(Timestamp),
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
            condition: Condition::Flowing,
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
        let wanted = match shared.condition {
            Condition::Throttled { until, .. } if now < until => return Grant::NotBefore(until),
            Condition::Stopped { probe_at } if now < probe_at => return Grant::NotBefore(probe_at),
            Condition::Stopped { .. } => 1,
            Condition::Throttled { .. } | Condition::Flowing => wanted,
        };
        match shared.pace.take(wanted, now) {
            0 => Grant::NotBefore(shared.pace.next()),
            granted => {
                if let Condition::Stopped { probe_at } = &mut shared.condition {
                    *probe_at = now.after(PROBE_EVERY);
                }
                Grant::Lanes(granted)
            }
        }
    }

    /// Gives back what was granted and found nothing to send.
    pub fn give_back(&self, unused: usize, now: Timestamp) {
        let mut shared = self.shared();
        shared.pace.give_back(unused);
        if let Condition::Stopped { probe_at } = &mut shared.condition
            && unused > 0
        {
            *probe_at = now;
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
        assert_eq!(destination.grant(8, later(30)), Grant::Lanes(1));
        assert_eq!(destination.grant(8, later(31)), Grant::NotBefore(later(60)));
        destination.probe_now(later(32));
        assert_eq!(destination.grant(8, later(32)), Grant::Lanes(1));
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
        let mut condition = Condition::Flowing;
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

    #[test]
    fn an_outage_is_no_reason_to_stop() {
        for outcome in [
            Outcome::Unavailable(Cause::Connect),
            Outcome::Unknown(Cause::Deadline),
        ] {
            assert_eq!(
                Condition::Flowing.after(&outcome, NOW, 0.5),
                Condition::Flowing
            );
        }
    }
}
