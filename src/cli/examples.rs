//! Examples: pairs of a body and what it comes to, in a folder beside the source's file. They are its tests.
//!
//! `NAME.event.json` is a body as it would be posted. Beside it stands either `NAME.request.json` with the request that
//! it comes to (a list of them where the body has several events; `"ignored"` stands for an event of which nothing is
//! sent), or `NAME.refusal.json` with the type of the problem and its faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::operator::table::{at, list, text};
use crate::event::SourceName;
use crate::ingress::{self, Source, Terms};

const EVENT: &str = ".event.json";
const REQUEST: &str = ".request.json";
const REFUSAL: &str = ".refusal.json";
/// The longest file that is read: no body may be longer.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the examples of a source show.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// How many there are.
    pub(super) count: usize,
    /// What is not as it stands in them.
    pub(super) faults: Vec<String>,
    /// By event type: the fields that stand in some request, and the places that were read.
    pub(super) types: BTreeMap<String, Covered>,
    /// By event type: the events, as schema and mapping read them.
    pub(super) events: BTreeMap<String, Vec<Value>>,
}

/// What the examples of one event type cover.
#[derive(Debug, Default)]
pub(super) struct Covered {
    pub(super) produced: BTreeSet<String>,
    pub(super) reads: BTreeSet<String>,
}

/// Runs the examples in `folder`.
pub(super) fn run(folder: &Path, name: &SourceName, source: &Source, terms: Terms) -> Shown {
    let mut shown = Shown::default();
    let stems = match stems(folder) {
        Ok(stems) => stems,
        Err(reason) => {
            shown.faults.push(reason);
            return shown;
        }
    };
    for stem in stems {
        let differences = one(&mut shown, &folder.join(&stem), (name, source), terms);
        let place = folder.join(&stem);
        let faults = match differences {
            Ok(differences) => differences,
            Err(reason) => vec![reason],
        };
        shown.faults.extend(
            faults
                .into_iter()
                .map(|fault| format!("{}: {fault}", place.display())),
        );
    }
    shown
}

fn one(
    shown: &mut Shown,
    place: &Path,
    (name, source): (&SourceName, &Source),
    terms: Terms,
) -> Result<Vec<String>, String> {
    let body = read(&beside(place, EVENT))?;
    let told = ingress::explain(name, source, terms, &body);
    shown.count += 1;
    shown.cover(&told);
    for (event_type, view) in ingress::views(name, source, terms.events_max, &body) {
        shown.events.entry(event_type).or_default().push(view);
    }
    let (request, refusal) = (beside(place, REQUEST), beside(place, REFUSAL));
    match (request.exists(), refusal.exists()) {
        (true, false) => Ok(against_requests(&parsed(&request)?, &told)),
        (false, true) => Ok(against_refusal(&parsed(&refusal)?, &told)),
        (true, true) => Err(format!("has both {REQUEST} and {REFUSAL}")),
        (false, false) => Err(format!(
            "has neither {REQUEST} nor {REFUSAL}; what it comes to today is {}",
            briefly(&told)
        )),
    }
}

impl Shown {
    fn cover(&mut self, told: &Value) {
        for event in list(told, "events") {
            let covered = self.types.entry(text(at(event, "type"))).or_default();
            let reads = list(event, "fields").flat_map(|field| list(field, "reads"));
            covered.reads.extend(reads.map(text));
            let says =
                |field: &&Value| matches!(at(field, "says").as_str(), Some("value" | "cleared"));
            let produced = list(event, "fields").filter(says);
            covered
                .produced
                .extend(produced.map(|field| text(at(field, "target"))));
        }
    }
}

/// What would stand beside a body, as it comes out today: requests, or a refusal.
pub(super) fn expectation(told: &Value) -> Value {
    let parts: Vec<&Value> = list(told, "events").collect();
    let mut refused = parts.iter().copied().chain([told]);
    if let Some(refused) = refused.find(|part| *at(part, "outcome") == "refused") {
        let problem = at(refused, "problem");
        let fault =
            |fault: &Value| json!({"pointer": at(fault, "pointer"), "rule": at(fault, "rule")});
        let faults: Vec<Value> = list(problem, "faults").map(fault).collect();
        return json!({"type": at(problem, "type"), "faults": faults});
    }
    let mut requests: Vec<Value> = parts.into_iter().map(expected_request).collect();
    match requests.pop() {
        Some(only) if requests.is_empty() => only,
        last => {
            requests.extend(last);
            Value::Array(requests)
        }
    }
}

fn expected_request(event: &Value) -> Value {
    let mut request = at(event, "request").clone();
    let Some(object) = request.as_object_mut() else {
        return at(event, "outcome").clone();
    };
    let cleared = at(event, "cleared");
    if cleared
        .as_array()
        .is_some_and(|cleared| !cleared.is_empty())
    {
        object.insert("cleared".to_owned(), cleared.clone());
    }
    object.extend(
        event
            .get("parked")
            .map(|reason| ("parked".to_owned(), reason.clone())),
    );
    request
}

/// The names of the examples, in their order.
fn stems(folder: &Path) -> Result<Vec<String>, String> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unreadable = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut stems = BTreeSet::new();
    let mut expected = Vec::new();
    for file in fs::read_dir(folder).map_err(unreadable)? {
        let file = file.map_err(unreadable)?.file_name();
        let file = file.to_string_lossy();
        if let Some(stem) = file.strip_suffix(EVENT) {
            stems.insert(stem.to_owned());
        }
        let stem = file
            .strip_suffix(REQUEST)
            .or_else(|| file.strip_suffix(REFUSAL));
        expected.extend(stem.map(str::to_owned));
    }
    match expected.iter().find(|stem| !stems.contains(*stem)) {
        Some(stem) => Err(format!("{}: {stem} has no {EVENT}", folder.display())),
        None => Ok(stems.into_iter().collect()),
    }
}

fn beside(place: &Path, ending: &str) -> PathBuf {
    let mut path = place.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(format!(
            "{} is longer than {FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    fs::read(path).map_err(unreadable)
}

fn parsed(path: &Path) -> Result<Value, String> {
    serde_json::from_slice(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))
}

/// Holds what should be sent against what would be.
fn against_requests(expected: &Value, told: &Value) -> Vec<String> {
    let single = std::slice::from_ref(expected);
    let expected = expected.as_array().map_or(single, Vec::as_slice);
    let events: Vec<&Value> = list(told, "events").collect();
    if expected.len() != events.len() {
        let (wanted, found) = (expected.len(), events.len());
        return vec![format!(
            "expected {wanted} events, and there are {found}: {}",
            briefly(told)
        )];
    }
    let several = expected.len() > 1;
    let pairs = expected.iter().zip(events).enumerate();
    let differences = pairs.flat_map(|(number, (expected, event))| {
        let place = if several {
            format!("event {number} ")
        } else {
            String::new()
        };
        against_request(expected, event)
            .into_iter()
            .map(move |difference| format!("{place}{difference}"))
    });
    differences.collect()
}

fn against_request(expected: &Value, event: &Value) -> Vec<String> {
    let wanted = match (expected.as_str(), expected.get("parked")) {
        (Some(word), _) => word,
        (None, Some(_)) => "parked",
        (None, None) => "request",
    };
    if *at(event, "outcome") != wanted {
        return vec![format!(
            "expected {wanted}, and it comes to {}",
            briefly(event)
        )];
    }
    if wanted == "ignored" {
        return Vec::new();
    }
    let mut found = at(event, "request").clone();
    if let Some(object) = found.as_object_mut() {
        object.insert("cleared".to_owned(), at(event, "cleared").clone());
        object.insert(
            "version".to_owned(),
            at(at(event, "version"), "value").clone(),
        );
        object.extend(
            event
                .get("parked")
                .map(|reason| ("parked".to_owned(), reason.clone())),
        );
        // What an example does not speak of is not held against it, but whom the request is about is.
        object.retain(|key, _| {
            expected.get(key).is_some() || matches!(key.as_str(), "path" | "cleared")
        });
    }
    let mut expected = expected.clone();
    if let Some(object) = expected.as_object_mut() {
        object.entry("cleared").or_insert_with(|| json!([]));
    }
    let mut differences = Vec::new();
    differ(&expected, &found, "", &mut differences);
    differences
}

fn against_refusal(expected: &Value, told: &Value) -> Vec<String> {
    let parts = list(told, "events").chain([told]);
    let refused = parts.filter(|part| *at(part, "outcome") == "refused");
    let problems: Vec<&Value> = refused.map(|part| at(part, "problem")).collect();
    let Some(first) = problems.first() else {
        return vec![format!(
            "expected a refusal, and it comes to {}",
            briefly(told)
        )];
    };
    let mut differences = Vec::new();
    if at(expected, "type") != at(first, "type") {
        let (wanted, found) = (text(at(expected, "type")), text(at(first, "type")));
        differences.push(format!("expected a problem {wanted}, and it is {found}"));
    }
    let faults: Vec<&Value> = problems
        .iter()
        .flat_map(|problem| list(problem, "faults"))
        .collect();
    let wanted: Vec<&Value> = list(expected, "faults").collect();
    let is = |wanted: &Value, found: &Value| {
        let members = wanted.as_object().into_iter().flatten();
        members
            .into_iter()
            .all(|(key, value)| at(found, key) == value)
    };
    for wanted in &wanted {
        if !faults.iter().any(|found| is(wanted, found)) {
            differences.push(format!("expected the fault {wanted}"));
        }
    }
    for found in &faults {
        if !wanted.iter().any(|wanted| is(wanted, found)) {
            differences.push(format!("did not expect the fault {found}"));
        }
    }
    differences
}

/// Notes every place at which two values differ.
fn differ(expected: &Value, found: &Value, place: &str, differences: &mut Vec<String>) {
    let (Value::Object(wanted), Value::Object(is)) = (expected, found) else {
        if expected != found {
            differences.push(format!("{place}: expected {expected}, and it is {found}"));
        }
        return;
    };
    let keys: BTreeSet<&String> = wanted.keys().chain(is.keys()).collect();
    for key in keys {
        let place = format!("{place}/{key}");
        match (wanted.get(key), is.get(key)) {
            (Some(wanted), Some(is)) => differ(wanted, is, &place, differences),
            (Some(wanted), None) => {
                differences.push(format!("{place}: expected {wanted}, and it is not there"));
            }
            (None, is) => {
                let is = is.unwrap_or(&Value::Null);
                differences.push(format!("{place}: did not expect {is}"));
            }
        }
    }
}

/// What an event or a body comes to, in a line.
fn briefly(told: &Value) -> String {
    let part = match (at(told, "outcome"), list(told, "events").next()) {
        (Value::Null, Some(first)) => first,
        (_, _) => told,
    };
    match at(part, "outcome").as_str() {
        Some("request") => at(part, "request").to_string(),
        Some("refused") => format!("refused, {}", at(part, "problem")),
        Some("parked") => format!("parked, {}", text(at(part, "parked"))),
        Some(other) => other.to_owned(),
        None => "no event".to_owned(),
    }
}
