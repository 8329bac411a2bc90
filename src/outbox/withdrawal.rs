//! The withdrawal of entries from delivery by an operator or by retention.

use super::{AuditEvent, EntryId, ParkReason, State};

/// The withdrawal of entries from delivery, for good or until a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The numbers of the entries to withdraw.
    pub entries: Vec<EntryId>,
    /// The withdrawal concerns only entries in one of these states: an entry may change its state after an operator or
    /// retention has seen the entry.
    pub from: Vec<State>,
    /// The new state of the entries.
    pub to: WithdrawnState,
}

impl Withdrawal {
    /// Returns whether the withdrawal can make a lane due: only a waiting entry holds up the rest of its lane.
    pub(super) fn may_free_lanes(&self) -> bool {
        self.from.contains(&State::Waiting)
    }
}

/// The state of an entry after its withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithdrawnState {
    /// The entries are parked for this reason.
    Parked(ParkReason),
    /// The entries end permanently.
    Discarded,
}

impl WithdrawnState {
    /// Returns the state of an entry after its withdrawal.
    pub const fn state(self) -> State {
        match self {
            Self::Parked(_) => State::Parked,
            Self::Discarded => State::Discarded,
        }
    }
}

/// The result of a withdrawal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// The entries that are now parked or discarded.
    pub entries: Vec<EntryId>,
    /// The entries that still wait, because a request of their customer may be in flight.
    pub in_flight: Vec<EntryId>,
}

impl Withdrawn {
    /// Returns the record of the withdrawal for the audit log. Returns `None` if the store changed nothing only because
    /// requests may be in flight.
    pub(super) fn audit_event(&self, event: AuditEvent) -> Option<AuditEvent> {
        if self.entries.is_empty() && !self.in_flight.is_empty() {
            return None;
        }
        let numbers: Vec<String> = self.entries.iter().map(EntryId::to_string).collect();
        Some(AuditEvent {
            target: numbers.join(" "),
            ..event
        })
    }
}
