//! The origins in the storage engine in memory: for each value that Imprint has of a customer, the event that contained
//! the value.

use std::collections::BTreeSet;

use super::tables::MemoryTables;
use crate::outbox::{EntryId, FieldOrigin, LaneKey, OriginEvent, Receipt};

impl MemoryTables {
    pub(super) fn origins(&self, customer: &LaneKey) -> Vec<FieldOrigin> {
        let lane = self.find_lane(customer);
        let Some(lane) = lane.and_then(|lane| self.lanes.get(&lane)) else {
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
        let stored = || self.origins.get(&entry).map(|(_, event)| event.clone());
        receipt.and_then(of_receipt).or_else(stored)
    }

    /// Stores the origin of an entry before the engine deletes the entry's receipt. If no version of the lane refers to
    /// the entry, stores nothing. Deletes the origins of the lane whose values newer values have replaced.
    pub(super) fn keep_origin(&mut self, entry: EntryId) {
        let Some(row) = self.entries.get(&entry) else {
            return;
        };
        let Some((lane, versions)) = row
            .lane
            .and_then(|lane| Some((lane, &self.lanes.get(&lane)?.versions)))
        else {
            return;
        };
        let fields = versions.delivered_fields();
        let referred: BTreeSet<u64> = fields.map(|(_, version)| version.arrival).collect();
        self.origins
            .retain(|kept, (own, _)| *own != lane || referred.contains(&kept.0));
        if let Some(event) = of_receipt(&row.receipt).filter(|_| referred.contains(&entry.0)) {
            self.origins.insert(entry, (lane, event));
        }
    }
}

fn of_receipt(receipt: &Receipt) -> Option<OriginEvent> {
    Some(OriginEvent {
        identity: receipt.identity.clone(),
        delivered_at: receipt.settled_at?,
        attempts: receipt.attempts,
    })
}
