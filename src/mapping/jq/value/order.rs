//! The order of the interpreter's values, as jq defines the order.

use std::cmp::Ordering;

use super::super::super::budget::{key_steps, take, text_steps};
use super::super::super::comparison::number_order;
use super::super::super::located::Assumed;
use super::{Val, ValContent};

impl Val {
    /// Compares two interpreter values. A comparison takes steps from the budget. If too few steps are left, the
    /// comparison treats the two values as equal.
    pub(in crate::mapping::jq) fn order(&self, other: &Self) -> Ordering {
        if !take(self.compared_steps(other)) {
            return Ordering::Equal;
        }
        if self.is_absent() || other.is_absent() {
            return self.assumed().order(&other.assumed());
        }
        match (&self.content, &other.content) {
            (ValContent::Bool(left), ValContent::Bool(right)) => left.cmp(right),
            (ValContent::Number(left), ValContent::Number(right)) => number_order(left, right),
            (ValContent::Text(left), ValContent::Text(right)) => left.cmp(right),
            (ValContent::Array(left, _), ValContent::Array(right, _)) => {
                let differing = left.iter().zip(right.iter()).map(|(l, r)| l.order(r));
                let first = differing.into_iter().find(|order| order.is_ne());
                first.unwrap_or_else(|| left.len().cmp(&right.len()))
            }
            (ValContent::Object(left, _), ValContent::Object(right, _)) => {
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

impl Val {
    /// Returns the present value that a condition reads.
    fn assumed(&self) -> Self {
        let ValContent::Absent(assumed) = &self.content else {
            return self.clone();
        };
        let content = match assumed {
            Assumed::Null | Assumed::Hidden => ValContent::Null,
            Assumed::False => ValContent::Bool(false),
            Assumed::True => ValContent::Bool(true),
            Assumed::Zero => ValContent::Number(0.into()),
        };
        Self::made(content)
    }

    /// Returns the number of budget steps for a comparison, without the steps for the items and members of the two
    /// values.
    fn compared_steps(&self, other: &Self) -> usize {
        match (&self.content, &other.content) {
            (ValContent::Text(left), ValContent::Text(right)) => {
                text_steps(left).min(text_steps(right))
            }
            (ValContent::Object(left, _), ValContent::Object(right, _)) => {
                let keys = left.len().min(right.len());
                left.keys().map(|key| key_steps(key)).sum::<usize>() + keys + 1
            }
            (_, _) => 1,
        }
    }
}

impl ValContent {
    const fn rank(&self) -> u8 {
        match self {
            Self::Absent(_) | Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::Array(..) => 4,
            Self::Object(..) => 5,
            Self::Error(_) => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::super::super::budget::{begin_event, is_exceeded};
    use super::*;

    /// Returns the smallest budget that suffices for a comparison.
    fn steps_of_comparison(left: &Val, right: &Val) -> Option<u32> {
        (0..100).find(|steps| {
            begin_event(*steps);
            let _: Ordering = left.order(right);
            !is_exceeded()
        })
    }

    /// FAULTS N91: a comparison takes one step for each 64 bytes that it can read, and one step for each member.
    #[test]
    fn a_comparison_takes_steps_for_the_bytes_and_members_that_it_reads() {
        begin_event(u32::MAX);
        let text = |bytes: usize| Val::from("x".repeat(bytes));
        let object = |names: &[&str]| {
            let members = names.iter().map(|name| (Rc::from(*name), Val::from(true)));
            Val::object(members)
        };
        let long = "x".repeat(128);
        for (left, right, steps) in [
            (Val::from(1), Val::from(2), 1),
            (text(1), text(640), 1),
            (text(640), text(64), 2),
            // The two names of different lengths take no step beside the steps for the object and its members.
            (object(&["a", "b"]), object(&["c", "d"]), 3),
            // Two steps for the long name, one for the object, two for the members, and two for their values.
            (object(&["a", &long]), object(&["a", &long]), 7),
        ] {
            assert_eq!(steps_of_comparison(&left, &right), Some(steps));
        }
    }
}
