//! Finds the values in the events of the samples.

use serde_json::Value;

use super::address_names::{self, AddressPart};
use super::false_values;
use super::list_items::ListItems;
use super::names;
use super::path::{JsonPath, Leaf, Step};
use super::secrets;
use crate::event::member_name::SensitiveKind;

/// The maximum depth of the values that a draft reads. The values of a customer lie at most five levels deep in the known
/// events.
pub(super) const DEPTH_MAX: usize = 10;
/// The maximum number of different paths that a draft reads in the events of one type. A person reviews the draft.
pub(super) const LEAVES_MAX: usize = 1_000;
/// Lists the leaves of the events of one type, in the order of their paths.
pub(super) fn leaves(events: &[Value]) -> Vec<Leaf> {
    let mut found = Leaves {
        lists: ListItems::of(events),
        ..Leaves::default()
    };
    for (position, event) in events.iter().enumerate() {
        found.event = position;
        found.add(event, &JsonPath::default());
    }
    let mut leaves: Vec<Leaf> = found.leaves.into_values().collect();
    false_values::mark(&mut leaves);
    leaves
}

#[derive(Default)]
struct Leaves {
    leaves: std::collections::BTreeMap<JsonPath, Leaf>,
    lists: ListItems,
    /// The position of the event that is read.
    event: usize,
}

impl Leaves {
    fn add(&mut self, value: &Value, path: &JsonPath) {
        if path.depth() >= DEPTH_MAX || self.leaves.len() >= LEAVES_MAX {
            return;
        }
        match value {
            Value::Object(members) => {
                let is_open =
                    |(name, _): &(&String, &Value)| secrets::kind(name, members).is_none();
                for (name, value) in members.iter().filter(is_open) {
                    self.add(value, &path.member(name));
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                self.add_items(items, path);
            }
            Value::Array(items) if names::is_contact_point(path.last_name()) => {
                self.add_leaf(value, path);
                if let Some(first) = items.first() {
                    self.add_leaf(first, &path.child(Step::First));
                }
            }
            Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => self.add_leaf(value, path),
        }
    }

    /// Adds the leaves of the preferred item of a list: the item that [`ListItems`] chooses, or the first item.
    fn add_items(&mut self, items: &[Value], path: &JsonPath) {
        if let Some(entries) = entries(items) {
            let is_leaf = |(_, value): &(&str, &Value)| !value.is_array() && !value.is_object();
            let is_open = |(name, _): &(&str, &Value)| SensitiveKind::of(name).is_none();
            let entries = entries.into_iter().filter(is_leaf).filter(is_open);
            for (name, value) in entries {
                self.add_leaf(value, &path.child(Step::Entry(name.to_owned())));
            }
            return;
        }
        let step = self.lists.step(path);
        let chosen = items.iter().find(|item| step.selects(item));
        let other = || items.first().filter(|_| !matches!(step, Step::Except(..)));
        if let Some(item) = chosen.or_else(other) {
            let path = path.child(step);
            self.add(item, &path);
            self.add_second_lines(items, item, &path);
        }
    }

    /// Adds the second line of a street that another item of the list has, and the item at `path` does not have: without this
    /// line, the draft would divide the first one and clear the second one.
    fn add_second_lines(&mut self, items: &[Value], chosen: &Value, path: &JsonPath) {
        let is = |name: &str, wanted: AddressPart| {
            address_names::address_part(name).is_some_and(|(part, _, _)| part == wanted)
        };
        let mut chosen_names = chosen.as_object().into_iter().flat_map(|item| item.keys());
        if !chosen_names.any(|name| is(name, AddressPart::Line1)) {
            return;
        }
        for (name, value) in items.iter().filter_map(Value::as_object).flatten() {
            if is(name, AddressPart::Line2) && chosen.get(name).is_none() {
                self.add_leaf(value, &path.member(name));
            }
        }
    }

    fn add_leaf(&mut self, value: &Value, path: &JsonPath) {
        if !path.is_usable() || path.depth() == 0 {
            return;
        }
        let leaf = self
            .leaves
            .entry(path.clone())
            .or_insert_with(|| Leaf::at(path));
        leaf.add(value, self.event);
    }
}

/// Returns the entries of a list in which each item is `{"key": name, "value": …}`.
pub(super) fn entries(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let entry = |item: &'_ Value| item.get("key").is_some_and(Value::is_string);
    if !items.iter().all(entry) {
        return None;
    }
    let entry = |item| {
        let item: &Value = item;
        Some((item.get("key")?.as_str()?, item.get("value")?))
    };
    items.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::path::{PATH_CHARS_MAX, PATH_SIGNS_MAX};
    use super::*;

    #[test]
    fn a_path_is_an_expression_whatever_its_names_are() {
        let event = json!({
            "a": {"b c": 1, "if": 2, "q\"\\(x)": 3, "$": 4, "n\nl": 5, "\u{202e}": 6},
            "emails": [{"value": "x", "primary": false}, {"value": "y", "primary": true}],
            "list": [{"key": "zip", "value": "1"}],
            "rows": [{"id": 1}, {"id": 2}],
            "tags": ["a"],
        });
        let found = leaves(&[event]);
        let expressions: Vec<_> = found.iter().map(|leaf| leaf.path.expression()).collect();
        let expected = [
            r#".a."$""#,
            r#".a."b c""#,
            r#".a."if""#,
            r#".a."n\u000al""#,
            r#".a."q\"\\(x)""#,
            r#".a."\u202e""#,
            ".emails | map(select(.primary == true)) | first | .primary",
            ".emails | map(select(.primary == true)) | first | .value",
            ".list | from_entries | .zip",
            ".rows[0].id",
            ".tags",
        ];
        for expression in expected {
            assert!(
                expressions.contains(&expression.to_owned()),
                "{expression} in {expressions:#?}"
            );
        }
        assert_eq!(expressions.len(), expected.len(), "{expressions:#?}");
        assert_eq!(JsonPath::default().expression(), ".");
    }

    #[test]
    fn a_path_beyond_the_limits_of_an_expression_is_left_out() {
        let long = "x".repeat(PATH_CHARS_MAX);
        let dashed = "-".repeat(PATH_SIGNS_MAX + 1);
        assert!(leaves(&[json!({ long: 1, dashed: 2 })]).is_empty());
    }
}
