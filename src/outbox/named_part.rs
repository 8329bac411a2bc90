//! The entries of a customer that a part of a search outside the lanes of the customer has found. Each storage engine has a
//! search of its own.

use std::collections::BTreeSet;

use super::{EntryId, LaneId, State};

/// The lane of an entry that is parked as invalid. No such lane exists.
pub(super) const NO_LANE: LaneId = LaneId(0);

/// The entries that a part of a search has found.
pub(super) struct NamedPart {
    pub(super) entries: Vec<NamedEntry>,
    /// The entries that the bridge cannot read, because the sealing key is missing or the entry is damaged.
    pub(super) unreadable: Vec<EntryId>,
    /// The entry after which the next part continues.
    pub(super) up_to: EntryId,
    /// True if no further part is left.
    pub(super) is_last: bool,
}

/// An entry of the customer.
#[derive(Clone, Copy)]
pub(super) struct NamedEntry {
    pub(super) entry: EntryId,
    pub(super) state: State,
    pub(super) lane: LaneId,
}

impl NamedPart {
    /// Returns whether the search has found nothing, and no further part is left.
    pub(super) const fn is_end(&self) -> bool {
        self.is_last && self.entries.is_empty()
    }

    /// Returns the lanes of the entries.
    pub(super) fn lanes(&self) -> BTreeSet<LaneId> {
        let lanes = self.entries.iter().map(|found| found.lane);
        lanes.filter(|lane| *lane != NO_LANE).collect()
    }

    /// Returns the entries before the first entry in a claimed lane. Returns `None` if this is the first entry.
    pub(super) fn before_claimed(mut self, is_claimed: impl Fn(LaneId) -> bool) -> Option<Self> {
        let mut entries = self.entries.iter();
        let Some(place) = entries.position(|found| is_claimed(found.lane)) else {
            return Some(self);
        };
        let claimed = self.entries.get(place).map(|found| found.entry.0);
        self.up_to = EntryId(claimed.unwrap_or_default().saturating_sub(1));
        self.entries.truncate(place);
        self.unreadable.retain(|entry| *entry <= self.up_to);
        self.is_last = false;
        (place > 0).then_some(self)
    }
}
