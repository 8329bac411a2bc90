//! Notes about ids of customers that are ids of several kinds, or no ids.

use std::collections::BTreeSet;

use serde_json::Value;

use super::customer::{CUSTOMER_RULES, is_customer};
use super::versions::{EVENT_ID, VERSION};
use super::{TypeExamples, base, constant, last_name, outer};
use crate::draft::names;
use crate::draft::synonyms::{FULL_NAMES, RECORD_IDS};
use crate::event::pointer;
use crate::intake::{EventExplanation, TargetExplanation, TargetResult};

/// The fields of a person, besides those of every customer, that several customers have in common.
const IN_COMMON: [&str; 2] = ["loyalty_tier", "state"];
/// The starts of the times that are older than the times of all events.
const OLDEST: [&str; 4] = ["0", "1900", "1970", "-"];
/// The field that some sources have as the id of a customer.
const EMAIL: &str = "email";

/// Returns the notes about ids of several kinds, and about values of a person that are no ids.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let rules = evidence.targets().filter(|rule| is_customer(rule));
    let mut notes: BTreeSet<String> = rules
        .filter_map(|rule| other_kind(evidence, rule))
        .collect();
    notes.extend(evidence.targets().filter_map(constant_alternative));
    notes.extend(
        evidence
            .with_bodies()
            .filter_map(|event| name_of_person(evidence, event)),
    );
    notes.extend(
        evidence
            .events
            .iter()
            .filter_map(|event| personal_value(event)),
    );
    notes
}

/// Returns a note if an expression takes another member of the same object in the place of an absent id, and an example has
/// different values in both. The id of one customer can then be the other id of another customer.
fn other_kind(evidence: &TypeExamples<'_>, rule: &TargetExplanation) -> Option<String> {
    let (first, second) = rule.expression.split_once("//")?;
    let [first, second] = [first, second].map(|path| path.trim().trim_end_matches('?'));
    let (object, first) = first.rsplit_once('.')?;
    let second = second.strip_prefix(object)?.strip_prefix('.')?;
    let is_name = |name: &str| !name.is_empty() && pointer::is_name(name);
    // The explanation has only the place that the expression read last.
    let read = rule
        .reads
        .last()
        .filter(|_| is_name(first) && is_name(second))?;
    let places = [first, second].map(|name| pointer::inside(outer(read), name));
    if !places.contains(read) {
        return None;
    }
    let differ = evidence.bodies.iter().any(|body| {
        let ids = places
            .each_ref()
            .map(|place| body.pointer(place).and_then(id));
        matches!(ids, [Some(one), Some(other)] if one != other)
    });
    let [first, second] = places.map(|place| pointer::without_values(&place));
    differ.then(|| {
        format!(
            "{} is {}, and an example has different ids in {first} and {second}: if they are ids of two systems, one customer's id can be the other id of another customer, who then gets the change. Read one of them",
            rule.target, rule.expression
        )
    })
}

/// Returns a note if the id of the customer is a member that by its name and its value has a name of a person, or a phone number
/// beside an id.
fn name_of_person(
    evidence: &TypeExamples<'_>,
    (event, body): (&EventExplanation, &Value),
) -> Option<String> {
    let mut rules = event
        .targets
        .iter()
        .flatten()
        .filter(|rule| is_customer(rule));
    rules.find_map(|rule| {
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        let name = last_name(read);
        let is_known = |field: &str| {
            let known = constant::known_names(field).unwrap_or_default();
            names::position(&name, known).is_some()
        };
        let sent = body.pointer(read).and_then(Value::as_str)?;
        let is_word = !sent.contains(|sign: char| sign.is_ascii_digit() || "-_:/@".contains(sign));
        let mut beside = evidence.beside(read);
        let mut has_id = || beside.any(|(_, name)| RECORD_IDS.contains(&name.as_str()));
        let is_personal = names::position(&name, &FULL_NAMES).is_some() && sent.contains(' ')
            || ["first_name", "last_name"].into_iter().any(is_known)
            || is_known("phone") && sent.starts_with('+') && has_id();
        let is_personal = is_personal && (is_word || sent.starts_with('+'));
        is_personal.then(|| {
            format!(
                "{} reads {}, by its name no id of a customer: customers with an equal value there are one customer for the bridge. Read the id of the customer",
                rule.target,
                pointer::without_values(read)
            )
        })
    })
}

/// Returns a note if the id of an event or of a customer, or the version, is a constant where the event has no value.
fn constant_alternative(rule: &TargetExplanation) -> Option<String> {
    let what = match rule.target.as_str() {
        EVENT_ID => {
            "all events without an id have this one, and the bridge refuses each after the first"
        }
        VERSION => "an event without a version counts as older or newer than all others",
        target if CUSTOMER_RULES.contains(&target) => {
            "all events without an id change one customer"
        }
        _ => return None,
    };
    let (_, alternative) = rule.expression.rsplit_once("//")?;
    let constant: Value = serde_json::from_str(alternative.trim()).ok()?;
    // The lowest version says that the event is the oldest one.
    let is_lowest =
        |text: &str| rule.target == VERSION && OLDEST.iter().any(|start| text.starts_with(start));
    let is_value = match &constant {
        Value::Number(number) => rule.target != VERSION || number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty() && !is_lowest(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    is_value.then(|| {
        format!(
            "{} ends in // {constant}: {what}. Leave out the alternative, so that the bridge refuses such an event",
            rule.target
        )
    })
}

/// Returns an id as text.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// Returns a note if the id of the customer is the value of a field that several customers can have.
fn personal_value(event: &EventExplanation) -> Option<String> {
    let rules = || {
        let rules = event.targets.iter().flatten();
        // An expression without a value reads places in which it has not found one.
        rules.filter(|rule| matches!(rule.result, TargetResult::Value { .. }))
    };
    let of_person = |id: &TargetExplanation| {
        rules().find(|rule| {
            let field = base(&rule.target);
            let is_shared = constant::OF_CUSTOMER.contains(&field) || IN_COMMON.contains(&field);
            is_shared && field != EMAIL && rule.reads == id.reads
        })
    };
    let ids = rules().filter(|rule| is_customer(rule) && rule.reads.len() == 1);
    let (id, field) = ids.filter_map(|id| Some((id, of_person(id)?))).next()?;
    Some(format!(
        "{} and {} read {}: customers with an equal value there are one customer for the bridge. Read the id of the customer",
        id.target,
        base(&field.target),
        pointer::without_values(id.reads.first()?)
    ))
}
