//! Finds the parts of a schema that check nothing: members that are no keywords, and documents without a keyword. JSON Schema
//! ignores an unknown member.

use serde_json::Value;

use super::keywords::{TYPES, WITH_NAMED_SCHEMAS, WITH_SCHEMAS, is_keyword};
use crate::event::pointer;

/// The members that other tools add to a schema, and that have objects.
const OF_TOOLS: [&str; 5] = [
    "discriminator",
    "errorMessage",
    "externalDocs",
    "links",
    "xml",
];
/// The keywords that check no value.
const WITHOUT_CHECK: [&str; 18] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$id",
    "$recursiveAnchor",
    "$schema",
    "$vocabulary",
    "default",
    "definitions",
    "deprecated",
    "description",
    "example",
    "examples",
    "id",
    "readOnly",
    "title",
    "writeOnly",
];
/// Names that authors write for the keyword `properties`.
const GROUPS: [&str; 6] = [
    "attributes",
    "columns",
    "fields",
    "members",
    "property",
    "props",
];

/// Adds the places of the members of an object schema that are probably properties: each is no keyword, and is a schema itself.
/// JSON Schema ignores them, so the schema checks nothing in them.
pub(super) fn add_stray_properties(schema: &Value, place: &str, found: &mut Vec<String>) {
    if let Value::Array(schemas) = schema {
        for (index, inner) in schemas.iter().enumerate() {
            add_stray_properties(inner, &format!("{place}/{index}"), found);
        }
    }
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let place = pointer::inside(place, keyword);
        if WITH_SCHEMAS.contains(&keyword.as_str()) {
            add_stray_properties(value, &place, found);
        } else if WITH_NAMED_SCHEMAS.contains(&keyword.as_str()) {
            for (name, inner) in value.as_object().into_iter().flatten() {
                add_stray_properties(inner, &pointer::inside(&place, name), found);
            }
        } else if is_stray(schema, keyword, value) {
            found.push(place);
        }
    }
}

/// Returns whether a document has no keyword that checks a value, so that the schema accepts every event.
pub(super) fn checks_nothing(document: &Value) -> bool {
    let checks = |name: &String| is_keyword(name) && !WITHOUT_CHECK.contains(&name.as_str());
    match document {
        Value::Object(members) => !members.keys().any(checks),
        Value::Bool(accepts) => *accepts,
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

/// Returns whether a member of a schema is probably a property of the objects that the schema describes.
fn is_stray(schema: &Value, keyword: &str, value: &Value) -> bool {
    if GROUPS.contains(&keyword) && is_group(value) {
        return true;
    }
    let is_of_object = schema.get("type").and_then(Value::as_str) == Some("object");
    let names_type = |types: &Value| match types {
        Value::String(name) => TYPES.contains(&name.as_str()),
        Value::Array(names) => names
            .iter()
            .all(|name| name.as_str().is_some_and(|name| TYPES.contains(&name))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    let is_schema = match value {
        Value::Object(members) => {
            members.get("type").is_some_and(names_type)
                || ["$ref", "properties", "anyOf", "oneOf", "enum"]
                    .iter()
                    .any(|keyword| members.contains_key(*keyword))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            false
        }
    };
    let is_known = is_keyword(keyword) || OF_TOOLS.contains(&keyword);
    is_of_object && is_schema && !is_known && !keyword.starts_with("x-")
}

/// Returns whether a value has schemas by name, as `properties` has.
fn is_group(value: &Value) -> bool {
    let members = value.as_object().filter(|members| !members.is_empty());
    let is_schema = |inner: &Value| inner.get("type").is_some() || inner.get("$ref").is_some();
    members.is_some_and(|members| members.values().all(is_schema))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N1374: the level `properties` is missing.
    #[test]
    fn a_property_in_the_place_of_a_keyword_is_found() {
        for (schema, expected) in [
            (
                json!({"type": "object", "email": {"type": ["null", "string"]}, "vip": true}),
                &["/email"][..],
            ),
            (
                json!({"type": "object", "properties": {"data": {"type": "object", "city": {"$ref": "#/$defs/x"}}}}),
                &["/properties/data/city"],
            ),
            (
                json!({"type": "object", "properties": {"city": {"type": "string"}}, "owner": {"name": "crm"}, "old": true}),
                &[],
            ),
            (
                json!({"type": "object", "default": {"type": "object"}, "x-of": {"type": "object"}}),
                &[],
            ),
            (
                json!({"type": "object", "errorMessage": {"type": "Not an object", "properties": {}}}),
                &[],
            ),
            (json!({"email": {"type": "string"}}), &[]),
            // FAULTS N1408
            (
                json!({"type": "object", "property": {"city": {"type": "string"}}}),
                &["/property"],
            ),
            (
                json!({"type": "object", "default": {"fields": {"a": {"type": "x"}}}}),
                &[],
            ),
            (json!({"properties": {"email": {"type": "string"}}}), &[]),
        ] {
            let mut found = Vec::new();
            add_stray_properties(&schema, "", &mut found);
            assert_eq!(found, expected, "{schema}");
        }
    }

    /// FAULTS N1408: a document without a keyword that checks a value.
    #[test]
    fn a_document_without_a_keyword_checks_nothing() {
        for (document, expected) in [
            (json!({}), true),
            (json!(true), true),
            (json!(false), false),
            (json!({"$schema": "x", "title": "Event"}), true),
            (json!({"data": [{"id": 1}], "meta": {"id": 2}}), true),
            (json!({"type": "object"}), false),
            (json!({"required": ["id"]}), false),
            (json!({"$ref": "#/$defs/a", "$defs": {"a": {}}}), false),
        ] {
            assert_eq!(checks_nothing(&document), expected, "{document}");
        }
    }
}
