//! The description of the event listener for the developers of senders, as an OpenAPI 3.1 document.
//!
//! The file `openapi.json` has the paths and the schemas. In the place of the answers to refused requests, it has the names
//! of the problems in `x-problems`. This module replaces the names by the answers in the table of refusals, and adds the
//! states of entries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::ResponseError as _;
use actix_web::web::Bytes;
use serde_json::{Map, Value, json};

use super::refusal::{MediaTypeReason, Refusal, TakenMediaTypes};
use crate::http::problem::{self, MEDIA_TYPE};
use crate::intake::{Rejection, RejectionClass};
use crate::outbox::State;

/// The name of the list of problems in the file.
const PROBLEMS: &str = "x-problems";
/// The problems of a request that the HTTP server refuses before it knows the path.
const SERVER_PROBLEMS: [&str; 5] = [
    "malformed_http",
    "tunnel",
    "head_too_large",
    "head_timeout",
    "head_budget",
];

/// The document as JSON. The first request creates it.
pub(super) static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

fn document() -> Value {
    // A unit test parses the file, so the default is never used.
    let mut document: Value =
        serde_json::from_str(include_str!("openapi.json")).unwrap_or_default();
    set(&mut document, "/info/version", env!("CARGO_PKG_VERSION"));
    let states = State::ALL.map(State::as_str);
    set(
        &mut document,
        "/components/schemas/Status/enum",
        states.to_vec(),
    );
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operations in paths.into_iter().flat_map(Map::values_mut) {
        let operations = operations.as_object_mut().into_iter();
        for (method, operation) in operations.flat_map(Map::iter_mut) {
            add_refusals(operation, method != "head");
        }
    }
    document
}

/// Sets a member of an object that exists.
fn set(document: &mut Value, pointer: &str, value: impl Into<Value>) {
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    let parent = document.pointer_mut(parent);
    if let Some(members) = parent.and_then(Value::as_object_mut) {
        members.insert(name.to_owned(), value.into());
    }
}

/// Replaces the names of problems of an operation by the answers, one for each HTTP status.
fn add_refusals(operation: &mut Value, has_body: bool) {
    let Some(operation) = operation.as_object_mut() else {
        return;
    };
    let names = operation.remove(PROBLEMS).unwrap_or_default();
    let is_named = |refusal: &Refusal| {
        let names = names.as_array().into_iter().flatten();
        names.clone().any(|name| name == refusal.word())
    };
    let mut by_status: BTreeMap<u16, Vec<Refusal>> = BTreeMap::new();
    for refusal in refusals().into_iter().filter(is_named) {
        let status = refusal.status_code().as_u16();
        by_status.entry(status).or_default().push(refusal);
    }
    let answers = operation.get_mut("responses");
    if let Some(answers) = answers.and_then(Value::as_object_mut) {
        for (status, refusals) in by_status {
            answers.insert(status.to_string(), answer(&refusals, has_body));
        }
        let refused = "The HTTP server refuses the request before it knows the path.";
        let server = described(refused, &SERVER_PROBLEMS, has_body);
        answers.insert("default".to_owned(), server);
    }
}

/// Describes the answer to a request that is refused in one of these ways.
fn answer(refusals: &[Refusal], has_body: bool) -> Value {
    let titles: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    let words: Vec<&str> = refusals.iter().map(Refusal::word).collect();
    let mut answer = described(&format!("{}.", titles.join(", or ")), &words, has_body);
    if refusals.iter().all(Refusal::is_temporary) {
        let seconds = json!({"type": "integer", "minimum": 1});
        let header = json!({"description": "Seconds until the next attempt.", "required": true, "schema": seconds});
        set(&mut answer, "/headers", json!({"Retry-After": header}));
    }
    answer
}

/// Describes an answer with one of these problems.
fn described(description: &str, words: &[&str], has_body: bool) -> Value {
    let mut answer = json!({"description": description});
    if has_body {
        let types: Vec<String> = words.iter().map(|word| problem::type_of(word)).collect();
        let problem = json!({"$ref": "#/components/schemas/Problem"});
        let schema = json!({"allOf": [problem, {"properties": {"type": {"enum": types}}}]});
        let content = json!({MEDIA_TYPE: {"schema": schema}});
        set(&mut answer, "/content", content);
    }
    answer
}

/// Returns one refusal of each row of the table.
fn refusals() -> Vec<Refusal> {
    let rejected = |class| Refusal::from(Rejection::new(class, Vec::new()));
    let unsupported = Refusal::UnsupportedMediaType {
        reason: MediaTypeReason::ContentType,
        taken: TakenMediaTypes::PlainJson,
    };
    let mut refusals = RejectionClass::ALL.map(rejected).to_vec();
    refusals.extend([
        unsupported,
        Refusal::Unauthenticated { challenge: "" },
        Refusal::UnknownSource,
        Refusal::UnknownEvent,
        Refusal::NotFound,
        Refusal::MethodNotAllowed { allow: "" },
        Refusal::BodyTimeout,
        Refusal::Conflict(Vec::new()),
        Refusal::TooLarge { limit_bytes: 0 },
        Refusal::BodyBudget,
        Refusal::RateQuota {
            retry_after_seconds: 1,
        },
        Refusal::StorageQuota,
        Refusal::Busy,
        Refusal::StoreFull,
        Refusal::StoreFailed,
        Refusal::Stopping,
        Refusal::Internal,
    ]);
    refusals
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::reference;

    /// FAULTS N895: a refusal without a description is a surprise for the developer of a sender.
    #[test]
    fn the_document_describes_every_problem_of_the_listener() {
        let known = reference::PROBLEMS.iter().flat_map(|row| row.texts);
        let known: BTreeSet<&str> = known.copied().collect();
        let rows: BTreeSet<&str> = refusals().iter().map(Refusal::word).collect();
        assert_eq!(&rows | &SERVER_PROBLEMS.into(), known);
        let text = document().to_string();
        assert!(!text.contains(PROBLEMS), "{text}");
        // The document describes only paths and methods that exist.
        for word in &known - &["not_found", "method_not_allowed"].into() {
            assert!(text.contains(&problem::type_of(word)), "{word}");
        }
    }

    #[test]
    fn the_document_names_only_problems_that_exist() {
        let file: Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let mut names = BTreeSet::new();
        for operations in file["paths"].as_object().unwrap().values() {
            for operation in operations.as_object().unwrap().values() {
                let named = operation[PROBLEMS].as_array().into_iter().flatten();
                names.extend(named.map(|name| name.as_str().unwrap()));
            }
        }
        let known = reference::PROBLEMS.iter().flat_map(|row| row.texts);
        let known: BTreeSet<&str> = known.copied().collect();
        assert!(names.is_subset(&known), "{names:?}");
    }

    #[test]
    fn every_answer_has_its_status_its_types_and_its_wait() {
        let document = document();
        let post = &document["paths"]["/v1/sources/{source}/events"]["post"]["responses"];
        let statuses: Vec<&str> = post
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            statuses,
            [
                "200", "202", "400", "401", "404", "408", "409", "413", "415", "422", "429", "500",
                "503", "default"
            ]
        );
        let full = &post["503"];
        assert!(full["headers"]["Retry-After"].is_object(), "{full}");
        assert!(full.to_string().contains("problem:store_full"), "{full}");
        assert!(post["422"].get("headers").is_none(), "{}", post["422"]);
        let states = &document["components"]["schemas"]["Status"]["enum"];
        assert_eq!(states.as_array().unwrap().len(), State::ALL.len());
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
