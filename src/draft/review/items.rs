//! Notes about the items of a list from which the fields read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::constant;
use super::customer::{is_customer, is_record};
use super::{SPLIT, TypeExamples, base, last_name, plain_name, text};
use crate::draft::{address_names, names};
use crate::event::pointer;
use crate::intake::TargetExplanation;
use crate::intake::coverage::ExplainedExample;

/// The parts of an address.
const PARTS: [&str; 5] = [
    "city",
    "postal_code",
    "state",
    "street_line1",
    "street_line2",
];
/// The minimum number of members of an address that have the name of a part.
const PARTS_MIN: usize = 2;
/// The starts of the names of a member that is true in the preferred item of a list, and the words that can follow.
const FLAGS: [&str; 3] = ["default", "preferred", "primary"];
const FLAGGED: [&str; 9] = [
    "", "address", "billing", "contact", "email", "home", "mailing", "phone", "shipping",
];

/// Returns the notes about an address of several items, and about a first item that is not the preferred one.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for (event, body) in evidence.with_bodies() {
        let targets = event.targets.iter().flatten();
        let rules: Vec<&TargetExplanation> = targets.collect();
        notes.extend(mixed(&rules, body));
        notes.extend(rules.iter().find_map(|rule| unpreferred(rule, body)));
        notes.extend(
            rules
                .iter()
                .find_map(|rule| only_first(evidence, rule, body)),
        );
        let first = rules.iter();
        notes.extend(first.filter_map(|rule| beside_list(evidence, rule, body)));
    }
    notes
}

/// Returns a note if two parts of one address come from different items of one list.
fn mixed(rules: &[&TargetExplanation], body: &Value) -> Option<String> {
    let parts = rules
        .iter()
        .filter(|rule| PARTS.contains(&base(&rule.target)));
    let read = parts.filter_map(|rule| Some((rule.target.as_str(), item_of(rule, body)?)));
    // The items of another list, such as a list of names and values, are no addresses.
    let read = read.filter(|(_, item)| is_address(item, body));
    let parts: Vec<(&str, ListItem)> = read.collect();
    let found = parts.iter().find_map(|(target, item)| {
        let differs = |(other, other_item): &&(&str, ListItem)| {
            other.strip_suffix(base(other)) == target.strip_suffix(base(target))
                && other_item.list == item.list
                && other_item.index != item.index
        };
        Some(((target, item), parts.iter().find(differs)?))
    });
    let ((target, item), (other, other_item)) = found?;
    Some(format!(
        "in an example, {target} reads item {} of {}, and {other} reads item {}: the parts of one address must come from one item",
        item.index,
        pointer::without_values(&item.list),
        other_item.index
    ))
}

/// Returns whether an item of a list, or an object in it, has parts of an address.
fn is_address(item: &ListItem, body: &Value) -> bool {
    let has_parts = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        let parts = members.filter(|(name, _)| address_names::address_part(name).is_some());
        parts.count() >= PARTS_MIN
    };
    let item = body
        .pointer(&item.list)
        .and_then(|list| list.get(item.index));
    let mut inside = item.and_then(Value::as_object).into_iter().flatten();
    item.is_some_and(has_parts) || inside.any(|(_, value)| has_parts(value))
}

/// Returns a note if an expression takes the first item of a list, and only another item is marked as the preferred one.
fn unpreferred(rule: &TargetExplanation, body: &Value) -> Option<String> {
    let expression = rule.expression.trim_end();
    let takes_first = expression.contains("[0]")
        || expression.contains("first(")
        || expression.ends_with("| first");
    let takes_first = takes_first && !expression.contains("select(");
    let item = item_of(rule, body).filter(|item| takes_first && item.index == 0)?;
    let items = body.pointer(&item.list)?.as_array()?;
    let names = items.first()?.as_object()?.keys();
    let is_flag = |name: &&String| {
        let plain = plain_name(&pointer::inside("", name));
        let plain = plain.strip_prefix("is").unwrap_or(&plain);
        let mut rests = FLAGS.iter().filter_map(|flag| plain.strip_prefix(flag));
        rests.any(|rest| FLAGGED.contains(&rest)) && pointer::is_name(name)
    };
    let is_marked = |item: &Value, flag: &str| item.get(flag) == Some(&Value::Bool(true));
    let is_other = |flag: &&String| {
        let marked = items.iter().filter(|item| is_marked(item, flag));
        marked.count() == 1
            && items.first().and_then(|item| item.get(flag.as_str())) == Some(&Value::Bool(false))
    };
    let flag = names.filter(is_flag).find(is_other)?;
    let list = pointer::without_values(&item.list);
    let member = last_name(&list);
    pointer::is_name(&member).then(|| format!(
        "in an example, {} reads the first item of {list}, and {flag} is true in another item: if that one is the right item, write first(.{member}[] | select(.{flag})) with the path of the list",
        base(&rule.target)
    ))
}

/// Returns a note if the id of the customer comes from the first item of a list, and another item has another id there: each item
/// is possibly a change. An item without values of a person is a part of one customer, such as an email address.
fn only_first(
    evidence: &TypeExamples<'_>,
    rule: &TargetExplanation,
    body: &Value,
) -> Option<String> {
    let [read] = rule.reads.as_slice() else {
        return None;
    };
    let is_split = evidence.targets().any(|rule| rule.target == SPLIT);
    let item = innermost_item(read, body).filter(|item| is_customer(rule) && item.index == 0)?;
    if is_split || !is_record(evidence, &pointer::inside(&item.list, "0")) {
        return None;
    }
    let path = read.strip_prefix(&item.list)?.strip_prefix("/0")?;
    let items = body.pointer(&item.list)?.as_array()?;
    let mut ids = items.iter().map(|item| item.pointer(path));
    let first = ids.next()??;
    let is_other = ids.flatten().any(|id| id != first);
    let list = pointer::without_values(&item.list);
    is_other.then(|| {
        format!(
            "in an example, {} reads the first item of {}, and another item has another id: if each item is a change, set body.split, which makes an event of each item",
            rule.target,
            if list.is_empty() { "the body" } else { &list },
        )
    })
}

/// Returns a note if an expression reads the first item of a list, and a member beside the list, marked as the preferred one by its
/// name, has another value.
fn beside_list(
    evidence: &TypeExamples<'_>,
    rule: &TargetExplanation,
    body: &Value,
) -> Option<String> {
    let [read] = rule.reads.as_slice() else {
        return None;
    };
    let item = innermost_item(read, body).filter(|item| item.index == 0)?;
    let value = text(rule)?;
    let known = constant::known_names(base(&rule.target))?;
    let is_preferred = |name: &str| {
        let first = names::words(name).into_iter().next().unwrap_or_default();
        FLAGS.contains(&first.as_str()) && names::position(name, known).is_some()
    };
    let mut beside = evidence
        .unread_beside(&item.list)
        .filter(|(place, _)| is_preferred(&last_name(place)));
    let (meant, _) = beside.find(|(place, _)| {
        let other = body.pointer(place).and_then(Value::as_str);
        other.is_some_and(|other| other.trim() != value)
    })?;
    let meant = pointer::without_values(meant);
    Some(format!(
        "in an example, {} reads the first item of {}, and {meant} has another value: did you mean {meant}?",
        base(&rule.target),
        pointer::without_values(&item.list)
    ))
}

/// The notation that takes the first item of a list.
const FIRST: [&str; 4] = ["[0]", "[0:1]", "[:1]", "first("];
const LAST: [&str; 3] = ["[-1]", "[-1:]", "last("];

/// Returns a note if `body.split` makes events of a part of the items of a list by their position, and an example has others.
pub(super) fn first_event(split: &str, example: &ExplainedExample) -> Option<String> {
    let outside = outside_objects(split);
    // A variable gets one value of the body, and the pipe after it still has the whole body.
    let pipeline: Vec<&str> = outside
        .split('|')
        .filter(|part| !part.contains('$'))
        .map(str::trim)
        .collect();
    let is_word = |word: &str| pipeline.contains(&word);
    let pipeline_text = pipeline.join("|");
    let has = |forms: &[&str]| forms.iter().any(|form| pipeline_text.contains(form));
    let part = if has(&FIRST) || is_word("first") {
        "the first item"
    } else if has(&LAST) || is_word("last") {
        "the last item"
    } else {
        return None;
    };
    let left_out = &example.explanation.left_out;
    let mut places = left_out.iter().filter(|_| !outside.contains("select("));
    let list = places.find_map(|place| {
        let (list, _) = place
            .rsplit_once("/1")
            .or_else(|| place.rsplit_once("/0"))?;
        let items = example.body.pointer(list)?.as_array()?;
        let is_left_out = |index: &usize| {
            let item = format!("{list}/{index}");
            let mut inside = left_out
                .iter()
                .filter_map(|other| other.strip_prefix(&item));
            inside.any(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let count = items.len();
        (count > 1 && !(0..count).all(|index| is_left_out(&index))).then_some(list)
    })?;
    let list = match list {
        "" => "the body".to_owned(),
        list => pointer::without_values(list),
    };
    Some(format!(
        "in an example, body.split takes only {part} of {list}, and the other items change nothing at Imprint: if each item is a change, write [] in the place of {part}"
    ))
}

/// Returns a note if `body.split` makes an event of each item of a list, and binds a value of its first item to a variable for all
/// events.
pub(super) fn one_for_all(split: &str) -> Option<String> {
    let outside = outside_objects(split);
    let stages = stages(&outside);
    let is_binding = |stage: &&&str| stage.contains(" as $");
    let mut others = stages.iter().filter(|stage| !is_binding(stage));
    let source = others.next()?;
    let list = source.strip_suffix("[]").or_else(|| {
        let (list, rest) = source.split_once("[]")?;
        rest.starts_with('.').then_some(list)
    })?;
    let is_path = |path: &str| {
        let of_path = |letter: char| letter.is_alphanumeric() || "._".contains(letter);
        path.starts_with('.') && path.chars().all(of_path)
    };
    let first = format!("{list}[0]");
    let begins = |text: &str| {
        let text = text.trim_start_matches('(').trim_start();
        text.starts_with(&first)
    };
    let bindings = stages.iter().filter(is_binding);
    let is_bound = bindings.clone().any(|stage| begins(stage));
    // The whole list has a name, and an object takes its first item.
    let variables = bindings.filter_map(|stage| {
        let (path, variable) = stage.split_once(" as ")?;
        (path.trim() == list).then(|| format!("{}[0]", variable.trim()))
    });
    let is_of_variable = variables.into_iter().any(|first| split.contains(&first));
    let shown = if list == "." { "the body" } else { list };
    (is_path(list) && (is_bound || is_of_variable)).then(|| {
        format!(
            "body.split makes an event of each item of {shown}, and reads {first} too: if all events get a value of the first item, read it from the item of each"
        )
    })
}

/// Returns the parts of an expression between the pipes that stand in no brackets.
fn stages(expression: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = expression.split(move |letter: char| {
        match letter {
            '(' | '[' => depth = depth.saturating_add(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == '|' && depth == 0
    });
    parts.map(str::trim).collect()
}

/// Returns an expression without the objects that it makes, such as `{email: .emails[0]}`.
fn outside_objects(expression: &str) -> String {
    let mut depth = 0_usize;
    let is_outside = |letter: &char| {
        match letter {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    };
    expression.chars().filter(is_outside).collect()
}

/// An item of a list.
struct ListItem {
    /// The place of the list.
    list: String,
    index: usize,
}

/// Returns the only item of a list from which the text of a rule comes.
fn item_of(rule: &TargetExplanation, body: &Value) -> Option<ListItem> {
    let value = text(rule)?;
    let texts = rule.reads.iter().filter_map(|read| {
        let text = body.pointer(read)?.as_str()?;
        Some((innermost_item(read, body)?, text))
    });
    let texts: Vec<(ListItem, &str)> = texts.collect();
    let same: Vec<&ListItem> = texts
        .iter()
        .filter(|(_, text)| *text == value)
        .map(|(item, _)| item)
        .collect();
    let all: Vec<&ListItem> = texts.iter().map(|(item, _)| item).collect();
    [all, same].into_iter().find_map(|items| {
        let first = items.first()?;
        let is_first = |item: &&ListItem| item.list == first.list && item.index == first.index;
        items.iter().all(is_first).then(|| ListItem {
            list: first.list.clone(),
            index: first.index,
        })
    })
}

/// Returns the innermost item of a list that is around a place.
fn innermost_item(place: &str, body: &Value) -> Option<ListItem> {
    let ends = place.match_indices('/').map(|(at, _)| at);
    let ends: Vec<usize> = ends.collect();
    ends.into_iter().rev().find_map(|end| {
        let (list, rest) = place.split_at_checked(end)?;
        let index = rest.split('/').nth(1)?.parse().ok()?;
        body.pointer(list)?.as_array()?;
        Some(ListItem {
            list: list.to_owned(),
            index,
        })
    })
}
