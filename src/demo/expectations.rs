//! The expected result of the demo: the events that the bridge accepted, and the values that Imprint must have.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::workload::{ExpectedUpdate, GeneratedEvent};
use crate::sender::SendResult;

/// The expected result of the demo. The demo computes the expected result only from the bridge's answers to the CRM.
#[derive(Default)]
pub(super) struct Expectations {
    /// The ids of the accepted events.
    pub(super) accepted: BTreeSet<String>,
    /// The number of answers in which the bridge reported a duplicate event.
    pub(super) duplicates: u64,
    /// The number of events that the bridge refused.
    pub(super) refused: u64,
    /// The newest accepted update of each customer, by Imprint's id.
    pub(super) newest: BTreeMap<String, Rc<ExpectedUpdate>>,
    /// The unexpected answers of the bridge, as error texts.
    pub(super) errors: Vec<String>,
}

impl Expectations {
    /// Returns the number of events with a final answer of the bridge.
    pub(super) fn answered(&self) -> u64 {
        u64::try_from(self.accepted.len())
            .unwrap_or(u64::MAX)
            .saturating_add(self.duplicates)
            .saturating_add(self.refused)
    }

    /// Records the result of sending an event.
    pub(super) fn record(&mut self, event: GeneratedEvent, result: SendResult) {
        let GeneratedEvent { id, expected, .. } = event;
        match (result, expected) {
            (SendResult::Stored(_), Some(expected)) => {
                self.accept(id, expected);
            }
            (SendResult::Refused(_), None) => self.refused = self.refused.saturating_add(1),
            (SendResult::Stored(_), None) => {
                self.errors.push(format!("{id} should have been refused"));
            }
            (SendResult::Refused(reason), Some(_)) => {
                self.refused = self.refused.saturating_add(1);
                self.errors
                    .push(format!("{id} should have been accepted: {reason}"));
            }
            (SendResult::GaveUp(reason) | SendResult::Failed(reason), _) => {
                self.errors.push(format!("{id} has no answer: {reason}"));
            }
        }
    }

    /// Records an accepted event. The first answer about an event counts as acceptance, even if the answer reports a
    /// duplicate, because the answer to an earlier attempt was possibly lost.
    fn accept(&mut self, id: String, expected: Rc<ExpectedUpdate>) {
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
    use crate::sender::verdict::{FailureReason, StoredEvents};

    #[test]
    fn every_event_counts_once_and_the_newest_revision_wins() {
        let mut expectations = Expectations::default();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for event in Workload::new(1, 500) {
            let result = match &event.expected {
                Some(expected) => {
                    let newest = newest.entry(expected.imprint_id.clone()).or_default();
                    *newest = expected.revision.max(*newest);
                    SendResult::Stored(StoredEvents::default())
                }
                None => SendResult::Refused(FailureReason::default()),
            };
            expectations.record(event, result);
        }
        assert_eq!(expectations.answered(), 500);
        assert!(
            expectations.errors.is_empty()
                && expectations.duplicates > 0
                && expectations.refused > 0
        );
        let recorded: BTreeMap<_, _> = expectations
            .newest
            .iter()
            .map(|(id, expected)| (id.clone(), expected.revision))
            .collect();
        assert_eq!(recorded, newest);
    }

    #[test]
    fn an_unexpected_answer_is_reported_by_event_id() {
        let mut expectations = Expectations::default();
        for (number, event) in Workload::new(1, 200).enumerate() {
            let result = match event.expected {
                Some(_) if number % 2 == 0 => SendResult::Refused(FailureReason::default()),
                Some(_) => SendResult::GaveUp(FailureReason::default()),
                None => SendResult::Stored(StoredEvents::default()),
            };
            expectations.record(event, result);
        }
        assert_eq!(expectations.errors.len(), 200);
        assert!(
            expectations
                .errors
                .iter()
                .all(|error| error.starts_with("demo-"))
        );
    }
}
