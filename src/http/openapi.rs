//! OpenAPI 3.1 documents of the listeners.
//!
//! A document is a file that has the paths and the schemas. In the place of the answers to refused requests, it has the names
//! of the problems in `x-problems`. [`describe_problems`] replaces the names by the answers of the table of problems, so that
//! a document cannot disagree with the code.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::problem::{self, MEDIA_TYPE};

/// The name of the list of problems in the file.
pub const PROBLEMS: &str = "x-problems";
/// The problems of a request that the HTTP server refuses before it knows the path.
pub const SERVER_PROBLEMS: [&str; 5] = [
    "malformed_http",
    "tunnel",
    "head_too_large",
    "head_timeout",
    "head_budget",
];

/// A row of the table of a listener's problems.
#[derive(Clone, Debug)]
pub struct ProblemRow {
    /// The last word of the problem type.
    pub word: &'static str,
    pub status: u16,
    pub title: String,
    /// Whether the answer has the header `Retry-After`.
    pub has_retry_after: bool,
}

/// Reads a document from the text of its file, and adds the version of the bridge and the states of entries.
pub fn read(file: &str, states: &[&str]) -> Value {
    // A unit test parses each file, so the default is never used.
    let mut document: Value = serde_json::from_str(file).unwrap_or_default();
    set(&mut document, "/info/version", env!("CARGO_PKG_VERSION"));
    set(&mut document, "/components/schemas/Status/enum", states);
    document
}

/// Replaces the names of problems of each operation by the answers, one for each HTTP status.
pub fn describe_problems(document: &mut Value, table: &[ProblemRow]) {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operations in paths.into_iter().flat_map(Map::values_mut) {
        let operations = operations.as_object_mut().into_iter();
        for (method, operation) in operations.flat_map(Map::iter_mut) {
            describe_operation(operation, table, method != "head");
        }
    }
}

/// Sets a member of an object that exists.
fn set(document: &mut Value, pointer: &str, value: impl Into<Value>) {
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    let parent = document.pointer_mut(parent);
    if let Some(members) = parent.and_then(Value::as_object_mut) {
        members.insert(name.to_owned(), value.into());
    }
}

fn describe_operation(operation: &mut Value, table: &[ProblemRow], has_body: bool) {
    let Some(operation) = operation.as_object_mut() else {
        return;
    };
    let names = operation.remove(PROBLEMS).unwrap_or_default();
    let is_named = |row: &&ProblemRow| {
        let mut names = names.as_array().into_iter().flatten();
        names.any(|name| name == row.word)
    };
    let mut by_status: BTreeMap<u16, Vec<&ProblemRow>> = BTreeMap::new();
    for row in table.iter().filter(is_named) {
        by_status.entry(row.status).or_default().push(row);
    }
    let answers = operation.get_mut("responses");
    if let Some(answers) = answers.and_then(Value::as_object_mut) {
        for (status, rows) in by_status {
            answers.insert(status.to_string(), answer(&rows, has_body));
        }
        let refused = "The HTTP server refuses the request before it knows the path.";
        let server = described(refused, &SERVER_PROBLEMS, has_body);
        answers.insert("default".to_owned(), server);
    }
}

/// Describes the answer to a request that is refused with one of these problems.
fn answer(rows: &[&ProblemRow], has_body: bool) -> Value {
    let mut titles: Vec<&str> = rows.iter().map(|row| row.title.as_str()).collect();
    titles.dedup();
    let mut words: Vec<&str> = rows.iter().map(|row| row.word).collect();
    words.dedup();
    let mut answer = described(&format!("{}.", titles.join(", or ")), &words, has_body);
    if rows.iter().all(|row| row.has_retry_after) {
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
