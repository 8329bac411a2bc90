//! A cache of decoded updates: keeps an update from the append of an entry until the lane of the entry is claimed.
//!
//! If dispatch claims an entry soon after its append, the claim takes the update from this cache and does not decode
//! the stored bytes. If an update is not in the cache, the claim reads the update from the store.

use std::collections::VecDeque;

use crate::event::SourceName;
use crate::outbox::codec::StoredUpdate;
use crate::outbox::{AppendedEntry, Disposition, EntryId, NewEntry};

/// The maximum number of updates in the cache. Fewer updates arrive during one commit.
const ENTRIES_MAX: usize = 1024;
/// The maximum total size of the events of the cached updates, so that a few large events do not use much memory.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// The maximum number of source names in the cache. Configurations have fewer sources.
const SOURCES_MAX: usize = 64;

/// The updates of the newest unclaimed entries, starting with the oldest update.
#[derive(Debug, Default)]
pub(super) struct DecodeCache {
    updates: VecDeque<CachedUpdate>,
    bytes: usize,
    sources: Vec<SourceName>,
}

#[derive(Debug)]
struct CachedUpdate {
    entry: EntryId,
    bytes: usize,
    update: Option<StoredUpdate>,
}

impl DecodeCache {
    /// Caches the updates of the new waiting entries in a committed batch.
    pub(super) fn insert(&mut self, batch: Vec<NewEntry>, stored: &[AppendedEntry]) {
        for (new, stored) in batch.into_iter().zip(stored) {
            if let (Disposition::Enqueue(change), false) = (new.disposition, stored.duplicate) {
                let partner = change.customer.partner().cloned();
                let update = StoredUpdate::own(partner, change.update);
                self.push(stored.entry, update, new.event.len());
            }
        }
    }

    /// Caches the update of an entry that is newer than all cached entries. `bytes` is the size of the entry's event.
    fn push(&mut self, entry: EntryId, update: StoredUpdate, bytes: usize) {
        self.bytes += bytes;
        self.updates.push_back(CachedUpdate {
            entry,
            bytes,
            update: Some(update),
        });
        while self.updates.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
    }

    /// Removes the update of an entry from the cache and returns the update. Returns `None` if the cache does not
    /// contain the update.
    pub(super) fn take(&mut self, entry: EntryId) -> Option<StoredUpdate> {
        let place = self
            .updates
            .binary_search_by_key(&entry, |cached| cached.entry)
            .ok()?;
        let update = self.updates.get_mut(place)?.update.take();
        while self
            .updates
            .front()
            .is_some_and(|cached| cached.update.is_none())
        {
            self.drop_oldest();
        }
        update
    }

    /// Removes all updates. The store calls `clear` after an operator's change, because the change may replace the
    /// values of a waiting entry.
    pub(super) fn clear(&mut self) {
        self.updates.clear();
        self.bytes = 0;
    }

    /// Returns the source with this name, or `None` if the name is damaged. All entries of a source share one copy of
    /// the name in memory.
    pub(super) fn source(&mut self, name: &str) -> Option<SourceName> {
        if let Some(source) = self.sources.iter().find(|source| source.as_str() == name) {
            return Some(source.clone());
        }
        let source = SourceName::parse(name).ok()?;
        if self.sources.len() < SOURCES_MAX {
            self.sources.push(source.clone());
        }
        Some(source)
    }

    fn drop_oldest(&mut self) {
        if let Some(cached) = self.updates.pop_front() {
            self.bytes = self.bytes.saturating_sub(cached.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::imprint::{Field, FieldValue};

    fn update(email: u64) -> StoredUpdate {
        let email = FieldValue::from_value(json!(email.to_string()));
        let values = [(Field::parse("email").unwrap(), email)];
        StoredUpdate::own(None, values.into_iter().collect())
    }

    #[test]
    fn updates_are_taken_once_and_in_any_order() {
        let mut cache = DecodeCache::default();
        for entry in [3, 5, 9] {
            cache.push(EntryId(entry), update(entry), 10);
        }
        for (entry, found) in [
            (5, true),
            (5, false),
            (4, false),
            (3, true),
            (9, true),
            (9, false),
        ] {
            assert_eq!(
                cache.take(EntryId(entry)).map(|stored| stored.update),
                found.then(|| update(entry).update),
                "{entry}"
            );
        }
        assert!(cache.updates.is_empty());
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn only_the_newest_updates_are_cached() {
        let mut cache = DecodeCache::default();
        for entry in 0..=1024 {
            cache.push(EntryId(entry), update(entry), 10);
        }
        assert!(cache.take(EntryId(0)).is_none());
        cache.push(EntryId(2000), update(2000), BYTES_MAX);
        assert!(cache.take(EntryId(1024)).is_none());
        assert!(cache.take(EntryId(2000)).is_some());
        cache.push(EntryId(2001), update(2001), BYTES_MAX + 1);
        assert!(cache.take(EntryId(2001)).is_none());
        assert_eq!(cache.bytes, 0);
    }
}
