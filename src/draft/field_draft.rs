//! A field of Imprint in a draft, and the search for the member that has its value.

use super::names;
use super::path::{JsonPath, Leaf};

/// A field of Imprint with the expression for its value.
#[derive(Clone, Debug)]
pub(super) struct FieldDraft {
    pub(super) target: String,
    pub(super) expression: String,
    pub(super) reason: String,
    /// Whether the source file only suggests the setting, in a comment.
    pub(super) is_suggestion: bool,
}

impl FieldDraft {
    pub(super) fn live(target: &str, expression: String, reason: &str) -> Self {
        Self {
            target: target.to_owned(),
            expression,
            reason: reason.to_owned(),
            is_suggestion: false,
        }
    }

    pub(super) fn suggested(target: &str, expression: String, reason: &str) -> Self {
        Self {
            is_suggestion: true,
            ..Self::live(target, expression, reason)
        }
    }
}

/// The fields that the values of one event type set.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldDrafts {
    pub(super) fields: Vec<FieldDraft>,
    /// The sentences about what the person must decide.
    pub(super) decisions: Vec<String>,
}

pub(super) fn reason(leaf: &Leaf) -> &'static str {
    if leaf.has_value() {
        "the name and the form of the value"
    } else {
        "the name; the samples have no value"
    }
}

/// Copies a field of the top level into `customer_history`.
pub(super) fn in_history(field: &FieldDraft) -> FieldDraft {
    FieldDraft {
        target: format!("customer_history.{}", field.target),
        ..field.clone()
    }
}

/// Finds the value whose name comes first in a list of names. A leaf with a value in the samples, inside the record, and
/// at a low depth is better.
pub(super) fn best<'a>(
    leaves: &'a [Leaf],
    names: &[&str],
    record: Option<&JsonPath>,
    fits: impl Fn(&Leaf) -> bool,
) -> Option<&'a Leaf> {
    let ranked = leaves.iter().filter_map(|leaf| {
        let path = leaf.path.names();
        let position = names::position(names::telling(&path), names)?;
        if names::concerns_other(&path) || !fits(leaf) {
            return None;
        }
        let is_outside = record.is_some_and(|record| !leaf.path.starts_with(record));
        Some((
            (!leaf.has_value(), is_outside, position, leaf.path.depth()),
            leaf,
        ))
    });
    ranked
        .min_by(|(one, _), (other, _)| one.cmp(other))
        .map(|(_, leaf)| leaf)
}
