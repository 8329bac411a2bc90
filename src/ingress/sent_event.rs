//! The event of a request as the answer to its sender shows it.

use crate::event::{Attribute, EventError};
use crate::outbox::{IgnoreReason, NewEntry, ParkReason};

/// An event of a request, for the answer to its sender.
pub(super) struct SentEvent {
    /// The id under which the sender finds the receipt of the event.
    pub(super) id: Attribute,
    /// The errors of an invalid event that the bridge parks.
    pub(super) errors: Vec<EventError>,
    /// The errors of the fields that the update leaves out because their values are invalid.
    pub(super) skipped: Vec<EventError>,
    /// The reason why the bridge ignores the event.
    ignored: Option<IgnoreReason>,
    /// The reason for parking a valid event at its arrival.
    pub(super) parked: Option<ParkReason>,
}

impl SentEvent {
    pub(super) fn of(entry: &NewEntry) -> Self {
        let invalid = entry.disposition.invalid();
        let errors = invalid
            .map(|invalid| invalid.errors.clone())
            .unwrap_or_default();
        Self {
            id: entry.identity.id.clone(),
            errors,
            skipped: entry.disposition.skipped().to_vec(),
            ignored: entry.disposition.ignored(),
            parked: entry.disposition.parked(),
        }
    }

    /// Returns the reason why the bridge ignores the event, or `None` if the bridge does not ignore the event.
    pub(super) const fn ignored(&self) -> Option<IgnoreReason> {
        self.ignored
    }

    /// Returns the number of fields that the update leaves out because their values are invalid.
    pub(super) const fn skipped_fields(&self) -> usize {
        self.skipped.len()
    }

    /// Returns whether the bridge parks the event because the event is invalid.
    pub(super) const fn is_invalid(&self) -> bool {
        !self.errors.is_empty()
    }
}
