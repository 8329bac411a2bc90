//! The conditions that hold, and since when.

use std::collections::BTreeMap;

use super::history::SeriesHistory;
use super::rules::{Rule, Severity, rules};
use crate::metrics::Labels;
use crate::time::Timestamp;

/// The maximum number of conditions that can hold at a time when a warning begins. A further warning waits until another
/// condition ends.
const WARNINGS_MAX: usize = 500;
/// The maximum number of conditions that can hold at a time when a critical condition begins. Warnings, of which each source
/// can have several, leave room for it.
const CONDITIONS_MAX: usize = 1000;

/// The identity of a condition: the name of its rule, and the labels of its series.
pub(super) type ConditionKey = (&'static str, Labels);

/// A condition that holds, or that has just ended.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) rule: &'static Rule,
    pub(super) key: ConditionKey,
    /// The time of the first look at which the condition held.
    pub(super) since: Timestamp,
    /// The present number, or the last one before the end.
    pub(super) value: f64,
    /// True after the condition has held for the time of its rule.
    pub(super) is_raised: bool,
}

/// A condition that must be reported.
#[derive(Debug)]
pub(super) struct ConditionChange {
    pub(super) condition: Condition,
    pub(super) end: ChangeKind,
}

/// The kind of a change, with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Raised(Timestamp),
    Resolved(Timestamp),
}

/// The conditions that hold now.
#[derive(Debug, Default)]
pub(super) struct Conditions(BTreeMap<ConditionKey, Condition>);

const fn conditions_max(severity: Severity) -> usize {
    match severity {
        Severity::Warning => WARNINGS_MAX,
        Severity::Critical => CONDITIONS_MAX,
    }
}

impl Conditions {
    /// Evaluates each rule. Returns the conditions that have held for long enough, and those that have ended.
    pub(super) fn step(&mut self, history: &SeriesHistory, now: Timestamp) -> Vec<ConditionChange> {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.0);
        let holding = rules().iter().flat_map(|rule| {
            let rows = (rule.holds)(history).0.into_iter();
            rows.map(move |(labels, value)| (rule, labels, value))
        });
        for (rule, labels, value) in holding {
            let key = (rule.name, labels);
            let known = before.remove(&key);
            if known.is_none() && self.0.len() >= conditions_max(rule.severity) {
                continue;
            }
            let mut condition = known.unwrap_or_else(|| Condition {
                rule,
                key: key.clone(),
                since: now,
                value,
                is_raised: false,
            });
            condition.value = value;
            if !condition.is_raised && now.since(condition.since) >= rule.lasting {
                condition.is_raised = true;
                changes.push(ConditionChange {
                    condition: condition.clone(),
                    end: ChangeKind::Raised(now),
                });
            }
            self.0.insert(key, condition);
        }
        let ended = before.into_values().filter(|ended| ended.is_raised);
        changes.extend(ended.map(|condition| ConditionChange {
            condition,
            end: ChangeKind::Resolved(now),
        }));
        changes
    }

    /// Returns the names and labels of the conditions that were reported and have not ended.
    pub(super) fn raised(&self) -> impl Iterator<Item = (&'static str, &Labels)> {
        let raised = self.0.values().filter(|condition| condition.is_raised);
        raised.map(|condition| (condition.key.0, &condition.key.1))
    }

    /// Returns the reported conditions of a rule that have not ended.
    pub(super) fn of_rule(&self, name: &'static str) -> impl Iterator<Item = &Condition> {
        let raised = self.0.values().filter(|condition| condition.is_raised);
        raised.filter(move |condition| condition.key.0 == name)
    }
}
