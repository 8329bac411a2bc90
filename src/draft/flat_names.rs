//! Members with flat names, such as `contact[email]` or `contact.email`: names of a form that somebody has converted to JSON.

use super::path::{Leaf, Step};

/// The maximum number of members that the decision names.
const NAMED_MAX: usize = 3;

/// Says how an expression reads the members with flat names.
pub(super) fn decision(leaves: &[Leaf]) -> Option<String> {
    let is_flat =
        |step: &Step| matches!(step, Step::Member(name) if name.contains(['.', '[', ']']));
    let flat = leaves
        .iter()
        .filter(|leaf| leaf.path.steps().iter().any(is_flat));
    let named: Vec<String> = flat
        .take(NAMED_MAX)
        .map(|leaf| format!("`{}`", leaf.path.expression()))
        .collect();
    (!named.is_empty()).then(|| {
        format!(
            "Some names of members have dots or brackets. Write such a name in double quotes after a dot, and the setting in single quotes: {}.",
            named.join(", ")
        )
    })
}
