//! The rows of a store, in a form that both engines can read and write: the columns of the layout in PostgreSQL, without
//! the columns that follow from others. This module is pure.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A kind of row. The rows of a kind have the same columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// The keys that possibly seal values.
    SealingKeys,
    /// The settings, and the head of the erasure journal.
    Settings,
    /// The lanes of customers, and the tombstones of erased customers.
    Lanes,
    /// The receipts of events, and the tombstones of erased events.
    Receipts,
    /// The updates and events of waiting entries.
    Waiting,
    /// The updates and events of parked entries.
    Parked,
    /// The updates and events of held entries.
    Held,
    /// The updates and events of undecided entries.
    Undecided,
    /// The links between customer ids.
    Links,
    /// The origins of delivered values whose receipts are gone.
    Origins,
    /// The records of the audit log.
    Audit,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::outbox) enum ColumnType {
    Number,
    /// A number that PostgreSQL stores as a `smallint`.
    Small,
    /// A number that is 0 or 1.
    Flag,
    Text,
    Bytes,
    /// A plain text, or sealed bytes.
    Sealable,
}

/// A column: its name in PostgreSQL, and its type.
pub(in crate::outbox) type TransferColumn = (&'static str, ColumnType);

use ColumnType::{Bytes, Flag, Number, Sealable, Small, Text};

const SEALING_KEYS: &[TransferColumn] = &[("id", Bytes)];
const SETTINGS: &[TransferColumn] = &[("name", Text), ("value", Sealable)];
/// A tombstone has a number in `erased`. The `kind` of a tombstone is 0 or 1 if `customer` is the digest of a lane, and 2 to 5
/// if `customer` is the digest of a tombstone in a file.
const LANES: &[TransferColumn] = &[
    ("id", Number),
    ("kind", Small),
    ("customer", Bytes),
    ("received", Sealable),
    ("erased", Small),
    ("due_at", Number),
    ("idle", Flag),
    ("low", Small),
    ("failures", Number),
    ("spent", Number),
    ("tried_at", Number),
    ("blamed_since", Number),
    ("unfold_to", Number),
    ("versions", Bytes),
    ("maybe_sent", Number),
    ("spelled", Small),
    ("unproven_since", Number),
    ("absence", Bytes),
];
const RECEIPTS: &[TransferColumn] = &[
    ("id", Number),
    ("source", Text),
    ("ce_source", Text),
    ("event_id", Text),
    ("event_type", Text),
    ("digest", Bytes),
    ("lane", Number),
    ("accepted_at", Number),
    ("state", Small),
    ("attempts", Number),
    ("settled_at", Number),
    ("superseded_by", Number),
    ("ignored", Small),
    ("skipped", Bytes),
];
const PAYLOADS: &[TransferColumn] = &[
    ("entry", Number),
    ("lane", Number),
    ("state", Small),
    ("source", Text),
    ("epoch", Number),
    ("value", Number),
    ("facts", Bytes),
    ("event", Bytes),
    ("event_bytes", Number),
    ("partner", Text),
    ("stated", Flag),
    ("accepted_at", Number),
    ("jump_max", Number),
    ("reason", Small),
    ("detail", Sealable),
    ("errors", Bytes),
];
const LINKS: &[TransferColumn] = &[
    ("partner", Bytes),
    ("imprint", Bytes),
    ("ids", Bytes),
    ("confirmed_at", Number),
];
const ORIGINS: &[TransferColumn] = &[
    ("entry", Number),
    ("lane", Number),
    ("source", Text),
    ("ce_source", Text),
    ("event_id", Text),
    ("delivered_at", Number),
    ("attempts", Number),
];
const AUDIT: &[TransferColumn] = &[
    ("number", Number),
    ("at", Number),
    ("operator", Text),
    ("action", Text),
    ("target", Text),
    ("entries", Number),
    ("reason", Sealable),
    ("seal", Bytes),
];

impl RowKind {
    /// All kinds, in the order of the transfer.
    pub const ALL: [Self; 11] = [
        Self::SealingKeys,
        Self::Settings,
        Self::Lanes,
        Self::Receipts,
        Self::Waiting,
        Self::Parked,
        Self::Held,
        Self::Undecided,
        Self::Links,
        Self::Origins,
        Self::Audit,
    ];

    /// Returns the name of the kind, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SealingKeys => "sealing keys",
            Self::Settings => "settings",
            Self::Lanes => "customers",
            Self::Receipts => "receipts",
            Self::Waiting => "waiting entries",
            Self::Parked => "parked entries",
            Self::Held => "held entries",
            Self::Undecided => "undecided entries",
            Self::Links => "links between ids",
            Self::Origins => "origins of values",
            Self::Audit => "audit records",
        }
    }

    pub(in crate::outbox) const fn columns(self) -> &'static [TransferColumn] {
        match self {
            Self::SealingKeys => SEALING_KEYS,
            Self::Settings => SETTINGS,
            Self::Lanes => LANES,
            Self::Receipts => RECEIPTS,
            Self::Waiting | Self::Parked | Self::Held | Self::Undecided => PAYLOADS,
            Self::Links => LINKS,
            Self::Origins => ORIGINS,
            Self::Audit => AUDIT,
        }
    }
}

/// The value of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::outbox) enum TransferValue {
    #[default]
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl TransferValue {
    pub(in crate::outbox) const fn size(&self) -> usize {
        match self {
            Self::Null => 1,
            Self::Number(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Returns whether a column of this type can have the value.
    const fn is_of(&self, column: ColumnType) -> bool {
        match (self, column) {
            (Self::Null, _)
            | (Self::Number(_), Number | Small | Flag)
            | (Self::Text(_), Text | Sealable)
            | (Self::Bytes(_), Bytes | Sealable) => true,
            (Self::Number(_) | Self::Text(_) | Self::Bytes(_), _) => false,
        }
    }

    fn add_to(&self, hash: &mut Sha256) {
        let (tag, bytes): (u8, &[u8]) = match self {
            Self::Null => (0, &[]),
            Self::Number(number) => (1, &number.to_be_bytes()),
            Self::Text(text) => (2, text.as_bytes()),
            Self::Bytes(bytes) => (3, bytes),
        };
        hash.update([tag]);
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    }
}

/// A row: one value for each column of its kind.
pub(in crate::outbox) type TransferRow = Vec<TransferValue>;

/// Returns whether the values of a row have the types of their columns.
pub(in crate::outbox) fn is_sound(kind: RowKind, row: &TransferRow) -> bool {
    let columns = kind.columns();
    let mut pairs = row.iter().zip(columns);
    row.len() == columns.len() && pairs.all(|(value, (_, of))| value.is_of(*of))
}

/// The number of rows, and a digest over all of them that does not depend on their order: two engines sort texts in
/// different ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum {
    /// The number of rows.
    pub count: u64,
    sums: [u128; 2],
}

impl RowSum {
    pub(in crate::outbox) fn add(&mut self, row: &TransferRow) {
        let mut hash = Sha256::new();
        for value in row {
            value.add_to(&mut hash);
        }
        let hash = hash.finalize();
        let (halves, _rest) = hash.as_chunks();
        for (sum, half) in self.sums.iter_mut().zip(halves) {
            *sum = sum.wrapping_add(u128::from_be_bytes(*half));
        }
        self.count = self.count.saturating_add(1);
    }

    /// Returns the digest as a text.
    pub fn digest(&self) -> String {
        let [first, second] = self.sums;
        format!("{first:032x}{second:032x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[TransferRow]) -> RowSum {
        let mut sum = RowSum::default();
        rows.iter().for_each(|row| sum.add(row));
        sum
    }

    fn text(text: &str) -> TransferValue {
        TransferValue::Text(text.to_owned())
    }

    #[test]
    fn the_digest_depends_on_every_value_and_not_on_the_order() {
        let one = vec![TransferValue::Number(1), text("ab"), text("c")];
        let two = vec![TransferValue::Number(2), text("a"), TransferValue::Null];
        let both = sum(&[one.clone(), two.clone()]);
        assert_eq!(both, sum(&[two.clone(), one.clone()]));
        assert_eq!(both.count, 2);
        let shifted = vec![TransferValue::Number(1), text("a"), text("bc")];
        let empty = vec![TransferValue::Number(2), text("a"), text("")];
        for other in [
            sum(std::slice::from_ref(&one)),
            sum(&[shifted, two]),
            sum(&[one, empty]),
        ] {
            assert_ne!(other.digest(), both.digest());
        }
    }

    #[test]
    fn a_row_has_the_types_of_its_columns() {
        let row = |name, value| vec![name, value];
        let sealed = TransferValue::Bytes(vec![1]);
        for (row, expected) in [
            (row(text("mode"), text("open")), true),
            (row(text("evidence"), sealed.clone()), true),
            (row(text("evidence"), TransferValue::Null), true),
            (row(sealed, text("open")), false),
            (row(text("mode"), TransferValue::Number(1)), false),
            (vec![text("mode")], false),
        ] {
            assert_eq!(is_sound(RowKind::Settings, &row), expected, "{row:?}");
        }
    }
}
