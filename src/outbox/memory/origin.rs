//! The origins in the storage engine in memory: for each value that Imprint has of a customer, the event that contained
//! the value.

use super::tables::{MemoryTables, spelling};
use crate::outbox::{EntryId, FieldOrigin, LaneKey, OriginEvent, Receipt};

impl MemoryTables {
    pub(super) fn origins(&self, customer: &LaneKey) -> Vec<FieldOrigin> {
        let lane = self.keys.get(&spelling(customer));
        let Some(lane) = lane.and_then(|lane| self.lanes.get(lane)) else {
            return Vec::new();
        };
        let fields = lane.versions.delivered_fields();
        fields
            .map(|(field, version)| FieldOrigin {
                field: field.clone(),
                version,
                event: self.origin(EntryId(version.arrival)),
            })
            .collect()
    }

    fn origin(&self, entry: EntryId) -> Option<OriginEvent> {
        let receipt = self.entries.get(&entry).map(|row| &row.receipt);
        let stored = || self.origins.get(&entry).cloned();
        receipt.and_then(of_receipt).or_else(stored)
    }

    /// Stores the origin of an entry before the engine deletes the entry's receipt. If no version of the lane refers to
    /// the entry, stores nothing.
    pub(super) fn keep_origin(&mut self, entry: EntryId) {
        let row = self.entries.get(&entry);
        let lane = row.and_then(|row| self.lanes.get(&row.lane?));
        let is_referred = lane.is_some_and(|lane| {
            let mut fields = lane.versions.delivered_fields();
            fields.any(|(_, version)| version.arrival == entry.0)
        });
        let event = row.and_then(|row| of_receipt(&row.receipt));
        self.origins
            .extend(event.filter(|_| is_referred).map(|event| (entry, event)));
    }
}

fn of_receipt(receipt: &Receipt) -> Option<OriginEvent> {
    Some(OriginEvent {
        identity: receipt.identity.clone(),
        delivered_at: receipt.settled_at?,
        attempts: receipt.attempts,
    })
}
