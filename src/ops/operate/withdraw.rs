//! The use cases that discard and park entries, each with a preview.

use super::replay::number;
use super::selection::{ChangeSelection, Coverage, Reason, SelectedEntries};
use super::unchanged::{Unchanged, changed_meanwhile};
use super::{Error, Operations, Operator, Role};
use crate::outbox::{Detail, EntryId, ParkReason, State, Withdrawal, Withdrawn, WithdrawnState};

/// The operator's action that withdraws entries from delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithdrawAction {
    /// The entries end without a request, and the store erases their content.
    Discard,
    /// The entries are parked until an operator replays or discards them. The bridge delivers the other entries of the
    /// customers meanwhile.
    Park,
}

impl WithdrawAction {
    /// Returns the action in the audit log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Park => "park",
        }
    }

    /// Returns the states that the action accepts.
    pub const fn accepted(self) -> &'static [State] {
        match self {
            Self::Discard => &[State::Waiting, State::Undecided, State::Parked, State::Held],
            Self::Park => &[State::Waiting, State::Undecided, State::Held],
        }
    }

    const fn to(self) -> WithdrawnState {
        match self {
            Self::Discard => WithdrawnState::Discarded,
            Self::Park => WithdrawnState::Parked(ParkReason::ByOperator),
        }
    }
}

/// The entries that a withdrawal would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawPreview {
    pub entries: Vec<EntryId>,
    /// The entries that the operator selected by number, and that the withdrawal would not change.
    pub unchanged: Vec<Unchanged>,
    pub coverage: Coverage,
}

/// The result of a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawReport {
    pub withdrawn: Withdrawn,
    /// The entries that the operator selected by number, and that the withdrawal did not change.
    pub unchanged: Vec<Unchanged>,
    pub coverage: Coverage,
}

impl Operations {
    /// Returns the entries that a withdrawal would change, including entries that a request in flight may carry.
    ///
    /// # Errors
    /// Returns an error if the action does not accept the filter, or if the store fails.
    pub async fn preview_withdrawal(
        &self,
        _operator: &Operator,
        action: WithdrawAction,
        selection: ChangeSelection,
    ) -> Result<WithdrawPreview, Error> {
        selection.states(action.accepted())?;
        let selected = self.load_selected(selection, Detail::Summaries, action.accepted());
        let SelectedEntries {
            loaded,
            unchanged,
            coverage,
        } = selected.await?;
        Ok(WithdrawPreview {
            entries: loaded.entries.iter().map(number).collect(),
            unchanged,
            coverage,
        })
    }

    /// Discards or parks entries. An earlier request may have brought the values of an entry to Imprint already, or may
    /// still arrive there.
    ///
    /// # Errors
    /// Returns an error if the operator gave no reason, if the action does not accept the filter, if all selected
    /// entries may be in flight, or if the store fails.
    pub async fn withdraw(
        &self,
        operator: &Operator,
        action: WithdrawAction,
        selection: ChangeSelection,
        reason: Option<Reason>,
    ) -> Result<WithdrawReport, Error> {
        operator.require(Role::Operator)?;
        let reason = reason.ok_or(Error::ReasonRequired)?;
        let from = selection.states(action.accepted())?;
        let selected = self.load_selected(selection, Detail::Summaries, action.accepted());
        let SelectedEntries {
            loaded,
            mut unchanged,
            coverage,
        } = selected.await?;
        let selected: Vec<EntryId> = loaded.entries.iter().map(number).collect();
        let withdrawal = Withdrawal {
            entries: selected.clone(),
            from,
            to: action.to(),
        };
        // The store adds the numbers of the changed entries.
        let mut event = self.audit_event(operator, action.as_str(), String::new());
        event.reason = Some(reason.into_text());
        let withdrawn = self.outbox.withdraw(withdrawal, event).await?;
        if withdrawn.entries.is_empty() && !withdrawn.in_flight.is_empty() {
            return Err(Error::InFlight);
        }
        let known = [&withdrawn.entries[..], &withdrawn.in_flight].concat();
        unchanged.extend(changed_meanwhile(&selected, &known));
        Ok(WithdrawReport {
            withdrawn,
            unchanged,
            coverage,
        })
    }
}
