//! Examples of a source: an example is a request body with the result that the author expects. The examples of a source
//! are the tests of the source's mapping.
//!
//! The expected result is JSON. For an accepted body, the JSON is one request or a list of requests. The text
//! `"ignored"` stands for an event for which the bridge sends nothing. For a rejected body, the JSON has the problem
//! type and the errors. The test compares only members that the expected JSON has, but always compares `path`, `cleared`
//! and `skipped`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::explanation::{
    EventExplanation, ExplainedOutcome, ExplainedProblem, Explanation, RequestExplanation,
    TargetResult,
};
use crate::imprint::Field;
use crate::spelling;

/// The word in an expected result for an event for which the bridge sends nothing.
const IGNORED: &str = "ignored";
/// The word in an expected result for an event that the bridge parks because it is invalid.
const INVALID: &str = "invalid";
/// The test compares these members of a request even if the expected result does not have them.
const ALWAYS_COMPARED: [&str; 3] = ["path", "cleared", "skipped"];

/// The members that an expected request can have.
const MEMBERS: [&str; 8] = [
    "method",
    "path",
    "partner_id",
    "body",
    "cleared",
    "skipped",
    "version",
    "parked",
];

/// The group of the fields whose names the author of a mapping chooses.
const METADATA: &str = "metadata";

/// The result that the author of an example expects.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// One expected request, or a list with one expected request for each event.
    Requests(Value),
    Rejection(Value),
}

impl Expectation {
    /// Returns the result of the explained body as an expectation.
    pub fn of(explanation: &Explanation) -> Self {
        if let Some(first) = explanation.problems().next() {
            let errors = explanation.problems().flat_map(short_errors);
            let errors: Vec<Value> = errors.collect();
            return Self::Rejection(json!({"type": first.class, "faults": errors}));
        }
        let mut requests: Vec<Value> = explanation.events.iter().map(expected).collect();
        match requests.pop() {
            Some(only) if requests.is_empty() => Self::Requests(only),
            last => {
                requests.extend(last);
                Self::Requests(Value::Array(requests))
            }
        }
    }

    /// Returns the end of the name of the file that has the expectation.
    pub const fn file_ending(&self) -> &'static str {
        match self {
            Self::Requests(_) => ".request.json",
            Self::Rejection(_) => ".refusal.json",
        }
    }

    /// Returns the expectation as the JSON content of its file.
    pub const fn as_json(&self) -> &Value {
        match self {
            Self::Requests(json) | Self::Rejection(json) => json,
        }
    }

    /// Lists every difference between the expectation and the result of the explained body, as sentences.
    pub fn differences(&self, explanation: &Explanation) -> Vec<String> {
        match self {
            Self::Requests(expected) => compare_requests(expected, explanation),
            Self::Rejection(expected) => compare_rejection(expected, explanation),
        }
    }
}

fn short_errors(problem: &ExplainedProblem) -> Vec<Value> {
    let error =
        |error: &crate::event::EventError| json!({"pointer": error.pointer, "rule": error.rule});
    problem.errors.iter().map(error).collect()
}

/// Describes the results of all events of an example body in one line.
pub fn summary(explanation: &Explanation) -> String {
    let problems = explanation
        .problems()
        .map(|problem| to_json(problem).to_string());
    let problems: Vec<String> = problems.collect();
    if problems.is_empty() {
        Expectation::of(explanation).as_json().to_string()
    } else {
        format!("refused, {}", problems.join(", "))
    }
}

fn outcome_summary(outcome: &ExplainedOutcome) -> String {
    match outcome {
        ExplainedOutcome::Refused { problem } => format!("refused, {}", to_json(problem)),
        ExplainedOutcome::Invalid { problem } => {
            format!("parked ({INVALID}), {}", to_json(problem))
        }
        ExplainedOutcome::Ignored { reason } => format!("{IGNORED} ({reason})"),
        ExplainedOutcome::Request(request) => Value::from(expected_members(request)).to_string(),
        ExplainedOutcome::Parked { reason, .. } => format!("parked ({reason})"),
    }
}

/// Returns the result of one event as JSON in the format of the files that contain the expected results.
fn expected(event: &EventExplanation) -> Value {
    let (request, parked) = match &event.outcome {
        ExplainedOutcome::Request(request) => (request, None),
        ExplainedOutcome::Parked { reason, request } => (request, Some(reason)),
        ExplainedOutcome::Ignored { .. } | ExplainedOutcome::Refused { .. } => {
            return Value::from(IGNORED);
        }
        ExplainedOutcome::Invalid { problem } => {
            return json!({"parked": INVALID, "faults": short_errors(problem)});
        }
    };
    let mut members = expected_members(request);
    members.extend(parked.map(|reason| ("parked".to_owned(), json!(reason))));
    Value::Object(members)
}

/// Returns the members of an expected request: those of the request, and the lists of cleared and of skipped fields.
fn expected_members(request: &RequestExplanation) -> Map<String, Value> {
    let mut members = request_members(request);
    if !request.cleared.is_empty() {
        members.insert("cleared".to_owned(), json!(request.cleared));
    }
    if !request.skipped.is_empty() {
        members.insert("skipped".to_owned(), json!(request.skipped));
    }
    members
}

fn request_members(request: &RequestExplanation) -> Map<String, Value> {
    match to_json(&request.request) {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// Converts a value to JSON. The conversion cannot fail, because a struct without maps always has a JSON form.
fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn compare_requests(expected: &Value, explanation: &Explanation) -> Vec<String> {
    let single = std::slice::from_ref(expected);
    let expected = expected.as_array().map_or(single, Vec::as_slice);
    let events = &explanation.events;
    if expected.len() != events.len() {
        return vec![format!(
            "expected {} events, found {}: {}",
            expected.len(),
            events.len(),
            summary(explanation)
        )];
    }
    let several = expected.len() > 1;
    let pairs = expected.iter().zip(events).enumerate();
    let differences = pairs.flat_map(|(index, (expected, event))| {
        let prefix = if several {
            format!("event {index} ")
        } else {
            String::new()
        };
        let differences = compare_request(expected, &event.outcome).into_iter();
        let skipped = skip_reasons(event);
        differences.map(move |difference| {
            let reason = match difference.starts_with("/skipped: ") {
                true => skipped.as_str(),
                false => "",
            };
            format!("{prefix}{difference}{reason}")
        })
    });
    differences.collect()
}

/// Returns the end of the difference about skipped fields: the place, the rule and the error of each skipped value.
fn skip_reasons(event: &EventExplanation) -> String {
    let targets = event.targets.iter().flatten();
    let reasons = targets.filter_map(|target| match &target.result {
        TargetResult::Skipped { error } => Some(format!(
            "; {} is skipped: {} at {:?}: {}",
            target.target,
            error.rule,
            error.pointer,
            error.detail.trim_end_matches('.')
        )),
        TargetResult::Absent
        | TargetResult::Cleared
        | TargetResult::Value { .. }
        | TargetResult::Refused { .. } => None,
    });
    reasons.collect()
}

fn compare_request(expected: &Value, outcome: &ExplainedOutcome) -> Vec<String> {
    let wanted = match (expected.as_str(), expected.get("parked")) {
        (Some(word), _) => word,
        (None, Some(_)) => "parked",
        (None, None) => "request",
    };
    if let Some(word) = expected.as_str().filter(|word| *word != IGNORED) {
        return vec![format!(
            "the text {word:?} is no result of an example: the only text is {IGNORED:?}, for an event for which the bridge sends nothing; every other result is an object"
        )];
    }
    let (request, parked) = match (outcome, wanted) {
        (ExplainedOutcome::Ignored { .. }, IGNORED) => return Vec::new(),
        (ExplainedOutcome::Request(request), "request") => (request, None),
        (ExplainedOutcome::Parked { reason, request }, "parked") => (request, Some(reason)),
        (ExplainedOutcome::Invalid { problem }, "parked")
            if expected.get("parked").is_some_and(|word| word == INVALID) =>
        {
            return compare_errors(expected, problem.errors.iter().map(to_json));
        }
        (_, _) => {
            let reason = expected.get("parked").and_then(Value::as_str);
            let reason = reason.map(|reason| format!(" ({reason})"));
            return vec![format!(
                "expected {wanted}{}, found {}",
                reason.unwrap_or_default(),
                outcome_summary(outcome)
            )];
        }
    };
    let mut found = request_members(request);
    found.insert("cleared".to_owned(), json!(request.cleared));
    found.insert("skipped".to_owned(), json!(request.skipped));
    found.insert("version".to_owned(), json!(request.version.value));
    found.extend(parked.map(|reason| ("parked".to_owned(), json!(reason))));
    let unknown = expected.as_object().into_iter().flatten();
    let unknown = unknown.filter(|(name, _)| !MEMBERS.contains(&name.as_str()));
    let mut differences: Vec<String> = unknown.map(|(name, _)| not_a_member(name)).collect();
    found
        .retain(|name, _| expected.get(name).is_some() || ALWAYS_COMPARED.contains(&name.as_str()));
    let mut expected = expected.clone();
    if let Some(members) = expected.as_object_mut() {
        members.retain(|name, _| MEMBERS.contains(&name.as_str()));
        for list in ["cleared", "skipped"] {
            members.entry(list).or_insert_with(|| json!([]));
        }
    }
    differ(&expected, &Value::Object(found), "", &mut differences);
    differences
}

/// Describes a member that no result has. A field of Imprint is a member of `body`.
fn not_a_member(name: &str) -> String {
    let outer = name.split('.').next().unwrap_or(name);
    let is_field = Field::parse(name).is_some() || Field::is_object(outer) || name == METADATA;
    let remedy = if is_field {
        format!("; a field of Imprint is inside body: {{\"body\": {{\"{name}\": …}}}}")
    } else {
        spelling::suggestion(name, MEMBERS)
    };
    format!(
        "/{name}: is not a member of an expected result, which can have {}{remedy}",
        MEMBERS.join(", ")
    )
}

fn compare_rejection(expected: &Value, explanation: &Explanation) -> Vec<String> {
    let problems: Vec<&ExplainedProblem> = explanation.problems().collect();
    let Some(first) = problems.first() else {
        return vec![format!(
            "expected a refusal, found {}",
            summary(explanation)
        )];
    };
    let mut differences = Vec::new();
    let class = expected.get("type").and_then(Value::as_str);
    if class != Some(first.class.as_str()) {
        let (wanted, found) = (class.unwrap_or("-"), &first.class);
        differences.push(format!("expected the problem {wanted}, found {found}"));
    }
    let errors = problems.iter().flat_map(|problem| &problem.errors);
    differences.extend(compare_errors(expected, errors.map(to_json)));
    differences
}

/// Compares the errors of an event or of a body with the member `faults` of an expected result.
fn compare_errors(expected: &Value, found: impl Iterator<Item = Value>) -> Vec<String> {
    let found: Vec<Value> = found.collect();
    let mut differences = Vec::new();
    let wanted = expected.get("faults").and_then(Value::as_array);
    let wanted = wanted.map_or(&[][..], Vec::as_slice);
    for wanted in wanted {
        if !found.iter().any(|found| agrees(wanted, found)) {
            differences.push(format!("expected the error {wanted}"));
        }
    }
    for found in &found {
        if !wanted.iter().any(|wanted| agrees(wanted, found)) {
            differences.push(format!("unexpected error {found}"));
        }
    }
    differences
}

/// Returns whether the found error has every member of the expected error, with the same value.
fn agrees(wanted: &Value, found: &Value) -> bool {
    let mut members = wanted.as_object().into_iter().flatten();
    members.all(|(name, value)| found.get(name).unwrap_or(&Value::Null) == value)
}

/// Adds one sentence for every path at which the found JSON differs from the expected JSON.
fn differ(expected: &Value, found: &Value, place: &str, differences: &mut Vec<String>) {
    let (Value::Object(wanted), Value::Object(is)) = (expected, found) else {
        if expected != found {
            differences.push(format!("{place}: expected {expected}, found {found}"));
        }
        return;
    };
    let names: BTreeSet<&String> = wanted.keys().chain(is.keys()).collect();
    for name in names {
        let place = format!("{place}/{name}");
        match (wanted.get(name), is.get(name)) {
            (Some(wanted), Some(is)) => differ(wanted, is, &place, differences),
            (Some(wanted), None) => {
                differences.push(format!("{place}: expected {wanted}, found nothing"));
            }
            (None, is) => {
                let is = is.unwrap_or(&Value::Null);
                differences.push(format!("{place}: unexpected {is}"));
            }
        }
    }
}
