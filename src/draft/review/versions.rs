//! Notes about the version of an event.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::customer::is_customer;
use super::{TypeExamples, last_name, outer, plain_name};
use crate::draft::names;
use crate::draft::synonyms::{CHANGE_TIMES, CREATED, CUSTOMER_IDS, RECORD_IDS};
use crate::event::pointer;
use crate::intake::{EventExplanation, ExplainedOutcome, TargetExplanation, TargetResult};

/// The rule with the version of an event.
pub(super) const VERSION: &str = "version";

/// The fields about the age of an account.
const OF_ACCOUNT: [&str; 2] = [
    "customer_history.account_created_at",
    "customer_history.account_tenure",
];

/// The rule with the id of an event.
pub(super) const EVENT_ID: &str = "body.id";

/// Returns the notes about versions that order no events.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> Vec<String> {
    let notes = constant_value(evidence).into_iter();
    let notes = notes.chain(equal_versions(evidence));
    let notes = notes.chain(birth(evidence));
    notes.chain(without_version(evidence)).collect()
}

/// Returns a note if the mapping has no version, and the record of the customer has the time of its change, which no expression
/// reads.
fn without_version(evidence: &TypeExamples<'_>) -> Option<String> {
    if versions(evidence).next().is_some() {
        return None;
    }
    let mut rules = evidence.targets().filter(|rule| is_customer(rule));
    rules.find_map(|rule| {
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        let mut unread = evidence.unread_beside(read);
        let (place, _) = unread.find(|(place, name)| {
            let values = evidence.bodies.iter().map(|body| body.pointer(place));
            let is_time = |text: &str| text.contains(':') && text.starts_with(|sign: char| sign.is_ascii_digit());
            let mut values = values.flatten();
            names::position(&last_name(place), &CHANGE_TIMES).is_some()
                && is_of_change(name)
                && values.any(|value| value.is_number() || value.as_str().is_some_and(is_time))
        })?;
        Some(format!(
            "the mapping has no version, so a late event can replace newer values, and no expression reads {}: if it is the time of the change, write it as the version",
            pointer::without_values(place)
        ))
    })
}

/// Returns whether a name such as `updated_at` speaks of a change. A name such as `ts` or `timestamp` is the time of the event.
fn is_of_change(name: &str) -> bool {
    let parts = ["updat", "modif", "chang"];
    parts.iter().any(|part| name.contains(part))
}

/// Returns a note if the creation of the account or the months since then are those of a date of birth.
fn birth(evidence: &TypeExamples<'_>) -> Option<String> {
    let mut rules = evidence
        .targets()
        .filter(|rule| OF_ACCOUNT.contains(&rule.target.as_str()));
    rules.find_map(|rule| {
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        let read = Some(read).filter(|read| names::is_birth(&last_name(read)))?;
        Some(format!(
            "{} reads {}, a date of birth: read the time at which the account was created",
            rule.target,
            pointer::without_values(read)
        ))
    })
}

/// Returns a note if the version is a value that stays equal when the customer changes: the time at which the source created the
/// customer, a date of birth, or an id.
fn constant_value(evidence: &TypeExamples<'_>) -> Option<String> {
    let records: BTreeSet<&str> = evidence
        .targets()
        .filter(|rule| is_customer(rule))
        .flat_map(|rule| &rule.reads)
        .filter(|read| RECORD_IDS.contains(&plain_name(read).as_str()))
        .map(|read| outer(read))
        .collect();
    let versions: BTreeSet<&str> = versions(evidence)
        .flat_map(|rule| &rule.reads)
        .map(String::as_str)
        .collect();
    let read = versions.first().filter(|_| versions.len() == 1)?;
    let is_change = |(place, name): &(&str, String)| {
        names::position(&last_name(place), &CHANGE_TIMES).is_some() && is_of_change(name)
    };
    let changed = evidence.beside(read).find(is_change);
    let is_of_record = changed.is_some() || records.contains(outer(read));
    let is_creation = names::position(&last_name(read), &CREATED).is_some() && is_of_record;
    let what = if names::is_birth(&last_name(read)) {
        "a date of birth"
    } else if is_creation {
        "the time at which the source created the customer"
    } else if is_id(evidence, read) {
        "by its name an id"
    } else {
        return None;
    };
    let meant =
        changed.map(|(place, _)| format!("; did you mean {}?", pointer::without_values(place)));
    let read = pointer::without_values(read);
    Some(format!(
        "version reads {read}, {what}: it stays equal when the customer changes, so it orders no events{}",
        meant.unwrap_or_default()
    ))
}

/// Returns whether a place has the id of a customer or of a record. The id of an event can grow with each event.
fn is_id(evidence: &TypeExamples<'_>, place: &str) -> bool {
    let reads = |rule: &TargetExplanation| rule.reads.iter().any(|read| read == place);
    let is_of_event = evidence
        .targets()
        .any(|rule| rule.target == EVENT_ID && reads(rule));
    let is_of_customer = evidence
        .targets()
        .any(|rule| is_customer(rule) && reads(rule));
    let name = last_name(place);
    let has_name = names::position(&name, &CUSTOMER_IDS).is_some()
        || RECORD_IDS.contains(&plain_name(place).as_str());
    is_of_customer || has_name && !is_of_event
}

/// Returns a note if different events of one customer have the same version and different values of a field.
fn equal_versions(evidence: &TypeExamples<'_>) -> Option<String> {
    let mut known: BTreeMap<String, BTreeMap<&str, Value>> = BTreeMap::new();
    for event in &evidence.events {
        let targets = event.targets.iter().flatten();
        let mut version = targets.filter(|rule| rule.target == VERSION && !rule.reads.is_empty());
        let (Some(version), Some(id), Some((customer, fields))) =
            (version.next(), event.id.as_deref(), request(event))
        else {
            continue;
        };
        if let TargetResult::Value { value } = &version.result {
            let events = known.entry(format!("{customer} {value}")).or_default();
            events.insert(id, fields);
        }
    }
    let contradicts = |events: &BTreeMap<&str, Value>| {
        let mut all = events.values();
        all.any(|one| events.values().any(|other| differ(one, other)))
    };
    known.values().any(contradicts).then(|| {
        "examples of one customer have different values of a field and the same version, so the bridge cannot know which of them is newer: if the source sends such events, version must read a value that grows with each change".to_owned()
    })
}

/// Returns whether two objects have different values of a member that both have, at any depth.
fn differ(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => one
            .iter()
            .any(|(name, value)| other.get(name).is_some_and(|other| differ(value, other))),
        (one, other) => one != other,
    }
}

/// Returns the customer of the request to Imprint, and the fields of this request.
fn request(event: &EventExplanation) -> Option<(String, Value)> {
    let request = match &event.outcome {
        ExplainedOutcome::Request(request) | ExplainedOutcome::Parked { request, .. } => request,
        ExplainedOutcome::Ignored { .. }
        | ExplainedOutcome::Refused { .. }
        | ExplainedOutcome::Invalid { .. } => return None,
    };
    let preview = &request.request;
    let customer = Value::from(vec![preview.path.clone(), preview.partner_id.clone()]);
    Some((customer.to_string(), preview.body.clone()))
}

fn versions<'a>(evidence: &TypeExamples<'a>) -> impl Iterator<Item = &'a TargetExplanation> {
    evidence.targets().filter(|rule| rule.target == VERSION)
}
