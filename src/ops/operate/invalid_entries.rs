//! Finds the invalid parked events of a customer. They belong to no lane: the mapping in use reads the id of the customer from
//! them, or they contain the id.

use super::customer::is_same;
use super::{Error, Operations};
use crate::intake::Sources;
use crate::outbox::{EntryFilter, EntryId, LaneKey, LoadedEntry, ParkReason, State, mentions};

/// The maximum number of events that one part of the search reads and maps.
const PART_ENTRIES: usize = 100;

/// The entries that a search has found.
#[derive(Debug, Default)]
pub(super) struct InvalidEntries {
    /// The entries of the customer, in the order of their numbers.
    pub(super) entries: Vec<EntryId>,
    /// The number of entries of which neither the mapping nor a value tells the customer.
    pub(super) unjudged: usize,
    /// The entry after which the next part continues. `None` means that no further part is left.
    pub(super) next: Option<EntryId>,
}

impl Operations {
    /// Finds the entries of a customer among all invalid parked events.
    pub(super) async fn invalid_entries(&self, keys: &[LaneKey]) -> Result<InvalidEntries, Error> {
        let mut found = InvalidEntries::default();
        let mut place = Some(EntryId(0));
        while let Some(after) = place {
            let part = self.invalid_entries_after(keys, after).await?;
            found.entries.extend(part.entries);
            found.unjudged += part.unjudged;
            place = part.next;
        }
        Ok(found)
    }

    /// Finds the entries of a customer in the next part of the invalid parked events. The mapping runs on the thread for
    /// operators.
    pub(super) async fn invalid_entries_after(
        &self,
        keys: &[LaneKey],
        after: EntryId,
    ) -> Result<InvalidEntries, Error> {
        let filter = EntryFilter {
            reason: Some(ParkReason::Invalid),
            after,
            ..EntryFilter::in_state(State::Parked, PART_ENTRIES)
        };
        let (loaded, next) = self.load_page(filter).await?;
        if loaded.is_empty() {
            return Ok(InvalidEntries {
                next,
                ..InvalidEntries::default()
            });
        }
        let (sources, keys) = (self.sources.sources(), keys.to_vec());
        let find = move || {
            let mut found = InvalidEntries {
                next,
                ..InvalidEntries::default()
            };
            for entry in &loaded {
                found.judge(entry, &sources, &keys);
            }
            found
        };
        self.map_apart(find).await
    }
}

impl InvalidEntries {
    /// Adds an entry if it is of the customer. Skips an entry that the store cannot read, because the store counts it.
    fn judge(&mut self, entry: &LoadedEntry, sources: &Sources, keys: &[LaneKey]) {
        let receipt = &entry.summary.receipt;
        let Some(event) = &entry.event else { return };
        let source = &receipt.identity.source;
        let named = sources.customer_of_invalid(source, &receipt.event_type, event);
        let is_own = |named: &LaneKey| keys.iter().any(|key| is_same(key, named));
        let is_named = named.as_ref().is_some_and(|ids| ids.iter().any(is_own));
        let is_mentioned = || {
            let event = serde_json::from_slice(event);
            event.is_ok_and(|event| mentions(&event, keys))
        };
        match is_named || is_mentioned() {
            true => self.entries.push(receipt.entry),
            false => self.unjudged += usize::from(named.is_none()),
        }
    }
}
