//! The reasons why the bridge refuses an example, and why the file with its expected result cannot be read.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::event::{EventError, json, pointer};
use crate::http::header_line::header_of_place;
use crate::intake::schema::missing_property;
use crate::intake::{Explanation, Source};

/// The keyword of a schema that allows no further members.
const NO_FURTHER_MEMBERS: &str = "\"rule\":\"additionalProperties\"";

/// Parses the file with the expected result of an example.
///
/// # Errors
/// Returns the mistake in the JSON.
pub(super) fn parse_result(content: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(content).map_err(|error| {
        if content.trim_ascii().eq_ignore_ascii_case(b"ignored") {
            return "write \"ignored\" in double quotes".to_owned();
        }
        let cause = json::parse_file(content).err();
        let cause = cause.map(|cause| cause.to_string().replace("body", "file"));
        format!(
            "is not JSON: {}",
            cause.unwrap_or_else(|| error.to_string())
        )
    })
}

/// Returns the names of the members of the body that the schemas of its events do not allow.
pub(super) fn unexpected(
    source: &Source,
    explanation: &Explanation,
    body: &[u8],
) -> BTreeSet<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let names = explanation.events.iter().map(|event| &event.event_type);
    let types = names.flatten().filter_map(|name| source.mapped(name));
    let types: Vec<_> = types.map(|(_, kind)| kind).collect();
    let errors = explanation.problems().flat_map(|problem| &problem.errors);
    let names = errors.flat_map(|error| {
        let names = types
            .iter()
            .map(|kind| kind.schema.unexpected(error, &body));
        names.flatten().map(str::to_owned).collect::<Vec<_>>()
    });
    names.collect()
}

/// Adds the names of the members that a schema does not allow to the differences about them. The file of the example contains
/// the names too.
pub(super) fn with_names(differences: Vec<String>, names: &BTreeSet<String>) -> Vec<String> {
    if names.is_empty() {
        return differences;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let end = format!("; the schema does not allow {}", names.join(", "));
    let named = differences.into_iter().map(|difference| {
        if difference.contains(NO_FURTHER_MEMBERS) {
            difference + &end
        } else {
            difference
        }
    });
    named.collect()
}

/// Describes why the bridge refuses the body of an example. The text contains names of members, because the file of the
/// example contains them too.
pub(super) fn reasons(source: &Source, explanation: &Explanation, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let names = explanation.events.iter().map(|event| &event.event_type);
    let schemas = names.flatten().filter_map(|name| source.mapped(name));
    let schemas: Vec<_> = schemas.map(|(_, kind)| &kind.schema).collect();
    let errors = explanation.problems().flat_map(|problem| &problem.errors);
    let described = errors.map(|error| {
        let unexpected = schemas
            .iter()
            .map(|schema| schema.unexpected(error, &body))
            .find(|names| !names.is_empty());
        match unexpected {
            Some(names) => format!("{} ({})", refused(error), names.join(", ")),
            None => refused(error),
        }
    });
    let remedy = remedy(source, explanation, &body);
    described
        .chain(remedy.map(|remedy| format!("; {remedy}")))
        .collect()
}

/// Returns a remedy for an error that does not show its cause: an expression reads a header as a member of the body, or the body
/// is a page with a list of events.
pub(super) fn remedy(source: &Source, explanation: &Explanation, body: &Value) -> Option<String> {
    let mut errors = explanation.problems().flat_map(|problem| &problem.errors);
    errors.find_map(|error| {
        let lacks_member = error.rule == "required" && error.pointer.is_empty();
        if lacks_member || error.rule == "body" {
            let of_header = header_of_place(&error.pointer, body);
            of_header.or_else(|| page(source, explanation, (error, body)))
        } else {
            None
        }
    })
}

/// Returns the setting that splits a body, if the body has one list of objects beside values without members, and the first of
/// them has the member that the body lacks.
fn page(
    source: &Source,
    explanation: &Explanation,
    (error, body): (&EventError, &Value),
) -> Option<String> {
    let envelope = source.json_envelope.as_ref();
    envelope.filter(|envelope| !envelope.splits())?;
    let members = body.as_object()?;
    let is_list = |value: &Value| {
        let items = value.as_array();
        items.is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
    };
    let mut lists = members.iter().filter(|(_, value)| is_list(value));
    let (name, list) = lists.next().filter(|_| lists.next().is_none())?;
    let item = list.get(0)?;
    let is_in_item = match missing_property(error) {
        Some(missing) => item.get(missing).is_some() && !reads_body(explanation, body),
        None => item.pointer(&error.pointer).is_some(),
    };
    let is_word = pointer::is_name(name)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.contains(['-', '$']);
    let has_objects = members.values().any(Value::is_object);
    (is_in_item && is_word && !has_objects).then(|| {
        format!("the body has a list in /{name}: `split = \".{name}[]\"` in [body] makes an event of each item")
    })
}

/// Returns whether an expression in the table `[body]` reads a member that a body has.
fn reads_body(explanation: &Explanation, body: &Value) -> bool {
    let targets = explanation.events.iter();
    let targets = targets.flat_map(|event| event.targets.iter().flatten());
    let of_body = targets.filter(|target| target.target.starts_with("body."));
    let mut reads = of_body.flat_map(|target| &target.reads);
    reads.any(|read| !read.is_empty() && body.pointer(read).is_some())
}

fn refused(error: &EventError) -> String {
    let place = match error.pointer.as_str() {
        "" => "the body",
        pointer => pointer,
    };
    let detail = error.detail.trim_end_matches('.');
    format!("; the bridge refuses {place}: {detail}")
}
