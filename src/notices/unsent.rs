//! The notices that wait for their delivery: of each condition, only the newest.
//!
//! If a condition ends before the receiver has its first notice, the receiver gets only the notice of the end, which has
//! also the time of the begin.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conditions::ConditionKey;
use super::message::Notice;
use crate::backoff::Backoff;
use crate::time::Timestamp;

/// The maximum number of attempts to send one notice. With the backoff, the last attempt is about half an hour after the first.
const ATTEMPTS_MAX: u32 = 12;
/// The wait between two attempts.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(4),
    min: Duration::from_secs(1),
    max: Duration::from_mins(10),
};
/// The maximum number of waiting notices. Conditions that begin and end quickly, each with other labels, could fill the
/// memory otherwise.
const UNSENT_MAX: usize = 1000;

/// The notices that wait.
#[derive(Debug, Default)]
pub(super) struct Unsent(BTreeMap<ConditionKey, WaitingNotice>);

#[derive(Debug)]
struct WaitingNotice {
    notice: Notice,
    failures: u32,
    due: Timestamp,
}

impl Unsent {
    /// Adds a notice, in the place of an older one of the same condition.
    pub(super) fn add(&mut self, key: ConditionKey, notice: Notice, now: Timestamp) {
        if self.0.len() >= UNSENT_MAX && !self.0.contains_key(&key) {
            return;
        }
        let waiting = WaitingNotice {
            notice,
            failures: 0,
            due: now,
        };
        self.0.insert(key, waiting);
    }

    /// Returns the notice that has waited longest of those that are due.
    pub(super) fn due(&self, now: Timestamp) -> Option<&Notice> {
        let due = self.0.values().filter(|waiting| waiting.due <= now);
        due.min_by_key(|waiting| waiting.due)
            .map(|waiting| &waiting.notice)
    }

    /// Returns the time of the next attempt.
    pub(super) fn next_attempt(&self) -> Option<Timestamp> {
        self.0.values().map(|waiting| waiting.due).min()
    }

    /// Removes a notice.
    pub(super) fn remove(&mut self, id: &str) {
        self.0.retain(|_, waiting| waiting.notice.id() != id);
    }

    /// Records a failed attempt. Returns whether the notice has failed too often, and is removed.
    pub(super) fn failed(&mut self, id: &str, now: Timestamp, jitter: f64) -> bool {
        let mut all = self.0.values_mut();
        let Some(waiting) = all.find(|waiting| waiting.notice.id() == id) else {
            return false;
        };
        waiting.failures = waiting.failures.saturating_add(1);
        waiting.due = now.after(BACKOFF.delay(waiting.failures, jitter));
        let is_given_up = waiting.failures >= ATTEMPTS_MAX;
        if is_given_up {
            self.remove(id);
        }
        is_given_up
    }
}
