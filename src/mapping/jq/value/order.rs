//! Where values stand among all values.

use std::cmp::Ordering;

use super::super::super::comparison::number_order;
use super::budget::spend;
use super::{Content, Val};

impl Val {
    /// Where the value stands among all values, as jq has it; comparing costs steps, and what has none left is equal.
    pub(in crate::mapping::jq) fn order(&self, other: &Self) -> Ordering {
        if spend(1).is_err() {
            return Ordering::Equal;
        }
        match (&self.content, &other.content) {
            (Content::Bool(left), Content::Bool(right)) => left.cmp(right),
            (Content::Number(left), Content::Number(right)) => number_order(left, right),
            (Content::Text(left), Content::Text(right)) => left.cmp(right),
            (Content::Array(left, _), Content::Array(right, _)) => {
                let differing = left.iter().zip(right.iter()).map(|(l, r)| l.order(r));
                let first = differing.into_iter().find(|order| order.is_ne());
                first.unwrap_or_else(|| left.len().cmp(&right.len()))
            }
            (Content::Object(left, _), Content::Object(right, _)) => {
                let keys = left.keys().cmp(right.keys());
                let values = || {
                    let mut each = left.values().zip(right.values()).map(|(l, r)| l.order(r));
                    each.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
                };
                keys.then_with(values)
            }
            (left, right) => left.rank().cmp(&right.rank()),
        }
    }
}

impl Content {
    const fn rank(&self) -> u8 {
        match self {
            Self::Absent | Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::Array(..) => 4,
            Self::Object(..) => 5,
            Self::Refused(_) => 6,
        }
    }
}
