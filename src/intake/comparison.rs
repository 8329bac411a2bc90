//! Compares two versions of the sources: their sources and event types, and the results that both versions give for the
//! same body or for the same stored event.
//!
//! The comparison finds every member of a request that differs. It never decides which version is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use super::Sources;
use super::explanation::{
    EventExplanation, ExplainedOutcome, ExplainedProblem, Explanation, RequestExplanation,
};
use super::source::Source;
use crate::event::{Visibility, pointer};

/// One difference between the earlier and the later version.
#[derive(Clone, PartialEq)]
pub struct Difference {
    /// The position of the event in its body, if one of the two results has several events.
    pub event: Option<usize>,
    /// What differs: a field such as `customer_history.phone`, another part of a result such as `outcome`, or a source
    /// or an event type.
    pub name: String,
    /// The name without names of members that can be values, such as an e-mail address in the place of an error.
    masked_name: String,
    /// The value in the earlier version, or `None` if the earlier version has none.
    pub before: Option<Value>,
    /// The value in the later version, or `None` if the later version has none.
    pub after: Option<Value>,
    /// Whether the earlier and the later value are personal data: the values of a field, and not the word for a cleared or
    /// a skipped field.
    is_personal: [bool; 2],
}

/// Prints only the masked name, because the values can be personal data.
impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Difference")
            .field("event", &self.event)
            .field("name", &self.masked_name)
            .finish_non_exhaustive()
    }
}

impl Difference {
    /// Returns the difference in the form for output. Only the values of fields, and names that can be values, are masked.
    #[must_use]
    pub fn shown(self, visibility: Visibility) -> Self {
        let shown = |value: Value, is_personal: bool| match is_personal {
            true => visibility.value(&value),
            false => value,
        };
        let [before, after] = self.is_personal;
        let name = match visibility {
            Visibility::Masked => self.masked_name.clone(),
            Visibility::Revealed => self.name.clone(),
        };
        Self {
            name,
            before: self.before.map(|value| shown(value, before)),
            after: self.after.map(|value| shown(value, after)),
            ..self
        }
    }
}

/// The parts of one result, by name. The flag of a part says whether its value is personal data.
type ResultParts = BTreeMap<PartName, (Value, bool)>;

/// The name of a part of a result. Parts with different names can have the same masked name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PartName {
    name: String,
    masked: String,
}

impl PartName {
    /// Returns the name of a member inside this part.
    fn inside(&self, member: &str) -> Self {
        let masked = pointer::without_values(&pointer::inside("", member));
        let masked = masked.trim_start_matches('/');
        match self.name.as_str() {
            "" => Self {
                name: member.to_owned(),
                masked: masked.to_owned(),
            },
            name => Self {
                name: format!("{name}.{member}"),
                masked: format!("{}.{masked}", self.masked),
            },
        }
    }
}

impl From<String> for PartName {
    fn from(name: String) -> Self {
        let masked = name.clone();
        Self { name, masked }
    }
}

impl From<&str> for PartName {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

/// Returns the differences between the sources and the event types of two versions.
pub fn compare_sources(before: &Sources, after: &Sources) -> Vec<Difference> {
    let parts = |sources: &Sources| {
        let mut parts = ResultParts::new();
        for source in sources.by_name.values() {
            let name = format!("source {}", source.name).into();
            parts.insert(name, (json!("exists"), false));
            parts.extend(type_parts(source));
        }
        parts
    };
    differences(None, &parts(before), &parts(after))
}

fn type_parts(source: &Source) -> impl Iterator<Item = (PartName, (Value, bool))> {
    let mapped = source.event_types.keys().map(|name| (name, "mapped"));
    let ignored = source.ignored.iter().map(|name| (name, "ignored"));
    ignored.chain(mapped).map(|(name, handling)| {
        let part = format!("source {}, event type {name}", source.name);
        (part.into(), (json!(handling), false))
    })
}

/// Returns the differences between the explanations that two versions give for one body. The values of both explanations
/// must be unmasked, because different values can have the same masked form.
pub fn compare_bodies(before: &Explanation, after: &Explanation) -> Vec<Difference> {
    let (before, after) = (results(before), results(after));
    let count = before.len().max(after.len());
    let nothing = ResultParts::new();
    let compared = (0..count).flat_map(|index| {
        let [before, after] = [&before, &after].map(|list| list.get(index).unwrap_or(&nothing));
        differences((count > 1).then_some(index), before, after)
    });
    compared.collect()
}

/// Returns the differences between the explanations that two versions give for one stored event. A version without the
/// source of the event gives `None`.
pub fn compare_events(
    before: Option<&EventExplanation>,
    after: Option<&EventExplanation>,
) -> Vec<Difference> {
    let [before, after] = [before, after].map(|event| event.map_or_else(ResultParts::new, parts));
    differences(None, &before, &after)
}

fn results(explanation: &Explanation) -> Vec<ResultParts> {
    match &explanation.outcome {
        Some(outcome) => vec![outcome_parts(outcome)],
        None => explanation.events.iter().map(parts).collect(),
    }
}

fn parts(event: &EventExplanation) -> ResultParts {
    let mut parts = outcome_parts(&event.outcome);
    let names = [("id", &event.id), ("type", &event.event_type)];
    let named = names
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    parts.extend(named.map(|(name, value)| (name.into(), (json!(value), false))));
    parts
}

fn outcome_parts(outcome: &ExplainedOutcome) -> ResultParts {
    let (name, mut parts) = match outcome {
        ExplainedOutcome::Refused { problem } => {
            (format!("refused, {}", problem.class), error_parts(problem))
        }
        ExplainedOutcome::Invalid { problem } => (
            format!("parked, invalid, {}", problem.class),
            error_parts(problem),
        ),
        ExplainedOutcome::Ignored { .. } => ("ignored".to_owned(), ResultParts::new()),
        ExplainedOutcome::Request(request) => ("request".to_owned(), request_parts(request)),
        ExplainedOutcome::Parked { reason, request } => {
            (format!("parked, {reason}"), request_parts(request))
        }
    };
    parts.insert("outcome".into(), (json!(name), false));
    parts
}

fn error_parts(problem: &ExplainedProblem) -> ResultParts {
    let errors = problem.errors.iter().map(|error| {
        let name = |place: &str| format!("error of {} at {place:?}", error.location);
        let name = PartName {
            name: name(&error.pointer),
            masked: name(&pointer::without_values(&error.pointer)),
        };
        (name, (json!(error.rule), false))
    });
    errors.collect()
}

fn request_parts(request: &RequestExplanation) -> ResultParts {
    let mut parts = ResultParts::new();
    flatten(&"".into(), &request.request.body, &mut parts);
    for (fields, word) in [
        (&request.cleared, "(cleared)"),
        (&request.skipped, "(skipped)"),
    ] {
        parts.extend(
            fields
                .iter()
                .map(|field| (field.clone().into(), (json!(word), false))),
        );
    }
    let names = [
        ("path", &request.request.path),
        ("partner_id", &request.request.partner_id),
    ];
    for (name, value) in names {
        parts.extend(
            value
                .iter()
                .map(|value| (name.into(), (json!(value), false))),
        );
    }
    for (name, number) in [
        ("version", json!(request.version.value)),
        ("epoch", json!(request.version.epoch)),
    ] {
        parts.insert(name.into(), (number, false));
    }
    parts
}

/// Adds the values inside an object of a request, each with its path.
fn flatten(path: &PartName, value: &Value, parts: &mut ResultParts) {
    match value {
        Value::Object(members) if path.name.is_empty() || !members.is_empty() => {
            for (name, member) in members {
                flatten(&path.inside(name), member, parts);
            }
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            parts.insert(path.clone(), (value.clone(), true));
        }
    }
}

fn differences(event: Option<usize>, before: &ResultParts, after: &ResultParts) -> Vec<Difference> {
    let names: BTreeSet<&PartName> = before.keys().chain(after.keys()).collect();
    let different = names.into_iter().filter_map(|name| {
        let (before, after) = (before.get(name), after.get(name));
        let is_personal = [before, after].map(|part| part.is_some_and(|(_, flag)| *flag));
        let [before, after] = [before, after].map(|part| part.map(|(value, _)| value.clone()));
        (before != after).then(|| Difference {
            event,
            name: name.name.clone(),
            masked_name: name.masked.clone(),
            before,
            after,
            is_personal,
        })
    });
    different.collect()
}
