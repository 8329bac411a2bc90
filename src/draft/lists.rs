//! Suggests settings for custom fields: lists of objects in which each item has the id and the value of a field.

use serde_json::Value;

use super::field_draft::FieldDraft;
use super::names;
use super::path::{JsonPath, Leaf, Step, quoted};

/// The maximum number of suggestions for the items of one list.
const ITEMS_MAX: usize = 5;
/// The maximum number of lists of texts that a sentence names.
const TEXTS_MAX: usize = 10;
/// The names of a member that says which field the item of a list is.
const KEYS: [&str; 8] = [
    "id",
    "key",
    "name",
    "field",
    "fieldid",
    "fieldkey",
    "fieldname",
    "label",
];
/// The names of a member with the value of the field.
const VALUES: [&str; 4] = ["value", "fieldvalue", "val", "values"];

/// Returns whether a path leads to the member that says which field an item of a list is, as in
/// `{"customFields": [{"id": "f1", "value": "gold"}]}`.
pub(super) fn is_key(path: &JsonPath, leaves: &[Leaf]) -> bool {
    let is_named =
        |name: &str, known: &[&str]| known.contains(&names::words(name).concat().as_str());
    let is_value = |leaf: &Leaf| {
        leaf.path.parent() == path.parent() && is_named(leaf.path.last_name(), &VALUES)
    };
    let is_item = matches!(path.parent().steps().last(), Some(Step::First));
    is_item && is_named(path.last_name(), &KEYS) && leaves.iter().any(is_value)
}

/// Returns suggestions that find the item by its key, because the position of an item in such a list is not fixed. Returns
/// `None` if the leaf is not the value of such an item.
pub(super) fn suggestions(leaf: &Leaf, leaves: &[Leaf]) -> Option<Vec<FieldDraft>> {
    let item = leaf.path.parent();
    if is_key(&leaf.path, leaves) {
        return Some(Vec::new());
    }
    let is_beside = |key: &&Leaf| key.path.parent() == item && is_key(&key.path, leaves);
    let is_value = VALUES.contains(&names::words(leaf.path.last_name()).concat().as_str());
    let key = leaves.iter().find(is_beside).filter(|_| is_value)?;
    let list = item.parent().expression();
    let name = key.path.member_expression();
    let value = leaf.path.member_expression();
    let words = names::words(item.parent().last_name()).join("_");
    let target: String = words
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    let keys = key.present().filter_map(Value::as_str);
    let suggest = |(number, key): (usize, &str)| {
        let expression = format!(
            "first({list}[] | select({name} == {}) | {value})",
            quoted(key)
        );
        let target = format!("metadata.{target}_{}", number.saturating_add(1));
        let why = "Each item of this list has the key and the value of a custom field, in no fixed order. Give the setting the name of the field.";
        FieldDraft::suggested(&target, expression, why)
    };
    Some(keys.take(ITEMS_MAX).enumerate().map(suggest).collect())
}

/// Names the pairs of an id and a name, such as `[233, "United States"]`, of which the draft reads nothing.
pub(super) fn pairs(leaves: &[Leaf], used: &[JsonPath]) -> Option<String> {
    let is_pair = |value: &Value| {
        let items = value.as_array().map(Vec::as_slice);
        matches!(items, Some([Value::Number(_), Value::String(_)]))
    };
    let is_unread = |leaf: &&Leaf| leaf.present().any(is_pair) && !used.contains(&leaf.path);
    let found: Vec<String> = leaves
        .iter()
        .filter(is_unread)
        .take(TEXTS_MAX)
        .map(|leaf| leaf.path.expression())
        .collect();
    let first = found.first()?;
    let named: Vec<String> = found.iter().map(|path| format!("`{path}`")).collect();
    Some(format!(
        "The pairs of an id and a name in the samples: the draft reads nothing of {}. `[1]` after the path reads the name, such as `{first}[1]`; for the code of a country, write `| alpha3` after the name of a country.",
        named.join(", ")
    ))
}

/// Names the lists of texts, of which the draft reads at most the first item.
pub(super) fn texts(leaves: &[Leaf], used: &[JsonPath]) -> Option<String> {
    let is_texts = |value: &Value| {
        let items = value.as_array();
        items.is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_string))
    };
    let is_list = |leaf: &&Leaf| {
        let is_other = names::concerns_other(&leaf.path.names());
        leaf.present().any(is_texts) && !used.contains(&leaf.path) && !is_other
    };
    let (read, unread): (Vec<&Leaf>, Vec<&Leaf>) = leaves
        .iter()
        .filter(is_list)
        .partition(|leaf| used.contains(&leaf.path.child(Step::First)));
    let named = |lists: &[&Leaf]| {
        let names = lists.iter().take(TEXTS_MAX);
        let names = names.map(|leaf| format!("`{}`", leaf.path.expression()));
        names.collect::<Vec<_>>().join(", ")
    };
    let read = (!read.is_empty()).then(|| {
        format!(
            "of {} only the first item, also if another item is the preferred one",
            named(&read)
        )
    });
    let unread = (!unread.is_empty()).then(|| {
        format!(
            "nothing of {}, where `[0]` after the path reads the first item",
            named(&unread)
        )
    });
    let parts: Vec<String> = read.into_iter().chain(unread).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "The lists of texts in the samples: the draft reads {}.",
            parts.join("; ")
        )
    })
}
