//! The entries that an operator selects by number and that a change leaves unchanged, each with the reason.

use crate::outbox::{EntryId, State};

/// A selected entry that stays unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchanged {
    pub entry: EntryId,
    pub reason: UnchangedReason,
}

/// The reason why a selected entry stays unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnchangedReason {
    #[error("no entry has this number")]
    UnknownEntry,
    #[error("the entry is {}, and the command accepts only entries that are {}", .state.as_str(), names(.accepted))]
    State {
        state: State,
        accepted: &'static [State],
    },
    #[error(
        "the event was invalid when it arrived, so the bridge stored no update: replay the entry with --map-again"
    )]
    NeedsMapping,
    #[error(
        "the entry is {}, so a replay sends its stored values: replay it without --map-again, or park the entry and then replay it with --map-again",
        .0.as_str()
    )]
    KeepsValues(State),
    #[error("the entry changed while the command ran: repeat the command")]
    Changed,
}

impl UnchangedReason {
    /// Returns the name of the reason for JSON answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::UnknownEntry => "unknown_entry",
            Self::State { .. } => "state",
            Self::NeedsMapping => "needs_mapping",
            Self::KeepsValues(_) => "keeps_values",
            Self::Changed => "changed",
        }
    }

    /// Returns the state of the entry, if the state is the reason.
    pub const fn state(&self) -> Option<State> {
        match self {
            Self::State { state, .. } | Self::KeepsValues(state) => Some(*state),
            Self::UnknownEntry | Self::NeedsMapping | Self::Changed => None,
        }
    }
}

fn names(states: &[State]) -> String {
    let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    names.join(" or ")
}

/// Returns the entries that the store did not change, although the operator selected them in an accepted state.
pub(super) fn changed_meanwhile(selected: &[EntryId], changed: &[EntryId]) -> Vec<Unchanged> {
    let others = selected.iter().filter(|entry| !changed.contains(entry));
    let unchanged = others.map(|entry| Unchanged {
        entry: *entry,
        reason: UnchangedReason::Changed,
    });
    unchanged.collect()
}
