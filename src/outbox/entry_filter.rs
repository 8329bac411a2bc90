//! The filter with which operators and background tasks select entries.

use super::{ENTRY_MAX, EntryId, EntrySummary, ParkReason, State};
use crate::event::{Attribute, SourceName};
use crate::time::Timestamp;

/// The order of the entries of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryOrder {
    /// In the order in which the bridge accepted the events. A change of many entries uses this order.
    #[default]
    OldestFirst,
    /// In the reverse order, for people.
    NewestFirst,
}

/// A filter that selects entries. A field that is `None` excludes no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFilter {
    /// The states of the selected entries.
    pub states: Vec<State>,
    /// The id of the event of the selected entries. `None` selects every event.
    pub id: Option<Attribute>,
    /// The source that sent the events of the selected entries. `None` selects every source.
    pub source: Option<SourceName>,
    /// The event type of the selected entries. `None` selects every event type.
    pub event_type: Option<Attribute>,
    /// The reason why the selected entries are parked. `None` selects every reason.
    pub reason: Option<ParkReason>,
    /// Imprint's id or the CRM's id of the customer of the selected entries. `None` selects every customer.
    ///
    /// If an identity link connects two ids of the customer, the filter selects the entries of both ids. It never selects
    /// an entry that the bridge ignored when the event arrived, or that is parked as invalid: such an entry belongs to no
    /// customer.
    pub customer: Option<String>,
    /// The filter selects entries whose events the bridge accepted before this time.
    pub before: Option<Timestamp>,
    /// The filter selects entries whose events the bridge accepted at this time or later.
    pub since: Option<Timestamp>,
    /// The order of the selected entries.
    pub order: EntryOrder,
    /// The filter selects entries that follow the entry with this number in the order of the list. 0 selects all entries.
    pub after: EntryId,
    /// The maximum number of entries on one page.
    pub max: usize,
}

impl EntryFilter {
    /// Returns a filter that selects every entry in a state.
    pub fn in_state(state: State, max: usize) -> Self {
        Self {
            states: vec![state],
            id: None,
            source: None,
            event_type: None,
            reason: None,
            customer: None,
            before: None,
            since: None,
            order: EntryOrder::OldestFirst,
            after: EntryId(0),
            max,
        }
    }

    /// Returns the number from which the list starts: every listed entry follows this number in the order of the list.
    pub(super) fn start(&self) -> EntryId {
        match (self.order, self.after) {
            (EntryOrder::NewestFirst, EntryId(0)) => EntryId(ENTRY_MAX),
            (EntryOrder::OldestFirst | EntryOrder::NewestFirst, after) => after,
        }
    }

    fn follows(&self, entry: EntryId) -> bool {
        match self.order {
            EntryOrder::OldestFirst => entry > self.start(),
            EntryOrder::NewestFirst => entry < self.start(),
        }
    }

    /// Returns whether the filter selects this entry, if the entry is of the customer.
    pub(super) fn matches(&self, summary: &EntrySummary) -> bool {
        let receipt = &summary.receipt;
        self.states.contains(&receipt.state)
            && self.follows(receipt.entry)
            && self.id.as_ref().is_none_or(|id| {
                // The engine finds the entries of an event id, and the id of an erased event is only a digest.
                *id == receipt.identity.id || receipt.erased_at.is_some()
            })
            && self
                .source
                .as_ref()
                .is_none_or(|source| *source == receipt.identity.source)
            && self
                .event_type
                .as_ref()
                .is_none_or(|event_type| *event_type == receipt.event_type)
            && self.reason.is_none_or(|reason| {
                receipt
                    .parked
                    .as_ref()
                    .is_some_and(|(parked, _)| *parked == reason)
            })
            && self
                .before
                .is_none_or(|before| receipt.accepted_at < before)
            && self.since.is_none_or(|since| receipt.accepted_at >= since)
    }
}
