//! The selection of entries that an operator changes at once, and the operator's reason.

use std::collections::BTreeSet;

use super::replay::number;
use super::unchanged::{Unchanged, UnchangedReason};
use super::{Error, Operations};
use crate::outbox::{Detail, EntryFilter, EntryId, EntrySelection, LOAD_MAX, LoadedEntries, State};
use crate::time::Timestamp;

/// The maximum number of entries that one request changes. All other writers of the store wait while the transaction
/// runs.
pub const CHANGE_ENTRIES_MAX: usize = LOAD_MAX;

/// The entries to change, selected by number or by filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSelection {
    entries: EntrySelection,
    /// The states of the entries that the operator wants to change. `None` means every state that the change accepts.
    only: Option<&'static [State]>,
}

impl ChangeSelection {
    /// Selects entries by number. A repeated number counts once.
    ///
    /// # Errors
    /// Returns [`Error::TooManyEntries`] for more than [`CHANGE_ENTRIES_MAX`] numbers.
    pub fn numbers(mut entries: Vec<EntryId>) -> Result<Self, Error> {
        if entries.len() > CHANGE_ENTRIES_MAX {
            return Err(Error::TooManyEntries);
        }
        let mut seen = BTreeSet::new();
        entries.retain(|entry| seen.insert(*entry));
        Ok(Self {
            entries: EntrySelection::Entries(entries),
            only: None,
        })
    }

    /// Selects the entries that match a filter.
    pub fn matching(mut filter: EntryFilter) -> Self {
        filter.max = filter.max.min(CHANGE_ENTRIES_MAX);
        Self {
            entries: EntrySelection::Matching(filter),
            only: None,
        }
    }

    /// Limits the selection to entries in these states: a release changes only held entries, and a replay also others.
    #[must_use]
    pub fn only(self, states: &'static [State]) -> Self {
        Self {
            only: Some(states),
            ..self
        }
    }

    /// Returns whether a change of entries in these states accepts the selection.
    pub fn is_accepted(&self, accepted: &[State]) -> bool {
        self.states(accepted).is_ok()
    }

    /// Returns the states of the entries to change: the states in the filter, or all states that the change accepts if
    /// the selection has numbers.
    ///
    /// Returns an error if the change does not accept a state in the filter. A filter for waiting entries must contain a
    /// customer or an event id: a wrong filter must not end a backlog, and a filter without both would read the whole
    /// backlog.
    pub(super) fn states(&self, accepted: &[State]) -> Result<Vec<State>, Error> {
        let accepted = self.only.unwrap_or(accepted);
        let EntrySelection::Matching(filter) = &self.entries else {
            return Ok(accepted.to_vec());
        };
        if !filter.states.iter().all(|state| accepted.contains(state)) {
            return Err(Error::WrongState);
        }
        let is_narrow = filter.customer.is_some() || filter.id.is_some();
        if filter.states.contains(&State::Waiting) && !is_narrow {
            return Err(Error::CustomerRequired);
        }
        Ok(filter.states.clone())
    }
}

/// The maximum length of an operator's reason in characters.
pub(super) const REASON_CHARS_MAX: usize = 1_000;

/// The operator's reason for a change, which the audit log records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Parses the operator's reason; returns `None` if the text is blank. Replaces every control character by a space:
    /// a line feed in a reason would look like the next record of the audit log.
    ///
    /// # Errors
    /// Returns [`Error::ReasonTooLong`] for more than 1,000 characters: the audit log is never shortened.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        let text = text.replace(char::is_control, " ");
        let text = text.trim();
        if text.chars().count() > REASON_CHARS_MAX {
            return Err(Error::ReasonTooLong);
        }
        Ok((!text.is_empty()).then(|| Self(text.to_owned())))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// How many of the matching entries a change or a preview has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The time at which the store was read, or the bound `before` of the filter if that is earlier. As the bound `before` of a
    /// later filter, the time excludes the entries that the bridge accepted after the change or the preview. `None` if the
    /// operator selected the entries by number.
    pub as_of: Option<Timestamp>,
    /// The last entry that the request looked at, if the filter matches more entries than one request can change. A request
    /// for the entries after this one continues.
    pub next: Option<EntryId>,
}

/// The loaded entries of a selection.
pub(super) struct SelectedEntries {
    pub(super) loaded: LoadedEntries,
    /// The entries that the operator selected by number, and that the change does not accept.
    pub(super) unchanged: Vec<Unchanged>,
    pub(super) coverage: Coverage,
}

impl Operations {
    /// Loads the selected entries in one operation of the store. Separates the entries whose state the change does not
    /// accept, and the numbers that no entry has.
    pub(super) async fn load_selected(
        &self,
        selection: ChangeSelection,
        detail: Detail,
        accepted: &'static [State],
    ) -> Result<SelectedEntries, Error> {
        let now = self.clock.now();
        let accepted = selection.only.unwrap_or(accepted);
        let (asked, as_of) = match &selection.entries {
            EntrySelection::Entries(entries) => (entries.clone(), None),
            EntrySelection::Matching(filter) => {
                let before = filter.before.unwrap_or(now);
                (Vec::new(), Some(before.min(now)))
            }
        };
        let mut loaded = self.outbox.load(selection.entries, detail).await?;
        let mut unchanged = unknown(&asked, &loaded);
        let next = loaded.continues_after();
        let others = loaded
            .entries
            .extract_if(.., |entry| !accepted.contains(&entry.summary.receipt.state));
        unchanged.extend(others.map(|entry| Unchanged {
            entry: number(&entry),
            reason: UnchangedReason::State {
                state: entry.summary.receipt.state,
                accepted,
            },
        }));
        Ok(SelectedEntries {
            loaded,
            unchanged,
            coverage: Coverage { as_of, next },
        })
    }
}

/// Returns the numbers of the operator that no entry has. If the store stopped at its maximum size, the numbers after the
/// last loaded entry possibly belong to entries.
fn unknown(asked: &[EntryId], loaded: &LoadedEntries) -> Vec<Unchanged> {
    let found: Vec<EntryId> = loaded.entries.iter().map(number).collect();
    let last = found.last().filter(|_| loaded.has_more);
    let read = last.and_then(|last| asked.iter().position(|entry| entry == last));
    let read = asked.iter().take(read.unwrap_or(asked.len()));
    let unknown = read.filter(|entry| !found.contains(entry));
    let unknown = unknown.map(|entry| Unchanged {
        entry: *entry,
        reason: UnchangedReason::UnknownEntry,
    });
    unknown.collect()
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
        let EntrySelection::Matching(filter) = parked.entries else {
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
        let parked = ChangeSelection::matching(EntryFilter::in_state(State::Parked, 10));
        assert!(parked.is_accepted(&accepted) && !parked.is_accepted(&[State::Waiting]));
        let numbers = ChangeSelection::numbers(vec![EntryId(1)]).unwrap();
        assert_eq!(numbers.states(&accepted).unwrap(), accepted);
    }

    /// FAULTS I37
    #[test]
    fn a_reason_is_one_line() {
        let forged = Reason::parse("typo\r\n2 root discard\u{85}\u{2028}x");
        let text = forged.unwrap().unwrap().into_text();
        assert!(!text.contains(['\n', '\r', '\u{85}']), "{text:?}");
    }

    #[test]
    fn a_blank_text_is_no_reason() {
        assert_eq!(Reason::parse(" \n").unwrap(), None);
        let reason = Reason::parse(" a test row ").unwrap().unwrap();
        assert_eq!(reason.into_text(), "a test row");
    }

    /// FAULTS N1438
    #[test]
    fn a_reason_has_a_bound() {
        let longest = "\u{e4}".repeat(REASON_CHARS_MAX);
        assert!(Reason::parse(&longest).unwrap().is_some());
        let longer = Reason::parse(&format!("{longest}x"));
        assert!(matches!(longer, Err(Error::ReasonTooLong)));
    }
}
