//! Decides which notices the bridge sends to the webhook of the operators: the conditions of the alert rules in
//! `deploy/monitoring/alerts.yaml`, for installations without Prometheus and Alertmanager.
//!
//! This room is pure. The caller gives it the values of the metrics every few seconds ([`Notices::look`]), asks for the
//! next notice that is due, and reports the result of each attempt. A condition has one notice when it begins and one when
//! it ends. The memory is bounded: of each condition, only the newest notice waits, and the number of conditions has a
//! limit.
//!
//! A notice has the name of a rule, of a source or of a field, and counts. It never has a value or an id of a customer,
//! because no metric has one.

use std::time::Duration;

use self::conditions::ConditionChange;
use self::unsent::Unsent;
use crate::metrics::{Labels, SeriesValue};
use crate::time::Timestamp;

mod conditions;
mod findings;
mod history;
mod message;
mod rows;
mod rules;
#[cfg(test)]
mod tests;
mod unsent;

pub use self::findings::{
    DriftKind, DriftedField, SilentSource, SourceFindings, SourceWatch, is_of_sources,
};
pub use self::history::{EarlierEvents, is_watched};
pub use self::message::Notice;

/// The time between two looks at the values. Prometheus reads them about as often.
pub const LOOK_EVERY: Duration = Duration::from_secs(15);

/// The conditions that hold, and the notices that wait for delivery.
#[derive(Debug)]
pub struct Notices {
    /// The name of this process in the notices.
    instance: String,
    watch: SourceWatch,
    unsent: Unsent,
}

impl Notices {
    /// Creates the notices of a process that starts at `now`.
    pub fn new(instance: String, now: Timestamp) -> Self {
        Self {
            instance,
            watch: SourceWatch::new(now),
            unsent: Unsent::default(),
        }
    }

    /// Counts the events before the start of the process, so that a source can be silent also after a restart.
    pub fn count_earlier(&mut self, events: Vec<EarlierEvents>) {
        self.watch.count_earlier(events);
    }

    /// Decides which conditions hold with these values, and adds a notice for each change.
    pub fn look(&mut self, samples: Vec<SeriesValue>, now: Timestamp) {
        for ConditionChange { condition, end } in self.watch.changes(samples, now) {
            let notice = Notice::new(&condition, end, &self.instance);
            self.unsent.add(condition.key, notice, now);
        }
    }

    /// Returns the notice that is due at `now`.
    pub fn due(&self, now: Timestamp) -> Option<&Notice> {
        self.unsent.due(now)
    }

    /// Returns the time of the next attempt, if a notice waits.
    pub fn next_attempt(&self) -> Option<Timestamp> {
        self.unsent.next_attempt()
    }

    /// Records that the receiver has confirmed a notice.
    pub fn sent(&mut self, id: &str) {
        self.unsent.remove(id);
    }

    /// Records a failed attempt. Returns whether the notice is given up.
    pub fn failed(&mut self, id: &str, now: Timestamp, jitter: f64) -> bool {
        self.unsent.failed(id, now, jitter)
    }

    /// Returns the names and the labels of the conditions for which the bridge has decided to send a notice, and which have
    /// not ended.
    pub fn raised(&self) -> impl Iterator<Item = (&'static str, &Labels)> {
        self.watch.conditions.raised()
    }

    /// Returns what the rules have found out about the sources.
    pub fn findings(&self) -> SourceFindings {
        self.watch.findings()
    }
}
