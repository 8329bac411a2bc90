//! Notes about parts of an address that Imprint keeps beside the new parts of another address.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{TypeExamples, base};
use crate::draft::emptied;
use crate::draft::path::JsonPath;
use crate::event::pointer;
use crate::intake::{EventExplanation, ExplainedOutcome, TargetExplanation, TargetResult};

/// The parts of an address other than the second line of the street, which has a rule of its own.
const PARTS: [&str; 4] = ["city", "postal_code", "state", "street_line1"];

/// Returns a note for each part of an address whose expression reads something inside null, if the event changes another part.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> Vec<String> {
    let mut notes: BTreeMap<&str, String> = BTreeMap::new();
    for (event, body) in evidence.with_bodies() {
        let parts = event.targets.iter().flatten();
        let parts: Vec<_> = parts
            .filter(|rule| PARTS.contains(&base(&rule.target)))
            .collect();
        for kept in parts
            .iter()
            .filter(|rule| rule.result == TargetResult::Absent)
        {
            let part = base(&kept.target);
            let group = kept.target.strip_suffix(part);
            let is_beside = |rule: &&&TargetExplanation| {
                rule.target.strip_suffix(base(&rule.target)) == group && is_sent(event, rule)
            };
            let note = parts.iter().find(is_beside).and_then(|changed| {
                let null = null_around(evidence, kept, body)?;
                Some(note(evidence, kept, null, base(&changed.target)))
            });
            if let Some(note) = note {
                notes.entry(part).or_insert(note);
            }
        }
    }
    notes.into_values().collect()
}

fn note(
    evidence: &TypeExamples<'_>,
    kept: &TargetExplanation,
    null: &str,
    changed: &str,
) -> String {
    let TargetExplanation {
        target, expression, ..
    } = kept;
    let part = base(target);
    // An alternative outside the null can have a value, so the null alone does not clear the field.
    let is_alternative = |read: &String| {
        !is_inside(read, null) && !is_of_country(evidence, |country| country == read)
    };
    let path = match kept.reads.iter().any(is_alternative) {
        true => None,
        false => path_in(expression, null),
    };
    let null = pointer::without_values(null);
    let remedy = match path {
        Some(path) => format!(
            "write {target} = 'if {} then null else {expression} end'",
            emptied::is_null(&path)
        ),
        None => format!("let the expression of {target} give null for it"),
    };
    format!(
        "in an example, {null} is null, so {part} is absent, and the event changes {changed}: Imprint keeps the former {part} in the new address. If null means that the source has no value, {remedy}"
    )
}

/// Returns whether the request of an event sets or clears the field of a rule.
fn is_sent(event: &EventExplanation, rule: &TargetExplanation) -> bool {
    let request = match &event.outcome {
        ExplainedOutcome::Request(request) | ExplainedOutcome::Parked { request, .. } => request,
        ExplainedOutcome::Refused { .. }
        | ExplainedOutcome::Invalid { .. }
        | ExplainedOutcome::Ignored { .. } => return false,
    };
    let is_changed = match rule.result {
        TargetResult::Value { .. } => true,
        TargetResult::Cleared => !request.omitted.contains_key(&rule.target),
        TargetResult::Absent | TargetResult::Skipped { .. } | TargetResult::Refused { .. } => false,
    };
    is_changed && !rule.is_unchanged && !rule.is_held_back
}

/// Returns the place of the null inside which a rule reads. A null that the country also reads is the answer only if there is no
/// other one: the state and the ZIP code ask for the country.
fn null_around<'a>(
    evidence: &TypeExamples<'a>,
    rule: &'a TargetExplanation,
    body: &Value,
) -> Option<&'a str> {
    let nulls = rule.reads.iter().filter_map(|read| null_in(read, body));
    let nulls: Vec<&str> = nulls.collect();
    let own = nulls
        .iter()
        .find(|null| !is_of_country(evidence, |read| is_inside(read, null)));
    own.or_else(|| nulls.first()).copied()
}

/// Returns whether a condition is true for a place from which the expression of a country reads.
fn is_of_country(evidence: &TypeExamples<'_>, condition: impl Fn(&str) -> bool) -> bool {
    let mut rules = evidence
        .targets()
        .filter(|rule| rule.target.ends_with("address.country"));
    rules.any(|rule| rule.reads.iter().any(|read| condition(read)))
}

/// Returns the part of the place `read` at which a body has null.
fn null_in<'r>(read: &'r str, body: &Value) -> Option<&'r str> {
    let ends = read.match_indices('/').skip(1).map(|(at, _)| at);
    let mut outer = ends.filter_map(|end| read.get(..end));
    outer.find(|place| body.pointer(place).is_some_and(Value::is_null))
}

fn is_inside(place: &str, outer: &str) -> bool {
    let rest = place.strip_prefix(outer);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Returns the path that leads to a place, if an expression reads a member of it, and the path begins in the event. The place
/// begins in the body, and an event can be a part of the body. A name in the place that can be a value gives no path.
fn path_in(expression: &str, place: &str) -> Option<JsonPath> {
    if !place.split('/').skip(1).all(pointer::is_name) {
        return None;
    }
    let names: Vec<String> = place.split('/').skip(1).map(pointer::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let paths = (0..names.len()).filter_map(|start| names.get(start..));
    let mut paths = paths.map(JsonPath::of);
    paths.find(|path| {
        let member = format!("{}.", path.expression());
        let at = emptied::position(expression, &member);
        // After a pipe, a path begins in the value before the pipe. The branches of `if` begin in the event.
        at.is_some_and(|at| {
            let before = expression.get(..at).unwrap_or_default();
            let branch = before.rsplit(" then ").next().unwrap_or_default();
            let branch = branch.rsplit(" else ").next().unwrap_or_default();
            !branch.contains('|') && (before.starts_with("if ") || !before.contains('|'))
        })
    })
}
