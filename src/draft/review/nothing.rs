//! Notes about rules that make the bridge send nothing, or less than the author expects.

use std::collections::BTreeSet;

use serde_json::Value;

use super::customer::is_customer;
use super::{SPLIT, TypeExamples};
use crate::event::{member_name, pointer};
use crate::imprint::Field;
use crate::intake::{ExplainedOutcome, TargetExplanation, TargetResult};
use crate::spelling;

/// The condition of an event type.
const WHEN: &str = "when";
/// The words in the names of the row before a change, and of the row after it.
const OLD: [&str; 6] = ["before", "old", "original", "preimage", "previous", "prior"];
const NEW: [&str; 5] = ["after", "current", "new", "postimage", "updated"];

/// Returns the notes about a condition that no event meets, and about rules without an effect.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> Vec<String> {
    let rules = ignored(evidence).into_iter();
    let rules = rules
        .chain(time(evidence))
        .chain(equal_images(evidence))
        .chain(read_of_old_row(evidence))
        .chain(same_images(evidence))
        .chain(unread_row(evidence));
    rules
        .chain(images(evidence))
        .chain(skipped(evidence))
        .collect()
}

/// Returns a note for each text that an expression compares with the names of members, if no example has the name and an example
/// has a similar one. `of_body` has the rules of the body that the interpreter runs.
pub(super) fn misspelt_keys<'a>(
    evidence: &TypeExamples<'a>,
    of_body: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for body in &evidence.bodies {
        add_names(body, &mut names);
    }
    let rules = evidence
        .targets()
        .map(|rule| (rule.target.as_str(), rule.expression.as_str()));
    let mut notes = BTreeSet::new();
    for (target, expression) in of_body.chain(rules) {
        for key in compared_keys(expression).filter(|key| !names.contains(key)) {
            let mut similar = names.iter().filter(|name| spelling::is_typo(key, name));
            notes.extend(similar.next().map(|meant| {
                format!(
                    "{target} compares the names of members with \"{key}\", and no example has this name; did you mean {meant}?"
                )
            }));
        }
    }
    notes
}

/// Returns the texts that an expression compares with `.key`.
fn compared_keys(expression: &str) -> impl Iterator<Item = &str> {
    let parts = expression.split(".key ").skip(1);
    parts.filter_map(|part| {
        let text = part
            .strip_prefix("!= \"")
            .or_else(|| part.strip_prefix("== \""))?;
        text.split_once('"').map(|(key, _)| key)
    })
}

/// Adds the names of the members of a value, at any depth.
fn add_names<'v>(value: &'v Value, names: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                names.insert(name);
                add_names(member, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| add_names(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns a note if the condition `when` ignores all examples, with the paths that it reads and no example has.
fn ignored(evidence: &TypeExamples<'_>) -> Option<String> {
    let is_ignored = evidence
        .events
        .iter()
        .all(|event| matches!(event.outcome, ExplainedOutcome::Ignored { .. }));
    let condition = evidence.targets().find(|rule| rule.target == WHEN)?;
    let absent = absent_reads(evidence, WHEN);
    let cause = match absent.as_slice() {
        [] => format!(
            "none meets the condition `when` = {}. Correct it, or add an example that meets it",
            condition.expression
        ),
        absent => format!(
            "`when` reads {}, which no example has",
            absent.join(" and ")
        ),
    };
    is_ignored.then(|| format!("the bridge ignores every example of this event type: {cause}"))
}

/// Returns a note if no example has the time that `body.time` reads.
fn time(evidence: &TypeExamples<'_>) -> Option<String> {
    let target = "body.time";
    let is_absent = evidence.absent_targets().contains_key(target);
    let absent = absent_reads(evidence, target);
    (is_absent && !absent.is_empty()).then(|| {
        format!(
            "no example has {}, which body.time reads: the events have no time",
            absent.join(" or ")
        )
    })
}

/// Returns the paths that the rule of a target reads and that neither an example nor the schema has.
fn absent_reads<'a>(evidence: &TypeExamples<'a>, target: &str) -> Vec<&'a str> {
    let rules = evidence.targets().filter(|rule| rule.target == target);
    let reads = rules.flat_map(|rule| rule.reads.iter().map(String::as_str));
    let absent = reads.filter(|read| !evidence.has(read) && !evidence.is_described(read));
    let absent: BTreeSet<&str> = absent.collect();
    absent.into_iter().collect()
}

/// Returns a note if both rows of a change are one row, or if they are exchanged.
fn same_images(evidence: &TypeExamples<'_>) -> Option<String> {
    let rule = |target: &str| evidence.targets().find(|rule| rule.target == target);
    let (before, after) = (rule("only_changed.before")?, rule("only_changed.after")?);
    if before.expression == after.expression {
        return Some("only_changed.before and only_changed.after are equal, so no field ever changes, and the bridge ignores every event".to_owned());
    }
    let is_old = has_word(&before.expression, &OLD) || has_word(&after.expression, &NEW);
    let is_new = has_word(&before.expression, &NEW) || has_word(&after.expression, &OLD);
    (is_new && !is_old).then(|| {
        format!(
            "only_changed.before is {}, by its name the row after the change, or only_changed.after is {}, by its name the row before it: if the two are exchanged, Imprint gets the old values",
            before.expression, after.expression
        )
    })
}

/// Returns a note if the row before a change is the row after it, and the event has no row before it, or one with other values.
fn equal_images(evidence: &TypeExamples<'_>) -> Option<String> {
    evidence.with_bodies().find_map(|(event, body)| {
        let rule = |target: &str| {
            let mut rules = event.targets.iter().flatten();
            rules.find(|rule| rule.target == target)
        };
        let (before, after) = (rule("only_changed.before")?, rule("only_changed.after")?);
        let TargetResult::Value { value: after } = &after.result else {
            return None;
        };
        let is_ignored = matches!(event.outcome, ExplainedOutcome::Ignored { .. });
        let is_same = matches!(&before.result, TargetResult::Value { value } if value == after);
        // An expression can also read another member, such as the kind of the change.
        let is_row = |read: &&String| is_ignored && is_same && has_word(read, &OLD);
        let mut reads = before.reads.iter().filter(is_row);
        reads.find_map(|read| {
            let place = pointer::without_values(read);
            Some(match body.pointer(read) {
                row if row.is_none_or(Value::is_null) => format!(
                    "in an example, {place} is null or absent, and only_changed.before gives the row after the change all the same, so the bridge ignores the event: let only_changed.before give no value for a new customer, such as select(.old != null) | …"
                ),
                Some(row) if has_other_value(row, after) => format!(
                    "in an example, {place} has another value than the row after the change, and only_changed.before gives the row after it all the same, so the bridge ignores the event: of two objects with +, the second one wins"
                ),
                Some(_) | None => return None,
            })
        })
    })
}

/// Returns whether a member of a row has another value than the same member of another row.
fn has_other_value(row: &Value, other: &Value) -> bool {
    let members = row.as_object();
    let mut members = members.into_iter().flatten();
    members.any(|(name, value)| other.get(name).is_some_and(|other| other != value))
}

/// Returns a note if a field or an id reads the row before a change. The row after the change does not lie inside this row.
fn read_of_old_row(evidence: &TypeExamples<'_>) -> Option<String> {
    evidence.events.iter().find_map(|event| {
        let rules = || event.targets.iter().flatten();
        let rule = |target: &str| rules().find(|rule| rule.target == target);
        let (before, after) = (rule("only_changed.before")?, rule("only_changed.after")?);
        let [row] = before.reads.as_slice() else {
            return None;
        };
        let is_inside = |read: &String| {
            let inside = read.strip_prefix(row.as_str());
            inside.is_some_and(|inside| inside.starts_with('/'))
        };
        let is_plain = before.expression.trim().starts_with('.')
            && before
                .expression
                .chars()
                .all(|letter| letter.is_alphanumeric() || "._".contains(letter));
        let is_apart = after
            .reads
            .iter()
            .all(|read| read != row && !is_inside(read));
        let has_row = matches!(&after.result, TargetResult::Value { value } if value.is_object());
        let is_sent = |rule: &&TargetExplanation| {
            let is_field = Field::parse(&rule.target).is_some() || is_customer(rule);
            let has_choice = rule.expression.contains("//") || rule.expression.contains("if ");
            is_field && !has_choice && !rule.target.starts_with("metadata.")
        };
        let rule = rules()
            .filter(is_sent)
            .find(|rule| !rule.reads.is_empty() && rule.reads.iter().all(is_inside));
        let rule = rule.filter(|_| is_plain && is_apart && has_row && !row.is_empty())?;
        let read = rule.reads.first()?;
        Some(format!(
            "{} reads {}, a value before the change: read it from the row of only_changed.after",
            rule.target,
            pointer::without_values(read)
        ))
    })
}

/// Returns a note if no field reads the row after a change, so that no field differs from the row before it.
fn unread_row(evidence: &TypeExamples<'_>) -> Option<String> {
    let row = evidence
        .targets()
        .find(|rule| rule.target == "only_changed.after")?;
    let path = row.expression.trim();
    // After body.split, a place in the body can have another place in the event.
    let is_split = evidence.targets().any(|rule| rule.target == SPLIT);
    let place = row.reads.first()?;
    let is_inside = |read: &String| {
        let inside = read.strip_prefix(place.as_str());
        !is_split && inside.is_some_and(|inside| inside.is_empty() || inside.starts_with('/'))
    };
    let is_read = |rule: &TargetExplanation| {
        let mut parts = rule.expression.split(path).skip(1);
        rule.reads.iter().any(is_inside)
            || parts.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let fields = || {
        evidence
            .targets()
            .filter(|rule| Field::parse(&rule.target).is_some())
    };
    let is_whole = path.trim_matches('.').is_empty();
    let is_unread = !is_whole && fields().next().is_some() && !fields().any(is_read);
    // An object in body.split can make a member that no body has.
    let makes_members =
        |rule: &TargetExplanation| rule.target == SPLIT && rule.expression.contains('{');
    let is_made = evidence.targets().any(makes_members);
    if is_unread && !is_made && !evidence.has(place) {
        let meant = near_row(evidence, place);
        return Some(format!(
            "no example has {place}, which only_changed.after reads, so the bridge finds no change: correct the path{meant}"
        ));
    }
    is_unread.then(|| {
        format!(
            "no field reads {path}, the row of only_changed.after, so the bridge finds no change and ignores every event that has the row before it: read the fields from this row"
        )
    })
}

/// Returns the end of a note about a place that no example has: the object beside it with nearly the same name.
fn near_row(evidence: &TypeExamples<'_>, place: &str) -> String {
    let (object, name) = place.rsplit_once('/').unwrap_or_default();
    let objects = evidence
        .bodies
        .iter()
        .filter_map(|body| body.pointer(object));
    let members = objects.filter_map(Value::as_object).flatten();
    let mut rows = members
        .filter(|(_, row)| row.is_object())
        .map(|(name, _)| name);
    let meant = rows.find(|row| {
        spelling::is_typo(name, row)
            || name.strip_suffix('s') == Some(row)
            || row.strip_suffix('s') == Some(name)
    });
    let meant = meant.map(|row| format!("; did you mean {}?", pointer::inside(object, row)));
    meant.unwrap_or_default()
}

/// Returns whether an expression has a name with one of these words.
fn has_word(expression: &str, known: &[&str]) -> bool {
    let words = member_name::words(expression);
    words.iter().any(|word| known.contains(&word.as_str()))
}

/// Returns a note about the row before a change, if no example has it. The bridge then sends all fields of each event.
fn images(evidence: &TypeExamples<'_>) -> Vec<String> {
    let absent = evidence.absent_targets().into_iter();
    let rows = absent.filter(|(target, _)| *target == "only_changed.before");
    let notes = rows.map(|(_, reads)| {
        let reads: Vec<&str> = reads.into_iter().collect();
        let has_row = |body: &&Value| {
            let mut rows = reads.iter().filter_map(|read| body.pointer(read));
            rows.any(|row| !row.is_null())
        };
        let place = reads.join(", ");
        if evidence.bodies.iter().any(has_row) {
            format!(
                "an example has {place}, which only_changed.before reads, and the events of it do not: without this row, the bridge sends all fields of an event. Let body.split copy the row into the event"
            )
        } else if evidence.others.iter().any(has_row) {
            format!(
                "no example of this event type has {place}, which only_changed.before reads, and an example without an event of this type has it: look at body.type, at the keys of the event types, and at `ignore`; if they are right, add an example of a change"
            )
        } else {
            format!(
                "no example of this event type has {place}, which only_changed.before reads: without this row, the bridge sends all fields of an event. Correct the path, or add an example of a change"
            )
        }
    });
    notes.collect()
}

/// Returns a note for each field whose value is invalid in all examples. A single example can have an invalid value on purpose,
/// to show the result.
fn skipped(evidence: &TypeExamples<'_>) -> Vec<String> {
    let rules = evidence.by_target().into_iter();
    let notes = rules.filter_map(|(target, rules)| {
        let details = rules.iter().map(|rule| match &rule.result {
            TargetResult::Skipped { error } => Some(error.detail.as_str()),
            TargetResult::Absent
            | TargetResult::Cleared
            | TargetResult::Value { .. }
            | TargetResult::Refused { .. } => None,
        });
        let details: BTreeSet<&str> = details.collect::<Option<_>>()?;
        let detail = details.first().filter(|_| rules.len() > 1)?;
        let detail = detail.trim_end_matches('.');
        Some(format!(
            "the bridge leaves out {target} in every example: {detail}"
        ))
    });
    notes.collect()
}
