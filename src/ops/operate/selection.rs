//! The selection of entries that an operator changes at once, and the operator's reason.

use super::{Error, Operations};
use crate::outbox::{Detail, EntryFilter, EntryId, EntrySelection, LOAD_MAX, LoadedEntries, State};

/// The maximum number of entries that one request changes. All other writers of the store wait while the transaction
/// runs.
pub const CHANGE_ENTRIES_MAX: usize = LOAD_MAX;

/// The entries to change, selected by number or by filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSelection(EntrySelection);

impl ChangeSelection {
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
    pub fn matching(mut filter: EntryFilter) -> Self {
        filter.max = filter.max.min(CHANGE_ENTRIES_MAX);
        Self(EntrySelection::Matching(filter))
    }

    /// Returns the states of the entries to change: the state in the filter, or all states that the change accepts if
    /// the selection has numbers.
    ///
    /// Returns an error if the change does not accept the state in the filter. A filter for waiting entries must
    /// contain a customer: a wrong filter must not end a backlog, and a filter without a customer would read the whole
    /// backlog.
    pub(super) fn states(&self, accepted: &[State]) -> Result<Vec<State>, Error> {
        let EntrySelection::Matching(filter) = &self.0 else {
            return Ok(accepted.to_vec());
        };
        if !accepted.contains(&filter.state) {
            return Err(Error::WrongState);
        }
        if filter.state == State::Waiting && filter.customer.is_none() {
            return Err(Error::CustomerRequired);
        }
        Ok(vec![filter.state])
    }
}

/// The operator's reason for a change, which the audit log records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Parses the operator's reason; returns `None` if the text is blank. Replaces every control character by a space:
    /// a line feed in a reason would look like the next record of the audit log.
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
    /// Loads the selected entries in one operation of the store, except entries in other states than these.
    pub(super) async fn load_selected(
        &self,
        selection: ChangeSelection,
        detail: Detail,
        states: &[State],
    ) -> Result<LoadedEntries, Error> {
        let mut loaded = self.outbox.load(selection.0, detail).await?;
        loaded
            .entries
            .retain(|entry| states.contains(&entry.summary.receipt.state));
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_has_at_most_500_entries() {
        let numbers = |count| ChangeSelection::numbers((0..count).map(EntryId).collect());
        assert!(numbers(500).is_ok());
        assert!(matches!(numbers(501), Err(Error::TooManyEntries)));
        let parked = ChangeSelection::matching(EntryFilter::in_state(State::Parked, 10_000));
        let EntrySelection::Matching(filter) = parked.0 else {
            panic!("{parked:?}")
        };
        assert_eq!(filter.max, CHANGE_ENTRIES_MAX);
    }

    #[test]
    fn a_filter_has_only_a_state_that_the_change_accepts() {
        let accepted = [State::Waiting, State::Parked];
        let states = |state, customer: Option<&str>| {
            let filter = EntryFilter {
                customer: customer.map(str::to_owned),
                ..EntryFilter::in_state(state, 10)
            };
            ChangeSelection::matching(filter).states(&accepted)
        };
        assert_eq!(states(State::Parked, None).unwrap(), [State::Parked]);
        assert_eq!(
            states(State::Waiting, Some("c1")).unwrap(),
            [State::Waiting]
        );
        let required = states(State::Waiting, None);
        assert!(matches!(required, Err(Error::CustomerRequired)));
        let wrong = states(State::Delivered, Some("c1"));
        assert!(matches!(wrong, Err(Error::WrongState)));
        let numbers = ChangeSelection::numbers(vec![EntryId(1)]).unwrap();
        assert_eq!(numbers.states(&accepted).unwrap(), accepted);
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
