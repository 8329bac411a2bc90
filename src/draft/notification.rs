//! Recognizes events that only say that a customer changed, or that describe a change in another form than a record.

use serde_json::Value;

use super::field_draft::{FieldDraft, FieldDrafts};
use super::form::{self, TimeForm};
use super::names;
use super::path::{JsonPath, Leaf, quoted};

/// The last words of the names of members that describe the event, and not the customer.
const EVENT_WORDS: [&str; 19] = [
    "action",
    "attempt",
    "count",
    "entity",
    "env",
    "event",
    "href",
    "id",
    "ids",
    "kind",
    "link",
    "module",
    "object",
    "operation",
    "topic",
    "type",
    "uri",
    "url",
    "uuid",
];

/// Returns sentences about events of one type that a mapping cannot read as they are.
pub(super) fn notes(
    name: &str,
    events: &[Value],
    leaves: &[Leaf],
    fields: &FieldDrafts,
) -> Vec<String> {
    let name = quoted(name);
    let mut notes = Vec::new();
    let is_metadata = |field: &FieldDraft| field.target.starts_with("metadata.");
    let has_field = !fields.fields.iter().all(is_metadata);
    let pairs = events.iter().find_map(pairs);
    let ids = leaves.iter().find(|leaf| is_id_list(leaf));
    if let Some(pairs) = &pairs {
        let list = match ids {
            Some(ids) => format!("a list of ids in `{}`, and ", ids.path.expression()),
            None => String::new(),
        };
        notes.push(format!(
            "The events of the type {name} have {list}pairs of the value before and the value after the change in `{}`. The draft does not map the pairs: see the recipe \"Old and new values in pairs\" in config/sources/RECIPES.md.",
            pairs.expression()
        ));
    } else if let Some(ids) = ids.filter(|_| !has_field) {
        notes.push(format!(
            "The events of the type {name} have a list of ids in `{}`. If these are the ids of customers, `body.split` makes one event of each id: see the recipe \"Old and new values in pairs\" in config/sources/RECIPES.md.",
            ids.path.expression()
        ));
    }
    let has_value = leaves.iter().any(has_customer_value);
    if pairs.is_none() && !has_value && !has_field {
        notes.push(format!(
            "The events of the type {name} have only ids and no value of a customer. The bridge cannot fetch the values: let the source send them, or let a relay read each record from the source and post it to the bridge with the time of the reading. Then draft the source from the bodies of the relay."
        ));
    }
    notes
}

/// Returns whether a leaf can have a value of the customer. An id, a time, and a word about the event are no such value.
fn has_customer_value(leaf: &Leaf) -> bool {
    let names = leaf.path.names();
    let words = names::words(leaf.path.last_name());
    let is_of_event = words
        .last()
        .is_none_or(|word| EVENT_WORDS.contains(&word.as_str()));
    let is_empty = leaf
        .present()
        .all(|value| value.as_array().is_some_and(Vec::is_empty));
    let is_time = TimeForm::of(leaf).is_some();
    !is_empty && !is_of_event && !is_time && !names::concerns_other(&names)
}

/// Returns whether a leaf is a list of ids, such as `"ids": [7, 8]`.
fn is_id_list(leaf: &Leaf) -> bool {
    let is_named = names::words(leaf.path.last_name())
        .last()
        .is_some_and(|word| word == "ids");
    let is_list = |value: &Value| {
        let items = value.as_array();
        items.is_some_and(|items| items.iter().all(form::is_id))
    };
    is_named && leaf.has_value() && form::all(leaf, is_list)
}

/// Finds an object of the event whose members are lists of two values, or objects with such lists.
fn pairs(event: &Value) -> Option<JsonPath> {
    let is_pair = |value: &Value| value.as_array().is_some_and(|items| items.len() == 2);
    let has_pairs = |value: &Value| {
        let members = value.as_object();
        members.is_some_and(|members| {
            let mut values = members.values();
            values.clone().any(is_pair) && values.all(|value| is_pair(value) || value.is_object())
        })
    };
    let mut members = event.as_object()?.iter();
    members.find_map(|(name, value)| {
        let path = JsonPath::of(&[name]);
        if has_pairs(value) {
            return Some(path);
        }
        let mut inner = value.as_object()?.iter();
        let (name, _) = inner.find(|(_, value)| has_pairs(value))?;
        Some(path.member(name))
    })
}
