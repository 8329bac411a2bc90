//! What the demo's sender was promised: which events the bridge has taken, and what Imprint is to know for it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::workload::{ExpectedUpdate, GeneratedEvent};
use crate::sender::SendResult;

/// Who keeps them believes only answers.
#[derive(Default)]
pub(super) struct Expectations {
    /// Ids of the events that are kept, each once.
    pub(super) accepted: BTreeSet<String>,
    /// Events that were answered as kept before.
    pub(super) duplicates: u64,
    /// Events that were refused.
    pub(super) refused: u64,
    /// The newest that was accepted of each customer, by Imprint's id.
    pub(super) newest: BTreeMap<String, Rc<ExpectedUpdate>>,
    /// What should not have happened.
    pub(super) wrong: Vec<String>,
}

impl Expectations {
    /// How many events have been answered for good.
    pub(super) fn answered(&self) -> u64 {
        u64::try_from(self.accepted.len())
            .unwrap_or(u64::MAX)
            .saturating_add(self.duplicates)
            .saturating_add(self.refused)
    }

    /// Writes down how sending an event ended.
    pub(super) fn enter(&mut self, event: GeneratedEvent, end: SendResult) {
        let GeneratedEvent { id, expected, .. } = event;
        match (end, expected) {
            (SendResult::Accepted | SendResult::Duplicate, Some(expected)) => {
                self.take(id, expected);
            }
            (SendResult::Refused(_), None) => self.refused = self.refused.saturating_add(1),
            (SendResult::Accepted | SendResult::Duplicate, None) => {
                self.wrong.push(format!("{id} should have been refused"));
            }
            (SendResult::Refused(problem), Some(_)) => {
                self.refused = self.refused.saturating_add(1);
                self.wrong
                    .push(format!("{id} should have been accepted: {problem}"));
            }
            (SendResult::GaveUp(problem) | SendResult::Failed(problem), _) => {
                self.wrong.push(format!("{id} was not answered: {problem}"));
            }
        }
    }

    /// The first answer about an event counts as its acceptance, whatever it says: a try whose answer was lost may have
    /// been the first.
    fn take(&mut self, id: String, expected: Rc<ExpectedUpdate>) {
        if !self.accepted.insert(id) {
            self.duplicates = self.duplicates.saturating_add(1);
            return;
        }
        let newest = self
            .newest
            .entry(expected.imprint_id.clone())
            .or_insert_with(|| Rc::clone(&expected));
        if expected.revision > newest.revision {
            *newest = expected;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::workload::Workload;
    use crate::sender::verdict::FailureReason;

    #[test]
    fn every_event_is_booked_once_and_the_newest_revision_stays() {
        let mut expectations = Expectations::default();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for event in Workload::new(1, 500) {
            let end = match &event.expected {
                Some(expected) => {
                    let newest = newest.entry(expected.imprint_id.clone()).or_default();
                    *newest = expected.revision.max(*newest);
                    SendResult::Accepted
                }
                None => SendResult::Refused(FailureReason::default()),
            };
            expectations.enter(event, end);
        }
        assert_eq!(expectations.answered(), 500);
        assert!(
            expectations.wrong.is_empty()
                && expectations.duplicates > 0
                && expectations.refused > 0
        );
        let kept: BTreeMap<_, _> = expectations
            .newest
            .iter()
            .map(|(id, expected)| (id.clone(), expected.revision))
            .collect();
        assert_eq!(kept, newest);
    }

    #[test]
    fn what_should_not_happen_is_told_by_id() {
        let mut expectations = Expectations::default();
        for (number, event) in Workload::new(1, 200).enumerate() {
            let end = match event.expected {
                Some(_) if number % 2 == 0 => SendResult::Refused(FailureReason::default()),
                Some(_) => SendResult::GaveUp(FailureReason::default()),
                None => SendResult::Accepted,
            };
            expectations.enter(event, end);
        }
        assert_eq!(expectations.wrong.len(), 200);
        assert!(
            expectations
                .wrong
                .iter()
                .all(|wrong| wrong.starts_with("demo-"))
        );
    }
}
