//! The fields that describe the person: the form of their values, and their expressions.

use super::field_draft::best;
use super::form;
use super::path::{JsonPath, Leaf};
use super::synonyms::Synonyms;

/// Finds the value with the best name and the right form.
pub(super) fn pick<'a>(
    leaves: &'a [Leaf],
    known: &Synonyms,
    record: Option<&JsonPath>,
) -> Option<&'a Leaf> {
    let (_, fits) = value_form(known.field);
    best(leaves, known.names, record, |leaf| form::any(leaf, fits))
}

/// Returns the form of the values of a field, in words and as a condition.
pub(super) fn value_form(field: &str) -> (&'static str, fn(&serde_json::Value) -> bool) {
    match field {
        "email" => ("an email address", form::is_email),
        "phone" => ("a phone number", form::is_phone),
        "preferred_language" => ("a language tag", form::is_language),
        _ => ("a text", form::is_text),
    }
}

pub(super) fn person_expression(field: &str, leaf: &Leaf) -> (String, Option<String>) {
    let path = leaf.path.expression();
    match field {
        "phone" => {
            let (expression, decision) = phone(leaf);
            (leaf.unless_false(expression), decision)
        }
        "preferred_language" => (leaf.unless_false(format!("{path} | language")), None),
        _ => (leaf.unless_false(path), None),
    }
}

fn phone(leaf: &Leaf) -> (String, Option<String>) {
    let mut path = leaf.path.expression();
    if leaf.present().any(serde_json::Value::is_number) {
        path.push_str(" | text");
    }
    // A number that is too short for an American number is wrong with and without the region.
    let has_country = |value: &serde_json::Value| {
        let text = value.as_str();
        text.is_some_and(|text| text.trim().starts_with('+'))
    };
    let is_local = |value: &serde_json::Value| !has_country(value) && form::has_area_code(value);
    if leaf.present().any(has_country) && !leaf.present().any(is_local) {
        return (format!("{path} | e164"), None);
    }
    let decision = "The country of phone numbers that are written without `+`: the draft reads them as American numbers (`e164(\"US\")`). `e164` without a region refuses them.";
    (format!("{path} | e164(\"US\")"), Some(decision.to_owned()))
}
