//! Chooses the item that a draft reads of each list of objects: the marked item, the first item, or the first item that is
//! no fax number.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::field_draft::FieldDraft;
use super::leaves::{DEPTH_MAX, entries};
use super::names;
use super::path::{ItemMark, JsonPath, Step, quoted};

/// The words in the name of a member that marks the preferred item of a list, the best word first.
const MARKERS: [&str; 4] = ["primary", "preferred", "default", "main"];
/// The last words in the name of a member with the kind of an item, such as `phone_type`.
const KINDS: [&str; 7] = [
    "type", "kind", "label", "category", "system", "use", "usage",
];
/// The maximum length of the name of a kind.
const KIND_CHARS_MAX: usize = 24;
/// The maximum number of kinds that a sentence names.
const KINDS_MAX: usize = 6;
/// The maximum number of names of fax numbers that an expression leaves out. The expression would be too long otherwise.
const EXCEPT_MAX: usize = 3;

/// The items of the lists of objects in the events. An item of a list inside an item of another list counts for the path
/// with the first item of each list.
#[derive(Debug, Default)]
pub(super) struct ListItems(BTreeMap<JsonPath, ItemChoice>);

/// The item of one list that the draft reads.
#[derive(Debug)]
struct ItemChoice {
    step: Step,
    /// The member with the kind of an item, and the kinds.
    kinds: Option<(String, BTreeSet<String>)>,
}

type Items<'a> = BTreeMap<JsonPath, Vec<&'a Map<String, Value>>>;

impl ListItems {
    pub(super) fn of(events: &[Value]) -> Self {
        let mut lists = Items::new();
        for event in events {
            add(event, &JsonPath::default(), &mut lists);
        }
        let lists = lists.into_iter();
        let chosen = lists.map(|(path, items)| {
            let choice = ItemChoice::of(path.last_name(), &items);
            (path, choice)
        });
        Self(chosen.collect())
    }

    /// Returns the step from a list to the item that the draft reads.
    pub(super) fn step(&self, list: &JsonPath) -> Step {
        let choice = self.0.get(&list.with_first_items());
        choice.map_or(Step::First, |choice| choice.step.clone())
    }

    /// Names the lists with items of several kinds of which the draft reads one item.
    pub(super) fn decisions(&self, fields: &[FieldDraft]) -> Vec<String> {
        let lists = self.0.iter();
        let found = lists.filter_map(|(path, choice)| choice.decision(path, fields));
        found.collect()
    }
}

/// Adds the items of all lists of objects in a value.
fn add<'v>(value: &'v Value, path: &JsonPath, lists: &mut Items<'v>) {
    if path.depth() >= DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                add(value, &path.member(name), lists);
            }
        }
        Value::Array(items) if entries(items).is_none() => {
            let objects = items.iter().filter_map(Value::as_object);
            lists.entry(path.clone()).or_default().extend(objects);
            let first = path.child(Step::First);
            let items = items.iter();
            items.for_each(|item| add(item, &first, lists));
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl ItemChoice {
    fn of(list: &str, items: &[&Map<String, Value>]) -> Self {
        let is_contact = names::is_contact_point(list)
            || items
                .iter()
                .any(|item| item.keys().any(|name| names::is_contact_point(name)));
        let kinds = kinds(items);
        let except = || {
            let (member, kinds) = kinds.as_ref().filter(|_| is_contact)?;
            let faxes = kinds.iter().filter(|kind| is_fax(kind)).take(EXCEPT_MAX);
            let faxes: Vec<String> = faxes.cloned().collect();
            (!faxes.is_empty()).then(|| Step::Except(member.clone(), faxes))
        };
        let step = marker(items).or_else(except).unwrap_or(Step::First);
        Self { step, kinds }
    }

    fn decision(&self, path: &JsonPath, fields: &[FieldDraft]) -> Option<String> {
        let (member, kinds) = self.kinds.as_ref().filter(|(_, kinds)| kinds.len() > 1)?;
        let (start, left_out) = match &self.step {
            Step::First => (path.child(Step::First).expression(), None),
            Step::Except(_, faxes) => {
                let names: Vec<String> = faxes.iter().map(|name| quoted(name)).collect();
                (path.expression() + " | map(", Some(names.join(" or ")))
            }
            Step::Marked(..) | Step::Member(_) | Step::Entry(_) => return None,
        };
        let reads = |field: &&FieldDraft| {
            !field.is_suggestion
                && !field.target.starts_with("customer_history.")
                && field.expression.contains(&start)
        };
        let fields = fields.iter().filter(reads);
        let fields: Vec<&str> = fields.map(|field| field.target.as_str()).collect();
        if fields.is_empty() {
            return None;
        }
        let member = JsonPath::of(&[member]).expression();
        let kinds: Vec<String> = kinds.iter().map(|kind| quoted(kind)).collect();
        let left_out = left_out.map_or_else(String::new, |names| format!(" that is not {names}"));
        Some(format!(
            "The items of the list `{}` have several kinds in the samples (`{member}`: {}). The draft reads the first item{left_out} for {}. For an item of one kind, see the recipe \"The preferred item of a list, for several fields\" in config/sources/RECIPES.md.",
            path.expression(),
            kinds.join(", "),
            fields.join(", ")
        ))
    }
}

/// Returns the step to the item that a member marks as the preferred one.
fn marker(items: &[&Map<String, Value>]) -> Option<Step> {
    let names: BTreeSet<&String> = items.iter().flat_map(|item| item.keys()).collect();
    let ranked = names.into_iter().filter_map(|name| {
        let words = names::words(name);
        let is_word = |marker: &&str| words.iter().any(|word| word == marker);
        let rank = MARKERS.iter().position(is_word)?;
        let values: Vec<&Value> = items.iter().filter_map(|item| item.get(name)).collect();
        let fits = |mark: &ItemMark| {
            let mut values = values.iter().filter(|value| !value.is_null()).peekable();
            values.peek().is_some() && values.all(|value| mark.is_or_lacks(value))
        };
        let mark = ItemMark::ALL.into_iter().find(fits)?;
        let is_used = values.iter().any(|value| mark.is(value));
        Some(((!is_used, rank, name), mark))
    });
    let ((_, _, name), mark) = ranked.min()?;
    Some(Step::Marked(name.clone(), mark))
}

/// Returns the member that says the kind of each item, and the kinds.
fn kinds(items: &[&Map<String, Value>]) -> Option<(String, BTreeSet<String>)> {
    let names: BTreeSet<&String> = items.iter().flat_map(|item| item.keys()).collect();
    let ranked = names.into_iter().filter_map(|name| {
        let words = names::words(name);
        let last = words.last()?;
        let rank = KINDS.iter().position(|kind| kind == last)?;
        let values = items.iter().filter_map(|item| item.get(name)?.as_str());
        let kinds: BTreeSet<String> = values.map(str::to_owned).collect();
        let is_name = |kind: &String| kind.chars().count() <= KIND_CHARS_MAX;
        let fits = !kinds.is_empty() && kinds.len() <= KINDS_MAX && kinds.iter().all(is_name);
        fits.then_some((rank, name, kinds))
    });
    let (_, name, kinds) = ranked.min()?;
    Some((name.clone(), kinds))
}

fn is_fax(kind: &str) -> bool {
    let kind = kind.to_lowercase();
    kind.contains("fax") || kind.contains("pager")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::leaves::leaves;
    use super::*;

    /// A list, its items, and the path and the value that the draft reads of it.
    type ListCase = (&'static str, Value, Option<(&'static str, &'static str)>);

    fn cases() -> Vec<ListCase> {
        vec![
            (
                "email",
                json!([{"a": "x", "primary_address": false}, {"a": "y", "primary_address": true}]),
                Some((
                    ".email | map(select(.primary_address == true)) | first | .a",
                    "y",
                )),
            ),
            (
                "emails",
                json!([{"a": "x", "primary": 0}, {"a": "y", "primary": 1}]),
                Some((".emails | map(select(.primary == 1)) | first | .a", "y")),
            ),
            (
                "emails",
                json!([{"a": "x", "IsDefault": "0"}, {"a": "y", "IsDefault": "1"}]),
                Some((
                    ".emails | map(select(.IsDefault == \"1\")) | first | .a",
                    "y",
                )),
            ),
            (
                "emails",
                json!([{"a": "x", "main": true, "preferred": false}]),
                Some((".emails | map(select(.main == true)) | first | .a", "x")),
            ),
            (
                "phones",
                json!([{"a": "1", "type": "fax"}, {"a": "2", "type": "mobile"}]),
                Some((".phones | map(select(.type != \"fax\")) | first | .a", "2")),
            ),
            (
                "phones",
                json!([{"a": "1", "phone_type": "Work Fax"}, {"a": "2"}]),
                Some((
                    ".phones | map(select(.phone_type != \"Work Fax\")) | first | .a",
                    "2",
                )),
            ),
            ("phones", json!([{"a": "1", "type": "fax"}]), None),
            (
                "phones",
                json!([{"a": "1", "type": "work"}, {"a": "2", "type": "mobile"}]),
                Some((".phones[0].a", "1")),
            ),
            (
                "messages",
                json!([{"a": "1", "type": "fax"}, {"a": "2", "type": "mobile"}]),
                Some((".messages[0].a", "1")),
            ),
            (
                "emails",
                json!([{"a": "x", "primary": "first"}, {"a": "y", "primary": "second"}]),
                Some((".emails[0].a", "x")),
            ),
        ]
    }

    /// FAULTS N1047: which item of a list the draft reads.
    #[test]
    fn the_marked_item_is_read_and_a_fax_number_never() {
        for (list, items, expected) in cases() {
            let found = leaves(&[json!({ list: items })]);
            let found = found.iter().find(|leaf| leaf.path.last_name() == "a");
            let found = found.map(|leaf| (leaf.path.expression(), leaf.values.clone()));
            let expected = expected.map(|(path, value)| (path.to_owned(), vec![json!(value)]));
            assert_eq!(found, expected, "{items}");
        }
    }

    /// FAULTS N1047: one list has the same choice in all samples, and the sentence names its kinds.
    #[test]
    fn a_list_with_items_of_several_kinds_is_a_decision() {
        let events = [
            json!({"phones": [{"number": "1", "type": "mobile"}]}),
            json!({"phones": [{"number": "2", "type": "fax"}, {"number": "3", "type": "mobile"}]}),
        ];
        let lists = ListItems::of(&events);
        let path = JsonPath::of(&["phones"]);
        let expression = path.child(lists.step(&path)).member("number").expression();
        assert_eq!(
            expression,
            ".phones | map(select(.type != \"fax\")) | first | .number"
        );
        let field = FieldDraft::live("phone", expression, "");
        let decisions = lists.decisions(std::slice::from_ref(&field));
        let decision = decisions.first().map_or("", String::as_str);
        assert!(
            decision.contains("(`.type`: \"fax\", \"mobile\"). The draft reads the first item that is not \"fax\" for phone."),
            "{decision}"
        );
        assert!(lists.decisions(&[]).is_empty());
    }
}
