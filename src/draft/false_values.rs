//! Recognizes `false` in the place of a text. Some sources, such as Odoo, write false for a field without a value.

use std::collections::BTreeSet;

use serde_json::Value;

use super::address_names;
use super::doubt::SampleNames;
use super::names;
use super::path::{JsonPath, Leaf};
use super::synonyms;

/// The maximum number of members that a sentence names.
const NAMED_MAX: usize = 8;

/// Marks the members in which false is an emptied text. If one member of an object shows this, the mark is on every text of
/// the object.
pub(super) fn mark(leaves: &mut [Leaf]) {
    let is_false = |leaf: &&Leaf| leaf.has_false() && is_text_or_false(leaf);
    if !leaves.iter().any(|leaf| is_false(&leaf)) {
        return;
    }
    let persons = leaves
        .iter()
        .filter(|leaf| has_text(leaf) && is_field(leaf));
    let persons: BTreeSet<JsonPath> = persons.map(|leaf| leaf.path.parent()).collect();
    // An object such as `{"email": false, "phone": false}` without a text is perhaps the consent to messages.
    let is_shown =
        |leaf: &&Leaf| has_text(leaf) || (is_field(leaf) && persons.contains(&leaf.path.parent()));
    let shown = leaves.iter().filter(is_false).filter(is_shown);
    let objects: BTreeSet<JsonPath> = shown.map(|leaf| leaf.path.parent()).collect();
    for leaf in leaves.iter_mut() {
        leaf.is_false_empty = objects.contains(&leaf.path.parent())
            && is_text_or_false(leaf)
            && (has_text(leaf) || is_field(leaf));
    }
}

/// Names the members that are false in a sample, and says what the draft does with them.
pub(super) fn decision(leaves: &[Leaf], samples: SampleNames<'_>) -> Option<String> {
    let found: Vec<&Leaf> = leaves
        .iter()
        .filter(|leaf| leaf.is_false_empty && leaf.has_false())
        .collect();
    let event = found.first()?.first_false()?;
    let named = found.iter().take(NAMED_MAX);
    let named: Vec<String> = named
        .map(|leaf| format!("`{}`", leaf.path.expression()))
        .collect();
    let more = match found.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "The value false in the place of a text, as in {}, at {}{more}: the draft takes it for an empty value, so the bridge clears the field at Imprint. If false means that the source does not know the value, write `empty` instead of `null`, and the field stays unchanged.",
        samples.of(event),
        named.join(", ")
    ))
}

/// Returns the paths of the members that can be a text or false, except the members that an event must have.
pub(super) fn paths(leaves: &[Leaf], required: &[JsonPath]) -> Vec<JsonPath> {
    let found = leaves.iter().filter(|leaf| leaf.is_false_empty);
    let found = found.map(|leaf| leaf.path.clone());
    found.filter(|path| !required.contains(path)).collect()
}

fn is_text_or_false(leaf: &Leaf) -> bool {
    let fits = |value: &Value| matches!(value, Value::String(_) | Value::Bool(false) | Value::Null);
    leaf.values.iter().all(fits)
}

fn has_text(leaf: &Leaf) -> bool {
    leaf.values.iter().any(Value::is_string)
}

/// Returns whether a member has the name of a text that describes a person.
fn is_field(leaf: &Leaf) -> bool {
    let path = leaf.path.names();
    let name = names::telling(&path);
    let mut fields = synonyms::PERSON.iter();
    fields.any(|known| names::position(name, known.names).is_some())
        || names::position(name, &synonyms::FULL_NAMES).is_some()
        || address_names::address_part(leaf.path.last_name()).is_some()
}

impl Leaf {
    /// Returns whether a value of the samples is false.
    pub(super) fn has_false(&self) -> bool {
        self.values.contains(&Value::Bool(false))
    }

    /// Adds the case of an empty value to the expression of a field that reads this leaf.
    pub(super) fn unless_false(&self, expression: String) -> String {
        if !self.is_false_empty {
            return expression;
        }
        let path = self.path.expression();
        format!("if {path} == false then null else {expression} end")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::leaves::leaves;

    /// FAULTS N990
    #[test]
    fn false_is_an_empty_text_only_beside_texts_of_a_person() {
        for (events, expected) in [
            (
                vec![json!({"name": "Ann", "email": false, "active": false})],
                vec![".email", ".name"],
            ),
            (
                vec![
                    json!({"job": "Chef", "x": "a"}),
                    json!({"job": false, "x": "b"}),
                ],
                vec![".job", ".x"],
            ),
            (vec![json!({"email": false, "phone": false})], vec![]),
            (
                vec![json!({"name": "Ann", "consent": {"email": false, "source": "web"}})],
                vec![],
            ),
            (
                vec![
                    json!({"name": "Ann", "email": true}),
                    json!({"name": "Ann", "email": false}),
                ],
                vec![],
            ),
            (vec![json!({"name": "Ann", "email": null})], vec![]),
            (
                vec![json!({"a": {"city": "Reno", "zip": false}, "name": "Ann"})],
                vec![".a.city", ".a.zip"],
            ),
        ] {
            let found = leaves(&events);
            let found = found.iter().filter(|leaf| leaf.is_false_empty);
            let found: Vec<String> = found.map(|leaf| leaf.path.expression()).collect();
            assert_eq!(found, expected, "{events:?}");
        }
    }
}
