//! The mass changes that the brake of a source holds. This module is pure.

use super::recent::{PassedChanges, Written};
use crate::imprint::Field;
use crate::time::Timestamp;

/// The rule of the brake for which an entry is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrakeRule {
    /// The source changes the field of too many customers.
    Customers,
    /// The source changes the field of a too large share of the customers that it changed lately.
    Share,
    /// The source writes the same value into the field of too many customers.
    SameValue,
    /// The source clears the field of too many customers.
    Cleared,
}

impl BrakeRule {
    /// Returns the name of the rule for answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Share => "share",
            Self::SameValue => "same_value",
            Self::Cleared => "cleared",
        }
    }
}

/// The kind of a mass change: a field, and the rule that the changes of the field exceed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MassChange {
    pub field: Field,
    pub rule: BrakeRule,
}

/// A mass change that the brake holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    pub since: Timestamp,
    /// The time of the newest held entry.
    pub last: Timestamp,
    /// The number of held entries.
    pub entries: u64,
    /// The limit of the rule: customers within the window.
    pub customers_max: usize,
    /// The highest number of customers within the window. The brake counts at most the largest limit and one more.
    pub customers: usize,
    /// The customers whose change passed within the window before the first held entry.
    pub passed: PassedChanges,
}

/// The reason for holding an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldChange {
    pub kind: MassChange,
    pub(super) excess: Excess,
}

/// A limit that the customers of a field exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) rule: BrakeRule,
    /// What the entry writes into the field.
    pub(super) written: Written,
    pub(super) customers: usize,
    pub(super) customers_max: usize,
}

impl HeldChange {
    pub(super) fn of(field: &Field, excess: Excess) -> Self {
        let kind = MassChange {
            field: field.clone(),
            rule: excess.rule,
        };
        Self { kind, excess }
    }
}
