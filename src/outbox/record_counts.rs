//! The counts of the sealed records of a store, by their keys. This module is pure.

use std::collections::BTreeMap;

use super::codec::CodecError;
use super::sealer::UsedKey;
use super::{KeyUse, SealingStatus};
use crate::sealing::KeyId;

/// The maximum number of unreadable records that a [`RecordReport`] lists. An operator looks at the first ones, and a damaged
/// disk can make millions.
const LISTED_MAX: usize = 20;

/// The place at which a walk through the records of a store continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCursor {
    /// The number of the table in the list of the engine.
    pub(super) table: usize,
    /// The number of the last record before this place.
    pub(super) after: i64,
}

impl RecordCursor {
    /// The place of the first record.
    pub const START: Self = Self {
        table: 0,
        after: i64::MIN,
    };

    /// Returns the place of the first record of the next table.
    pub(super) const fn next_table(self) -> Self {
        Self {
            table: self.table.saturating_add(1),
            ..Self::START
        }
    }
}

/// The number of records by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// The number of records that each key seals.
    pub sealed: BTreeMap<KeyId, u64>,
    /// The number of records that are not sealed.
    pub plain: u64,
}

impl RecordCounts {
    /// Adds the counts of a further part of the store.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.sealed {
            self.count(*key, *count);
        }
        self.plain = self.plain.saturating_add(other.plain);
    }

    pub(super) fn count(&mut self, key: KeyId, records: u64) {
        let counted = self.sealed.entry(key).or_default();
        *counted = counted.saturating_add(records);
    }
}

/// The result of opening every record of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordReport {
    /// The records that can be read: sealed records by their keys, and records that are not sealed.
    pub readable: RecordCounts,
    /// The number of records whose key is missing, by their keys.
    pub locked: BTreeMap<KeyId, u64>,
    /// The number of records that are damaged, moved or forged.
    pub unreadable: u64,
    /// The first unreadable records, each with its kind, its number and the reason.
    pub listed: Vec<String>,
}

impl RecordReport {
    /// Counts an opened value by its key. A column without a value does not count.
    pub(super) fn add(&mut self, opened: Result<Option<UsedKey>, CodecError>) {
        match opened {
            Ok(None) => {}
            Ok(Some(UsedKey::Plain)) => self.readable.plain += 1,
            Ok(Some(UsedKey::Key(key))) => self.readable.count(key, 1),
            Err(error) => match error.missing_key() {
                Some(key) => *self.locked.entry(key).or_default() += 1,
                None => self.list(error.to_string()),
            },
        }
    }

    /// Counts an unreadable record, and lists it if it is one of the first.
    pub(super) fn list(&mut self, reason: String) {
        self.unreadable += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(reason);
        }
    }

    /// Returns the number of all records.
    pub fn total(&self) -> u64 {
        let sealed = self.readable.sealed.values();
        let all = sealed.chain(self.locked.values()).copied();
        all.chain([self.readable.plain, self.unreadable])
            .fold(0, u64::saturating_add)
    }
}

/// A key of a store: its use, and the number of records that need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// The id of the key.
    pub id: KeyId,
    /// The use of the key.
    pub key_use: KeyUse,
    /// The number of records that the key seals. `None` means that the key seals every record of the store.
    pub records: Option<u64>,
}

/// The keys of a store, for an operator who replaces a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// The keys of the process, and the keys that the process lacks.
    pub keys: Vec<KeyLine>,
    /// The number of records that are not sealed.
    pub plain: u64,
    /// The number of entries, lanes and audit records at which the bridge has yet to look, to seal them again with the newest
    /// key.
    pub left: u64,
    /// The number of lanes that wait for a missing key.
    pub locked_lanes: usize,
    /// False if the counts do not include all records, because the count took too long.
    pub is_complete: bool,
}

impl KeyReport {
    /// Returns the report without a count. Returns `None` if only a count of the records shows which key they need.
    pub fn uncounted(status: &SealingStatus) -> Option<Self> {
        let is_needed = |(_, key_use): &(KeyId, KeyUse)| match key_use {
            KeyUse::Opens | KeyUse::Waits | KeyUse::Missing => true,
            KeyUse::Seals | KeyUse::Removable => false,
        };
        if status.has_plain || status.keys.iter().any(is_needed) {
            return None;
        }
        Some(Self::of(status, |key_use| match key_use {
            KeyUse::Removable => Some(0),
            KeyUse::Seals | KeyUse::Waits | KeyUse::Opens | KeyUse::Missing => None,
        }))
    }

    /// Returns the report with the counts of the records.
    pub fn counted(status: &SealingStatus, counts: &RecordCounts, is_complete: bool) -> Self {
        let mut report = Self::of(status, |_| None);
        for line in &mut report.keys {
            line.records = Some(counts.sealed.get(&line.id).copied().unwrap_or_default());
        }
        Self {
            plain: counts.plain,
            is_complete,
            ..report
        }
    }

    fn of(status: &SealingStatus, records: impl Fn(KeyUse) -> Option<u64>) -> Self {
        let keys = status.keys.iter().map(|(id, key_use)| KeyLine {
            id: *id,
            key_use: *key_use,
            records: records(*key_use),
        });
        Self {
            keys: keys.collect(),
            plain: 0,
            left: status.left,
            locked_lanes: status.locked_lanes,
            is_complete: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seed: u8) -> KeyId {
        KeyId::from_bytes(&[seed; 8]).unwrap()
    }

    fn status(keys: &[(u8, KeyUse)], has_plain: bool) -> SealingStatus {
        SealingStatus {
            keys: keys.iter().map(|(seed, key)| (id(*seed), *key)).collect(),
            has_plain,
            ..SealingStatus::default()
        }
    }

    /// FAULTS N842: a count is necessary only while records need different keys.
    #[test]
    fn only_a_store_with_several_keys_needs_a_count() {
        let one = status(&[(1, KeyUse::Removable), (2, KeyUse::Seals)], false);
        let report = KeyReport::uncounted(&one).unwrap();
        let records: Vec<_> = report.keys.iter().map(|line| line.records).collect();
        assert_eq!(records, [Some(0), None]);
        for several in [
            status(&[(1, KeyUse::Opens), (2, KeyUse::Seals)], false),
            status(&[(1, KeyUse::Missing), (2, KeyUse::Seals)], false),
            status(&[(2, KeyUse::Seals)], true),
        ] {
            assert_eq!(KeyReport::uncounted(&several), None);
        }
    }

    #[test]
    fn counts_are_added_by_key() {
        let mut counts = RecordCounts::default();
        counts.count(id(1), 2);
        let mut other = counts.clone();
        other.count(id(2), 1);
        other.plain = 4;
        counts.add(&other);
        assert_eq!(counts.sealed, BTreeMap::from([(id(1), 4), (id(2), 1)]));
        let uses = [(1, KeyUse::Opens), (3, KeyUse::Removable)];
        let report = KeyReport::counted(&status(&uses, true), &counts, false);
        let records: Vec<_> = report.keys.iter().map(|line| line.records).collect();
        assert_eq!(records, [Some(4), Some(0)]);
        assert_eq!((report.plain, report.is_complete), (4, false));
    }
}
