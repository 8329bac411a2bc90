//! Finds misspelt keywords of a schema. JSON Schema ignores an unknown keyword, so a misspelt keyword would allow events
//! that its author wants to refuse.

use serde_json::Value;

use super::{bounds, patterns};
use crate::event::pointer;
use crate::spelling;

/// The error of a schema whose `$schema` names no known version of JSON Schema.
pub(super) const UNKNOWN_VERSION: &str = "the bridge does not know this version of JSON Schema: write https://json-schema.org/draft/2020-12/schema, or remove $schema";
/// The keywords of the drafts of JSON Schema that the validator knows.
const KEYWORDS: [&str; 60] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$ref",
    "$schema",
    "$vocabulary",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "type",
    "unevaluatedItems",
];
/// More keywords, and keywords of OpenAPI that are similar to keywords of JSON Schema and have no effect.
const OTHERS: [&str; 4] = [
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
    "example",
];
/// The keyword of OpenAPI 3.0 that JSON Schema writes in another way. The bridge does not ignore it, because the schema
/// would refuse each null.
const NULLABLE: &str = "nullable";

/// The keywords with one schema or a list of schemas.
pub(super) const WITH_SCHEMAS: [&str; 16] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// The keywords with schemas by name.
pub(super) const WITH_NAMED_SCHEMAS: [&str; 6] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// Returns the place of the first misspelt keyword, and the reason why the keyword is wrong.
pub(super) fn misspelt(schema: &Value, place: &str) -> Option<(String, String)> {
    if let Value::Array(schemas) = schema {
        let mut schemas = schemas.iter().enumerate();
        return schemas.find_map(|(index, inner)| misspelt(inner, &format!("{place}/{index}")));
    }
    let keywords = schema.as_object()?;
    keywords.iter().find_map(|(keyword, value)| {
        let place = pointer::inside(place, keyword);
        if let Some(reason) = wrong(keyword) {
            return Some((place, reason));
        }
        if WITH_SCHEMAS.contains(&keyword.as_str()) {
            return misspelt(value, &place);
        }
        let named = value
            .as_object()
            .filter(|_| WITH_NAMED_SCHEMAS.contains(&keyword.as_str()));
        named?
            .iter()
            .find_map(|(name, inner)| misspelt(inner, &pointer::inside(&place, name)))
    })
}

pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS
        .into_iter()
        .chain(OTHERS)
        .any(|known| known == name)
}

/// The formats of draft 2020-12, of which most authors mean one.
const FORMATS: [&str; 12] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "regex",
    "time",
    "uri",
    "uri-reference",
    "uuid",
];
/// The types of JSON Schema.
pub(super) const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

const OTHER_DOCUMENT: &str = "the bridge does not read other documents; copy the schema into $defs and refer to it with #/$defs/NAME";

/// Returns the reason why the schema does not compile at `place`. The validator names a wrong or unreadable cause there.
pub(super) fn reason(schema: &Value, place: &str) -> Option<String> {
    let at_keyword = |keyword: &str| place.ends_with(&format!("/{keyword}"));
    let value = schema.pointer(place)?;
    let text = value.as_str().unwrap_or_default();
    if at_keyword("type") && FORMATS.contains(&text) {
        return Some(format!(
            "`{text}` is a format: write \"type\": \"string\", \"format\": \"{text}\""
        ));
    }
    if at_keyword("required") && value.is_boolean() {
        return Some(
            "`required` is a list of names beside `properties`, such as \"required\": [\"id\"]"
                .to_owned(),
        );
    }
    if at_keyword("type") && text.contains(['|', ',']) {
        let types = text
            .split(['|', ','])
            .map(|name| format!("\"{}\"", name.trim()));
        let types: Vec<String> = types.collect();
        return Some(format!(
            "several types are a list: write \"type\": [{}]",
            types.join(", ")
        ));
    }
    if at_keyword("type") {
        let suggestion = spelling::suggestion(text, TYPES);
        return Some(format!("a type is one of {}{suggestion}", TYPES.join(", ")));
    }
    if at_keyword("format") {
        let suggestion = spelling::suggestion(text, FORMATS);
        let known = match suggestion.is_empty() {
            true => format!("; remove `format`, or write one of {}", FORMATS.join(", ")),
            false => suggestion,
        };
        return Some(format!("the validator does not know this format{known}"));
    }
    if at_keyword("pattern") {
        return Some(patterns::reason(text));
    }
    if let Some((outer, name)) = place.rsplit_once('/')
        && outer.ends_with("/patternProperties")
    {
        let pattern = name.replace("~1", "/").replace("~0", "~");
        if patterns::pattern_bytes(&pattern) == 0 {
            return Some(patterns::reason(&pattern));
        }
    }
    let reference = value.get("$ref").and_then(Value::as_str);
    let is_remote = |reference: &str| !reference.starts_with('#');
    reference
        .filter(|reference| is_remote(reference))
        .map(|_| OTHER_DOCUMENT.to_owned())
}

/// Returns the place of the first reference that leads to nothing in the schema, and the reason. The validator names no
/// place for it.
pub(super) fn lost_reference(schema: &Value) -> Option<(String, String)> {
    lost_inside(schema, schema, "")
}

fn lost_inside(schema: &Value, part: &Value, place: &str) -> Option<(String, String)> {
    let inner: Vec<(String, &Value)> = match part {
        Value::Object(members) => members
            .iter()
            .map(|(name, inner)| (pointer::inside(place, name), inner))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, inner)| (format!("{place}/{index}"), inner))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    let reference = part.get("$ref").and_then(Value::as_str);
    if let Some(reference) = reference
        && bounds::target(schema, reference).is_none()
    {
        let reason = lost(schema, reference);
        return Some((format!("{place}/$ref"), reason));
    }
    inner
        .into_iter()
        .find_map(|(place, inner)| lost_inside(schema, inner, &place))
}

fn lost(schema: &Value, reference: &str) -> String {
    if !reference.starts_with('#') {
        return OTHER_DOCUMENT.to_owned();
    }
    let definitions = ["$defs", "definitions"].into_iter().flat_map(|keyword| {
        let named = schema.get(keyword).and_then(Value::as_object);
        let names = named.into_iter().flat_map(|named| named.keys());
        names.map(move |name| pointer::inside(&format!("#/{keyword}"), name))
    });
    let definitions: Vec<String> = definitions.collect();
    let suggestion = spelling::suggestion(reference, definitions.iter().map(String::as_str));
    format!("the reference leads to nothing in this schema{suggestion}")
}

/// The keywords of which almost every schema has one, and that are no usual names of the members of an event.
const STRUCTURE: [&str; 14] = [
    "$defs",
    "$dynamicRef",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "definitions",
    "if",
    "oneOf",
    "patternProperties",
    "properties",
    "propertyNames",
    "required",
];
/// The minimum number of unknown members of an event. A schema has at most a few, such as `owner` or `x-note`.
const EVENT_MEMBERS_MIN: usize = 3;
const EVENT: &str = "this file is probably an event and no schema, because it has none of the keywords properties, required and $ref; the command new-source infers a schema from a sample";

const OPENAPI: &str = "this file is an OpenAPI document and no schema: copy the schema of the event from its components into a file of its own, with the schemas that it refers to in $defs";

/// Returns the reason why a document is probably an event of the source: JSON Schema ignores all its members, so the schema
/// would allow every event.
pub(super) fn is_event(document: &Value) -> Option<&'static str> {
    let members = document.as_object()?;
    if ["openapi", "swagger"]
        .iter()
        .any(|name| members.contains_key(*name))
    {
        return Some(OPENAPI);
    }
    let has = |keyword: &&str| members.contains_key(*keyword);
    let names_types = |types: &Value| match types {
        Value::String(name) => TYPES.contains(&name.as_str()),
        Value::Array(_) => true,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    let has_type = members.get("type").is_some_and(names_types);
    let is_unknown = |name: &&String| !name.starts_with("x-") && !is_keyword(name);
    let unknown = members.keys().filter(is_unknown).count();
    // A misspelt keyword alone is no event.
    let is_other = |name: &String| !name.starts_with("x-") && wrong(name).is_none();
    let has_only_others = unknown == members.len()
        && members.keys().any(is_other)
        && members.values().any(Value::is_object);
    let is_event = (unknown >= EVENT_MEMBERS_MIN || has_only_others)
        && !has_type
        && !STRUCTURE.iter().any(has);
    is_event.then_some(EVENT)
}

fn wrong(keyword: &str) -> Option<String> {
    if keyword == NULLABLE {
        return Some(
            "`nullable` is not a keyword of JSON Schema; write \"type\": [\"string\", \"null\"]"
                .to_owned(),
        );
    }
    if is_keyword(keyword) {
        return None;
    }
    let known = || KEYWORDS.into_iter().chain(OTHERS);
    let almost = |known: &&str| spelling::has_two_wrong_letters(keyword, known);
    let meant = spelling::misspelt(keyword, known()).or_else(|| known().find(almost))?;
    Some(format!(
        "unknown keyword `{keyword}`; did you mean `{meant}`?"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N992: a sample as a schema would allow every event.
    #[test]
    fn an_event_is_no_schema() {
        for (document, expected) in [
            (json!({"_id": 7, "_model": "x", "name": "Ann"}), true),
            (
                json!({"type": "contact.updated", "id": "1", "email": "a", "title": "Dr", "city": "b", "zip": "c"}),
                true,
            ),
            (
                json!({"type": {"a": 1}, "email": "a", "city": "b", "zip": "c"}),
                true,
            ),
            (json!({"type": "object", "a": 1, "b": 2, "c": 3}), false),
            (json!({"required": ["id"], "a": 1, "b": 2, "c": 3}), false),
            (json!({"requird": ["id"]}), false),
            (json!({"x-a": 1, "x-b": 2, "x-c": 3}), false),
            (json!({"owner": "crm", "note": "x"}), false),
            // FAULTS N1480
            (json!({"event": {"id": 1}, "item": {"id": 2}}), true),
            (json!({"event": {"id": 1}}), true),
            (json!({"propertys": {"id": {}}}), false),
            (json!({}), false),
            (json!(true), false),
        ] {
            assert_eq!(is_event(&document).is_some(), expected, "{document}");
        }
    }

    /// FAULTS N424: a schema with a misspelt keyword would check nothing.
    #[test]
    fn a_misspelt_keyword_is_found_and_a_name_of_a_property_is_not() {
        for (schema, expected) in [
            (json!({"requird": ["id"]}), Some("/requird")),
            (json!({"propertys": {"id": {}}}), Some("/propertys")),
            (
                json!({"properties": {"a": {"tpye": "string"}}}),
                Some("/properties/a/tpye"),
            ),
            (
                json!({"anyOf": [{}, {"Properties": {}}]}),
                Some("/anyOf/1/Properties"),
            ),
            (
                json!({"$defs": {"x": {"items": {"maxlength": 3}}}}),
                Some("/$defs/x/items/maxlength"),
            ),
            (
                json!({"properties": {"a": {"nullable": true}}}),
                Some("/properties/a/nullable"),
            ),
            (
                json!({"properties": {"requird": {}, "typ": {"type": "string"}}}),
                None,
            ),
            (
                json!({"x-note": 1, "example": {"tpye": 1}, "default": {"requird": 1}}),
                None,
            ),
            (json!({"enum": [{"tpye": 1}], "const": {"tpye": 1}}), None),
            (json!({"owner": "crm", "$comment": "x"}), None),
            (json!(true), None),
        ] {
            let found = misspelt(&schema, "");
            assert_eq!(
                found.as_ref().map(|(place, _)| place.as_str()),
                expected,
                "{schema}"
            );
        }
    }
}
