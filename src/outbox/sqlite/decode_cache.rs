//! Facts that were written a moment ago, kept in memory until their lane is claimed. While deliveries keep up, nothing has
//! to be made of bytes again that was made into bytes just now. What is not here is read from the store.

use std::collections::VecDeque;

use crate::imprint::Update;
use crate::outbox::{AppendedEntry, Disposition, EntryId, NewEntry};

/// The most entries whose facts are kept: more than can come in while one commit is made.
const ENTRIES_MAX: usize = 1024;
/// The most bytes that the events of those entries may have had: what keeps a few large ones from being much memory.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// The facts of the newest entries that nobody has claimed yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct DecodeCache {
    kept: VecDeque<CachedUpdate>,
    bytes: usize,
}

#[derive(Debug)]
struct CachedUpdate {
    entry: EntryId,
    bytes: usize,
    facts: Option<Update>,
}

impl DecodeCache {
    /// Caches the updates of the new waiting entries of a batch that was committed.
    pub(super) fn insert(&mut self, batch: Vec<NewEntry>, stored: &[AppendedEntry]) {
        for (new, stored) in batch.into_iter().zip(stored) {
            if let (Disposition::Enqueue(change), false) = (new.disposition, stored.duplicate) {
                self.keep(stored.entry, change.update, new.event.len());
            }
        }
    }

    /// Keeps the facts of an entry, which is newer than all before it, and whose event had so many bytes.
    fn keep(&mut self, entry: EntryId, facts: Update, bytes: usize) {
        self.bytes += bytes;
        self.kept.push_back(CachedUpdate {
            entry,
            bytes,
            facts: Some(facts),
        });
        while self.kept.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// The facts of an entry, if they are still here: whoever takes them has them alone.
    pub(super) fn take(&mut self, entry: EntryId) -> Option<Update> {
        let place = self
            .kept
            .binary_search_by_key(&entry, |kept| kept.entry)
            .ok()?;
        let facts = self.kept.get_mut(place)?.facts.take();
        while self.kept.front().is_some_and(|kept| kept.facts.is_none()) {
            self.forget_oldest();
        }
        facts
    }

    fn forget_oldest(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::imprint::{Field, FieldValue};

    fn facts(email: u64) -> Update {
        let email = FieldValue::from_value(json!(email.to_string()));
        [(Field::parse("email").unwrap(), email)]
            .into_iter()
            .collect()
    }

    #[test]
    fn facts_are_taken_once_and_in_any_order() {
        let mut decoded = DecodeCache::default();
        for entry in [3, 5, 9] {
            decoded.keep(EntryId(entry), facts(entry), 10);
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
                decoded.take(EntryId(entry)),
                found.then(|| facts(entry)),
                "{entry}"
            );
        }
        assert!(decoded.kept.is_empty());
        assert_eq!(decoded.bytes, 0);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut decoded = DecodeCache::default();
        for entry in 0..=1024 {
            decoded.keep(EntryId(entry), facts(entry), 10);
        }
        assert_eq!(decoded.take(EntryId(0)), None);
        decoded.keep(EntryId(2000), facts(2000), BYTES_MAX);
        assert_eq!(decoded.take(EntryId(1024)), None);
        assert_eq!(decoded.take(EntryId(2000)), Some(facts(2000)));
        decoded.keep(EntryId(2001), facts(2001), BYTES_MAX + 1);
        assert_eq!(decoded.take(EntryId(2001)), None);
        assert_eq!(decoded.bytes, 0);
    }
}
