//! The entries that an operator changes at once, and the reason for it.

use super::{Error, Operations};
use crate::outbox::{EntryFilter, EntryId, Inspection, State};

/// The most entries that one request changes: it is one transaction, and all other writers wait for it.
pub const CHANGE_ENTRIES_MAX: usize = 500;

/// The entries to change: parked ones, by number or by filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(By);

#[derive(Clone, Debug, PartialEq, Eq)]
enum By {
    Number(Vec<EntryId>),
    Filter(EntryFilter),
}

impl Selection {
    /// # Errors
    /// [`Error::TooManyEntries`]
    pub fn numbers(entries: Vec<EntryId>) -> Result<Self, Error> {
        if entries.len() > CHANGE_ENTRIES_MAX {
            return Err(Error::TooManyEntries);
        }
        Ok(Self(By::Number(entries)))
    }

    /// # Errors
    /// [`Error::NotParked`]
    pub fn matching(mut filter: EntryFilter) -> Result<Self, Error> {
        if filter.state != State::Parked {
            return Err(Error::NotParked);
        }
        filter.max = filter.max.min(CHANGE_ENTRIES_MAX);
        Ok(Self(By::Filter(filter)))
    }
}

/// Why an operator changes something, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// `None` if the text is blank.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// The selected entries that are parked.
pub(super) struct Selected {
    pub(super) inspections: Vec<Inspection>,
    /// Whether the filter matches more entries than one request changes.
    pub(super) has_more: bool,
}

impl Operations {
    /// Loads the selected entries. An entry that is not parked any more is left out.
    pub(super) async fn select(&self, selection: Selection) -> Result<Selected, Error> {
        let (numbers, has_more) = match selection.0 {
            By::Number(numbers) => (numbers, false),
            By::Filter(filter) => {
                let page = self.outbox.list(filter).await?;
                let numbers = page.entries.iter().map(|summary| summary.receipt.entry);
                (numbers.collect::<Vec<_>>(), page.next.is_some())
            }
        };
        let mut inspections = Vec::new();
        for entry in numbers {
            let inspection = self.outbox.inspect(entry).await?;
            inspections
                .extend(inspection.filter(|found| found.listed.receipt.state == State::Parked));
        }
        Ok(Selected {
            inspections,
            has_more,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_has_at_most_500_parked_entries() {
        let numbers = |count| Selection::numbers((0..count).map(EntryId).collect());
        assert!(numbers(500).is_ok());
        assert!(matches!(numbers(501), Err(Error::TooManyEntries)));
        let parked = Selection::matching(EntryFilter::in_state(State::Parked, 10_000)).unwrap();
        let By::Filter(filter) = parked.0 else {
            panic!("{parked:?}")
        };
        assert_eq!(filter.max, CHANGE_ENTRIES_MAX);
        let waiting = Selection::matching(EntryFilter::in_state(State::Waiting, 10));
        assert!(matches!(waiting, Err(Error::NotParked)));
    }

    #[test]
    fn a_blank_text_is_no_reason() {
        assert_eq!(Reason::parse(" \n"), None);
        assert_eq!(
            Reason::parse(" a test row ").unwrap().into_text(),
            "a test row"
        );
    }
}
