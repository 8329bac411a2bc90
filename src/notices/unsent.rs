//! The notices that wait for their delivery: of each condition, only the newest.
//!
//! If a condition ends before the receiver has its first notice, the receiver gets only the notice of the end, which has
//! also the time of the begin.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conditions::ConditionKey;
use super::message::Notice;
use super::rules::Severity;
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
/// The maximum number of waiting notices when a notice of a warning is added. Conditions that begin and end quickly, each with
/// other labels, could fill the memory otherwise.
const WARNINGS_MAX: usize = 1000;
/// The maximum number of waiting notices when a critical notice is added.
const UNSENT_MAX: usize = 2000;

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
        let max = match notice.severity() {
            Severity::Warning => WARNINGS_MAX,
            Severity::Critical => UNSENT_MAX,
        };
        if self.0.len() >= max && !self.0.contains_key(&key) {
            return;
        }
        let waiting = WaitingNotice {
            notice,
            failures: 0,
            due: now,
        };
        self.0.insert(key, waiting);
    }

    /// Returns the notice that has waited longest of those that are due. Critical notices come first.
    pub(super) fn due(&self, now: Timestamp) -> Option<&Notice> {
        let due = self.0.values().filter(|waiting| waiting.due <= now);
        due.min_by_key(|waiting| {
            let is_warning = waiting.notice.severity() == Severity::Warning;
            (is_warning, waiting.due)
        })
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
