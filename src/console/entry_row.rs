//! How pages write an entry: its state, its reason, its customer and its times. Pure.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::words::TimeText;
use crate::event::Attribute;
use crate::outbox::{EntrySummary, LaneKey, State};
use crate::time::Timestamp;

/// An entry as lists and pages show it. No value of its event is part of it.
#[derive(Clone, Debug)]
pub(super) struct EntryText {
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) source: String,
    pub(super) event_type: String,
    pub(super) state: StateText,
    /// Why the entry is parked or ignored, or which event superseded it.
    pub(super) reason: Option<String>,
    pub(super) customer: Option<CustomerText>,
    pub(super) attempts: u32,
    pub(super) accepted: TimeText,
    pub(super) settled: Option<TimeText>,
}

/// The state of an entry with its class of the style sheet.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateText {
    pub(super) word: &'static str,
    pub(super) class: &'static str,
}

/// The id of a customer, and the system that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CustomerText {
    pub(super) id: String,
    pub(super) system: &'static str,
}

impl EntryText {
    pub(super) fn of(summary: &EntrySummary, now: Timestamp) -> Self {
        let receipt = &summary.receipt;
        let parked = receipt.parked.as_ref();
        let parked = parked.map(|(reason, _)| spaced(reason.as_str()));
        let ignored = receipt.ignored.map(|reason| spaced(reason.as_str()));
        let superseded = receipt.superseded_by.as_ref().map(Attribute::as_str);
        let superseded = superseded.map(|id| format!("by {id}"));
        let erased = receipt.erased_at.map(|_| "erased".to_owned());
        Self {
            number: receipt.entry.0,
            id: receipt.identity.id.as_str().to_owned(),
            source: receipt.identity.source.as_str().to_owned(),
            event_type: receipt.event_type.as_str().to_owned(),
            state: StateText::of(receipt.state),
            reason: erased.or(parked).or(ignored).or(superseded),
            customer: summary.customer.as_ref().map(CustomerText::of),
            attempts: receipt.attempts,
            accepted: TimeText::of(receipt.accepted_at, now),
            settled: receipt.settled_at.map(|at| TimeText::of(at, now)),
        }
    }
}

impl StateText {
    pub(super) const fn of(state: State) -> Self {
        let class = match state {
            State::Delivered => "good",
            State::Waiting => "notice",
            State::Parked => "alarm",
            State::Undecided | State::Held => "warning",
            State::Superseded | State::Ignored | State::Discarded => "plain",
        };
        Self {
            word: state.as_str(),
            class,
        }
    }
}

impl CustomerText {
    pub(super) fn of(key: &LaneKey) -> Self {
        let (id, system) = match key {
            LaneKey::Imprint(id) => (id.as_str(), "Imprint"),
            LaneKey::Partner(id) => (id.as_str(), "CRM"),
        };
        Self {
            id: id.to_owned(),
            system,
        }
    }

    /// Returns the path of the page of the customer.
    pub(super) fn path(&self) -> String {
        format!(
            "/customers?id={}",
            utf8_percent_encode(&self.id, NON_ALPHANUMERIC)
        )
    }
}

/// Returns a name of the admin API as words: `identity_conflict` becomes `identity conflict`.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
