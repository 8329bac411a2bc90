//! The members and items that the keywords of one schema describe, and the subschemas that the keywords apply to them.

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::super::patterns;

/// Returns the names of members that a schema mentions.
pub(super) fn names(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let object = |key: &str| schema.get(key).and_then(Value::as_object);
    let keys = [
        "properties",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
    ];
    let keys = keys.into_iter().filter_map(object).flat_map(Map::keys);
    let required = schema.get("required").and_then(Value::as_array);
    let dependent = ["dependentRequired", "dependencies"];
    let dependent = dependent
        .into_iter()
        .filter_map(object)
        .flat_map(Map::values);
    let lists = required
        .into_iter()
        .chain(dependent.filter_map(Value::as_array));
    keys.map(String::as_str)
        .chain(lists.flatten().filter_map(Value::as_str))
}

/// Returns the subschemas for the members that no other keyword of a schema describes.
pub(super) fn other_members(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let keys = ["additionalProperties", "unevaluatedProperties"];
    keys.into_iter().filter_map(|key| speaking(schema, key))
}

/// Returns the subschema in a keyword, unless the subschema only allows or forbids a value.
pub(super) fn speaking<'s>(schema: &'s Map<String, Value>, keyword: &str) -> Option<&'s Value> {
    let inner = schema.get(keyword)?;
    let says_nothing = inner.is_boolean() || inner.as_object().is_some_and(Map::is_empty);
    (!says_nothing).then_some(inner)
}

/// Returns the patterns for names of members, each with its subschema.
pub(super) fn pattern_members(schema: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let patterns = patterns.into_iter().flatten();
    patterns.map(|(pattern, schema)| (pattern.as_str(), schema))
}

/// Compiles the pattern of a name as a schema, so that a pattern means the same here and in the validator.
pub(super) fn compiled(pattern: &str) -> Option<Validator> {
    let mut options = jsonschema::options().with_pattern_options(patterns::options());
    options = options.offline();
    options.build(&json!({"pattern": pattern})).ok()
}

/// Returns the subschemas that apply to every item, or to the items behind a list of schemas.
pub(super) fn item_schemas(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let named = ["items", "contains"]
        .into_iter()
        .filter_map(|key| schema.get(key));
    let named = named.filter(|items| !items.is_array() && **items != Value::Bool(false));
    let others = ["additionalItems", "unevaluatedItems"];
    named.chain(others.into_iter().filter_map(|key| speaking(schema, key)))
}

/// Returns the lists of schemas for the first items.
pub(super) fn item_lists(schema: &Map<String, Value>) -> impl Iterator<Item = &Vec<Value>> {
    let lists = ["prefixItems", "items"].into_iter();
    lists.filter_map(|key| schema.get(key).and_then(Value::as_array))
}
