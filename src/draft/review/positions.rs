//! Notes about values that an expression reads by their position in a list of named values.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SPLIT, TypeExamples, customer};
use crate::event::pointer;
use crate::intake::TargetExplanation;

/// The names of the member that tells the items of a list of named values apart, such as the custom fields of a CRM.
const NAMES: [&str; 8] = [
    "id", "key", "name", "code", "field", "fieldId", "label", "slug",
];

/// The names among these that only a list of named values has.
const KEYS: [&str; 5] = ["key", "code", "field", "fieldId", "slug"];
/// The names of the object in an item that defines the value.
const DEFINITIONS: [&str; 4] = ["attribute", "definition", "field", "property"];
/// The names of a member that marks the preferred item.
const PREFERRED: [&str; 5] = ["primary", "isPrimary", "is_primary", "preferred", "default"];

/// The functions that choose an item by its value, or that make another list.
const CHOSEN: [&str; 6] = [
    "select(", "sort_by(", "max_by(", "min_by(", "reverse", "split(",
];

/// Returns a note for each expression that reads an item of a list by its position, if the example of another customer has this
/// item at another position.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    // The first list in a place is then the list of the events.
    let has_split = evidence.targets().any(|rule| rule.target == SPLIT);
    let rules = evidence.targets().filter(|rule| rule.target != SPLIT);
    let notes = rules.filter_map(|rule| {
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        if let Some((list, index, name)) = named_value(evidence, rule, read) {
            return Some(format!(
                "{} reads item {index} of {}, a list of named values, which another customer can have in another order: take the item by its {name}, such as first(.[] | select(.{name} == \"…\") | .value) after the path of the list",
                rule.target,
                pointer::without_values(list)
            ));
        }
        let (list, index) = by_position(rule, read, has_split)?;
        let name = NAMES.iter().find(|name| moves(evidence, (list, index), name))?;
        let list = pointer::without_values(list);
        Some(format!(
            "{} reads item {index} of {list}, and the items have another order in another example: take the item by its {name}, such as first(.[] | select(.{name} == \"…\")) after the path of the list",
            rule.target
        ))
    });
    notes.collect()
}

/// Returns the list and the position of the item whose member `value` an expression reads, and the path of the name in the items, if
/// an example has several items with different names.
fn named_value<'r>(
    evidence: &TypeExamples<'_>,
    rule: &TargetExplanation,
    read: &'r str,
) -> Option<(&'r str, &'r str, String)> {
    let (list, index) = read.strip_suffix("/value")?.rsplit_once('/')?;
    let is_written = rule.expression.contains(&format!("[{index}]"));
    let lists = evidence.bodies.iter().filter_map(|body| {
        let items = body.pointer(list)?.as_array()?;
        (items.len() > 1 && is_written).then_some(items)
    });
    let mut names = lists.filter_map(|items| name_of(items));
    Some((list, index, names.next()?))
}

/// Returns the path of the name of the items, if each item has another one. A list with a preferred item has no names.
fn name_of(items: &[Value]) -> Option<String> {
    let has_preferred = items
        .iter()
        .any(|item| PREFERRED.iter().any(|name| item.get(name).is_some()));
    let nested = DEFINITIONS
        .iter()
        .flat_map(|object| NAMES.iter().map(|name| vec![*object, *name]));
    let mut paths = KEYS.iter().map(|key| vec![*key]).chain(nested);
    let path = paths.find(|path| !has_preferred && tells_apart(items, path))?;
    Some(path.join("."))
}

/// Returns whether all items have different texts at a path.
fn tells_apart(items: &[Value], path: &[&str]) -> bool {
    let value = |item: &Value| {
        let mut steps = path.iter();
        let value = steps.try_fold(item, |item, step| item.get(step))?;
        value.as_str().map(str::to_owned)
    };
    let values: Option<BTreeSet<String>> = items.iter().map(value).collect();
    values.is_some_and(|values| values.len() == items.len())
}

/// Returns the list and the position in it from which an expression reads.
fn by_position<'r>(
    rule: &TargetExplanation,
    read: &'r str,
    has_split: bool,
) -> Option<(&'r str, usize)> {
    let is_chosen = CHOSEN.iter().any(|word| rule.expression.contains(word));
    let is_index = |step: Option<&str>| step.is_some_and(|step| step.parse::<usize>().is_ok());
    let steps = read.match_indices('/').filter(|(start, _)| {
        let rest = read.get(*start..).unwrap_or_default();
        is_index(rest.split('/').nth(1))
    });
    let steps = steps.skip(usize::from(has_split));
    let mut found = steps.filter_map(|(start, _)| {
        let (list, rest) = read.split_at_checked(start)?;
        let step = rest.split('/').nth(1)?;
        let index = step.parse().ok()?;
        let is_written = rule.expression.contains(&format!("[{step}]"));
        (is_written && !is_chosen).then_some((list, index))
    });
    found.next()
}

/// Returns whether the item at this position in one example is at another position in the example of another customer. A customer
/// can change the order of the own addresses.
fn moves(evidence: &TypeExamples<'_>, (list, index): (&str, usize), name: &str) -> bool {
    let lists = evidence.with_bodies().filter_map(|(event, body)| {
        let items = body.pointer(list)?.as_array()?;
        let names = items.iter();
        let names = names.map(|item| item.get(name).and_then(Value::as_str));
        Some((customer::id(event)?, names.collect::<Vec<_>>()))
    });
    let lists: Vec<(String, Vec<Option<&str>>)> = lists.collect();
    let at = |names: &[Option<&str>]| names.get(index).copied().flatten().map(str::to_owned);
    lists.iter().any(|(customer, names)| {
        let wanted = at(names);
        let others = lists.iter().filter(|(other, _)| other != customer);
        let mut others = others.map(|(_, names)| names);
        wanted.is_some_and(|wanted| {
            others.any(|names| {
                let is_here = at(names).is_some_and(|here| here == wanted);
                !is_here && names.iter().flatten().any(|other| *other == wanted)
            })
        })
    })
}
