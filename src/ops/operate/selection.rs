//! The selection of entries that an operator changes at once, and the operator's reason.

use super::replay::target;
use super::{Error, Operations};
use crate::outbox::{
    AuditEvent, Detail, EntryFilter, EntryId, EntrySelection, LOAD_MAX, LoadedEntries, State,
};

/// The maximum number of entries that one request changes, because all other writers wait for the transaction.
pub const CHANGE_ENTRIES_MAX: usize = LOAD_MAX;

/// The parked entries to change, selected by number or by filter. Numbers also select undecided entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedSelection(EntrySelection);

impl ParkedSelection {
    /// Selects entries by number.
    ///
    /// # Errors
    /// Returns [`Error::TooManyEntries`] for more than [`CHANGE_ENTRIES_MAX`] numbers.
    pub fn numbers(entries: Vec<EntryId>) -> Result<Self, Error> {
        if entries.len() > CHANGE_ENTRIES_MAX {
            return Err(Error::TooManyEntries);
        }
        Ok(Self(EntrySelection::Entries(entries)))
    }

    /// Selects the entries that match a filter.
    ///
    /// # Errors
    /// Returns [`Error::NotParked`] if the filter selects another state than `parked`.
    pub fn matching(mut filter: EntryFilter) -> Result<Self, Error> {
        if filter.state != State::Parked {
            return Err(Error::NotParked);
        }
        filter.max = filter.max.min(CHANGE_ENTRIES_MAX);
        Ok(Self(EntrySelection::Matching(filter)))
    }
}

/// The operator's reason for a change, which the audit log records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Parses the operator's reason; returns `None` if the text is blank. Replaces every control character by a space: a
    /// line feed in a reason would look like the next record of the audit log.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace(char::is_control, " ");
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Operations {
    /// Loads the selected entries in one operation of the store, except entries that are neither parked nor undecided.
    pub(super) async fn load_selected(
        &self,
        selection: ParkedSelection,
        detail: Detail,
    ) -> Result<LoadedEntries, Error> {
        let mut loaded = self.outbox.load(selection.0, detail).await?;
        loaded.entries.retain(|entry| {
            matches!(
                entry.summary.receipt.state,
                State::Parked | State::Undecided
            )
        });
        Ok(loaded)
    }

    /// Takes the undecided entries out of the loaded ones, and makes them wait. Returns the entries that now wait.
    pub(super) async fn approve_undecided(
        &self,
        loaded: &mut LoadedEntries,
        event: &AuditEvent,
    ) -> Result<Vec<EntryId>, Error> {
        let undecided: Vec<EntryId> = loaded
            .entries
            .extract_if(.., |entry| entry.summary.receipt.state == State::Undecided)
            .map(|entry| entry.summary.receipt.entry)
            .collect();
        if undecided.is_empty() {
            return Ok(undecided);
        }
        let event = AuditEvent {
            target: target(undecided.iter().copied()),
            ..event.clone()
        };
        Ok(self.outbox.approve(undecided, event).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_has_at_most_500_parked_entries() {
        let numbers = |count| ParkedSelection::numbers((0..count).map(EntryId).collect());
        assert!(numbers(500).is_ok());
        assert!(matches!(numbers(501), Err(Error::TooManyEntries)));
        let parked =
            ParkedSelection::matching(EntryFilter::in_state(State::Parked, 10_000)).unwrap();
        let EntrySelection::Matching(filter) = parked.0 else {
            panic!("{parked:?}")
        };
        assert_eq!(filter.max, CHANGE_ENTRIES_MAX);
        let waiting = ParkedSelection::matching(EntryFilter::in_state(State::Waiting, 10));
        assert!(matches!(waiting, Err(Error::NotParked)));
    }

    /// FAULTS I37
    #[test]
    fn a_reason_is_one_line() {
        let forged = Reason::parse("typo\r\n2 root discard\u{85}\u{2028}x");
        let text = forged.unwrap().into_text();
        assert!(!text.contains(['\n', '\r', '\u{85}']), "{text:?}");
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
