//! What the rules have found out about the sources, for the pages of the console: a page and an alert never disagree.

use std::time::Duration;

use super::conditions::{Condition, ConditionChange, Conditions};
use super::history::{EarlierEvents, SeriesHistory};
use super::rules::intake::{FieldShare, FieldShares};
use super::rules::{FIELD_DRIFT, SOURCE_SILENT};
use crate::metrics::{Labels, SeriesValue};
use crate::time::Timestamp;

/// The metrics that the rules about sources read.
const OF_SOURCES: [&str; 3] = [
    "accepted_total",
    "field_values_total",
    "last_event_timestamp_seconds",
];

/// What the rules have found out about the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFindings {
    /// The time since which this process counts the values of fields.
    pub counted_since: Timestamp,
    pub silent: Vec<SilentSource>,
    pub drifted: Vec<DriftedField>,
}

impl SourceFindings {
    /// Returns the findings of a process that starts at `now`.
    pub const fn none(now: Timestamp) -> Self {
        Self {
            counted_since: now,
            silent: Vec::new(),
            drifted: Vec::new(),
        }
    }
}

/// A source that has stopped sending events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentSource {
    pub source: String,
    /// The time of its last event.
    pub since: Timestamp,
}

/// A field that the events of a source suddenly do not set, or suddenly clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftedField {
    pub source: String,
    /// The path of the field at Imprint.
    pub field: String,
    pub kind: DriftKind,
    /// The time that the numbers of events are about.
    pub window: Duration,
    /// The new events of the source in this time.
    pub events: u64,
    /// Those of them that set the field, or that clear it.
    pub counted: u64,
    /// The new events of the source in the day before this time.
    pub events_before: u64,
    /// The percentage of them that set the field, or that cleared it.
    pub percent_before: u64,
}

/// The change of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// No event sets the field.
    Missing,
    /// Most events clear the field.
    Cleared,
}

/// Decides which sources are silent, and which of their fields have drifted.
#[derive(Debug)]
pub struct SourceWatch {
    pub(super) history: SeriesHistory,
    pub(super) conditions: Conditions,
}

/// Returns whether a rule about sources reads the metric with this name. The name has no prefix.
pub fn is_of_sources(name: &str) -> bool {
    OF_SOURCES.contains(&name)
}

impl SourceWatch {
    /// Creates the watch of a process that starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            history: SeriesHistory::new(now),
            conditions: Conditions::default(),
        }
    }

    /// Counts the events before the start of the process, so that a source can be silent also after a restart.
    pub fn count_earlier(&mut self, events: Vec<EarlierEvents>) {
        self.history.count_earlier(events);
    }

    /// Decides which conditions hold with these values. With only the values of [`is_of_sources`], no other rule holds.
    pub fn look(&mut self, samples: Vec<SeriesValue>, now: Timestamp) {
        drop(self.changes(samples, now));
    }

    pub(super) fn changes(
        &mut self,
        samples: Vec<SeriesValue>,
        now: Timestamp,
    ) -> Vec<ConditionChange> {
        self.history.record(samples, now);
        self.conditions.step(&self.history, now)
    }

    /// Returns what the rules have found out about the sources.
    pub fn findings(&self) -> SourceFindings {
        let silent = self.conditions.of_rule(SOURCE_SILENT);
        SourceFindings {
            counted_since: self.history.started(),
            silent: silent
                .filter_map(|condition| self.silent(condition))
                .collect(),
            drifted: self.drifted(),
        }
    }

    fn silent(&self, condition: &Condition) -> Option<SilentSource> {
        let silence = Duration::try_from_secs_f64(condition.value).ok()?;
        Some(SilentSource {
            source: condition.key.1.get("source")?.clone(),
            since: self.history.ago(silence),
        })
    }

    fn drifted(&self) -> Vec<DriftedField> {
        let mut conditions = self.conditions.of_rule(FIELD_DRIFT).peekable();
        if conditions.peek().is_none() {
            return Vec::new();
        }
        let missing = FieldShares::missing(&self.history);
        let cleared = FieldShares::cleared(&self.history);
        let fields = conditions.filter_map(|condition| {
            let labels = &condition.key.1;
            match labels.get("value")?.as_str() {
                "cleared" => DriftedField::of(labels, DriftKind::Cleared, cleared.share(labels)),
                _ => DriftedField::of(labels, DriftKind::Missing, missing.share(labels)),
            }
        });
        fields.collect()
    }
}

impl DriftedField {
    fn of(labels: &Labels, kind: DriftKind, share: FieldShare) -> Option<Self> {
        Some(Self {
            source: labels.get("source")?.clone(),
            field: labels.get("field")?.clone(),
            kind,
            window: share.window,
            events: whole(share.accepted),
            counted: whole(share.counted),
            events_before: whole(share.accepted_before),
            percent_before: percent_before(share),
        })
    }
}

fn percent_before(share: FieldShare) -> u64 {
    match share.accepted_before > 0.0 {
        true => whole(share.counted_before / share.accepted_before * 100.0),
        false => 0,
    }
}

/// Returns a number of events as a whole number. A duration converts a float without a cast.
fn whole(number: f64) -> u64 {
    let number = Duration::try_from_secs_f64(number.round());
    number.map_or(0, |number| number.as_secs())
}
