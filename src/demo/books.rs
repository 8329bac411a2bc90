//! What the demo's sender was promised: which events the bridge has taken, and what Imprint is to know for it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::story::{Claim, Letter};
use crate::sender::End;

/// Who keeps them believes only answers.
#[derive(Default)]
pub(super) struct Books {
    /// Ids of the events that are kept, each once.
    pub(super) accepted: BTreeSet<String>,
    /// Events that were answered as kept before.
    pub(super) duplicates: u64,
    /// Events that were refused.
    pub(super) refused: u64,
    /// The newest that was accepted of each customer, by Imprint's id.
    pub(super) newest: BTreeMap<String, Rc<Claim>>,
    /// What should not have happened.
    pub(super) wrong: Vec<String>,
}

impl Books {
    /// How many events have been answered for good.
    pub(super) fn answered(&self) -> u64 {
        u64::try_from(self.accepted.len())
            .unwrap_or(u64::MAX)
            .saturating_add(self.duplicates)
            .saturating_add(self.refused)
    }

    /// Writes down how sending an event ended.
    pub(super) fn enter(&mut self, letter: Letter, end: End) {
        let Letter { id, claim, .. } = letter;
        match (end, claim) {
            (End::Accepted | End::Duplicate, Some(claim)) => self.take(id, claim),
            (End::Refused(_), None) => self.refused = self.refused.saturating_add(1),
            (End::Accepted | End::Duplicate, None) => {
                self.wrong.push(format!("{id} should have been refused"));
            }
            (End::Refused(problem), Some(_)) => {
                self.refused = self.refused.saturating_add(1);
                self.wrong
                    .push(format!("{id} should have been accepted: {problem}"));
            }
            (End::GivenUp(problem) | End::Failed(problem), _) => {
                self.wrong.push(format!("{id} was not answered: {problem}"));
            }
        }
    }

    /// The first answer about an event counts as its acceptance, whatever it says: a try whose answer was lost may have
    /// been the first.
    fn take(&mut self, id: String, claim: Rc<Claim>) {
        if !self.accepted.insert(id) {
            self.duplicates = self.duplicates.saturating_add(1);
            return;
        }
        let newest = self
            .newest
            .entry(claim.imprint_id.clone())
            .or_insert_with(|| Rc::clone(&claim));
        if claim.revision > newest.revision {
            *newest = claim;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::story::Story;
    use crate::sender::answer::Problem;

    #[test]
    fn every_event_is_booked_once_and_the_newest_revision_stays() {
        let mut books = Books::default();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for letter in Story::new(1, 500) {
            let end = match &letter.claim {
                Some(claim) => {
                    let newest = newest.entry(claim.imprint_id.clone()).or_default();
                    *newest = claim.revision.max(*newest);
                    End::Accepted
                }
                None => End::Refused(Problem::default()),
            };
            books.enter(letter, end);
        }
        assert_eq!(books.answered(), 500);
        assert!(books.wrong.is_empty() && books.duplicates > 0 && books.refused > 0);
        let kept: BTreeMap<_, _> = books
            .newest
            .iter()
            .map(|(id, claim)| (id.clone(), claim.revision))
            .collect();
        assert_eq!(kept, newest);
    }

    #[test]
    fn what_should_not_happen_is_told_by_id() {
        let mut books = Books::default();
        for (number, letter) in Story::new(1, 200).enumerate() {
            let end = match letter.claim {
                Some(_) if number % 2 == 0 => End::Refused(Problem::default()),
                Some(_) => End::GivenUp(Problem::default()),
                None => End::Accepted,
            };
            books.enter(letter, end);
        }
        assert_eq!(books.wrong.len(), 200);
        assert!(books.wrong.iter().all(|wrong| wrong.starts_with("demo-")));
    }
}
