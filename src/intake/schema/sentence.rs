//! Describes an error of an event in one or two sentences. The sentences contain only words of the schema: no value of
//! the event, and no name that the sender chose.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

/// The maximum length of a keyword's value in an error text. For example, the list of an `enum` can have hundreds of
/// members.
pub(super) const LIMIT_CHARS_MAX: usize = 200;
/// The beginning of the sentence about a missing property, before the name of the property.
const PROPERTY: &str = "The property ";
/// The words after the name of a missing property.
const REQUIRED: &str = " is required";
/// The keywords whose members have names that the author of the schema chose. Such a name can be `then`.
const NAMED: [&str; 5] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];

/// Describes an error of `event`, which does not match the schema in `document`.
pub(super) fn detail(document: &Value, event: &Value, error: &ValidationError<'_>) -> String {
    let location = error.schema_path().as_str();
    let limit = document.pointer(location);
    let object = event.pointer(error.instance_path().as_str());
    let kind = error.kind();
    let sentence = if let ValidationErrorKind::Required { property } = kind {
        // The missing name is in the list of `required`, so it is a word of the schema.
        let required = format!("{PROPERTY}{}{REQUIRED}", quoted(property));
        match trigger(limit, object, property) {
            Some(trigger) => format!("{required}, because the object has the property {trigger}."),
            None => format!("{required}."),
        }
    } else if let ValidationErrorKind::Not { schema } = kind {
        forbidden(schema)
    } else if let ValidationErrorKind::OneOfMultipleValid { .. } = kind {
        let schemas = shown(limit);
        format!(
            "The value matches several of these schemas, and must match exactly one: {schemas}."
        )
    } else {
        simple(kind.keyword(), &shown(limit))
    };
    match condition(document, location) {
        Some(reason) => format!("{sentence} {reason}"),
        None => sentence,
    }
}

/// Returns the property that the sentence of [`detail`] calls required. Returns `None` for another sentence, and for a
/// name that is too long for the sentence.
pub(super) fn missing_property(detail: &str) -> Option<String> {
    let (name, _) = detail.strip_prefix(PROPERTY)?.split_once(REQUIRED)?;
    serde_json::from_str(name).ok()
}

/// Describes a broken schema keyword and the value of the keyword in one sentence.
///
/// For an unknown keyword, the sentence only names the keyword.
fn simple(keyword: &str, limit: &str) -> String {
    match keyword {
        "type" => format!("The value must be of type {limit}."),
        "enum" => format!("The value must be one of {limit}."),
        "const" => format!("The value must be {limit}."),
        "pattern" => format!("The text must match the pattern {limit}."),
        "format" => format!("The text must have the format {limit}."),
        "minLength" => format!("The text must have at least {limit} characters."),
        "maxLength" => format!("The text must have at most {limit} characters."),
        "minimum" => format!("The number must be at least {limit}."),
        "maximum" => format!("The number must be at most {limit}."),
        "exclusiveMinimum" => format!("The number must be greater than {limit}."),
        "exclusiveMaximum" => format!("The number must be less than {limit}."),
        "multipleOf" => format!("The number must be a multiple of {limit}."),
        "minItems" => format!("The array must have at least {limit} items."),
        "maxItems" => format!("The array must have at most {limit} items."),
        "uniqueItems" => "The items of the array must be unique.".to_owned(),
        "contains" => "The array must contain more items that match the schema.".to_owned(),
        "minProperties" => format!("The object must have at least {limit} properties."),
        "maxProperties" => format!("The object must have at most {limit} properties."),
        "additionalProperties" | "unevaluatedProperties" => {
            "The object has a property that the schema does not allow.".to_owned()
        }
        "additionalItems" | "unevaluatedItems" => {
            "The array has an item that the schema does not allow.".to_owned()
        }
        "propertyNames" => {
            "The object has a property whose name the schema does not allow.".to_owned()
        }
        "oneOf" => {
            format!("The value matches none of these schemas, and must match exactly one: {limit}.")
        }
        "anyOf" => {
            format!(
                "The value matches none of these schemas, and must match at least one: {limit}."
            )
        }
        "falseSchema" => {
            "The schema allows no value here: the event must not contain this value.".to_owned()
        }
        other => format!("The value does not satisfy `{other}` of the schema."),
    }
}

/// Describes a value that matches the schema in a `not`.
fn forbidden(schema: &Value) -> String {
    let only = schema.as_object().filter(|keywords| keywords.len() == 1);
    let only = only.and_then(|keywords| keywords.iter().next());
    match only {
        Some((keyword, limit)) => {
            let limit = quoted(limit);
            match keyword.as_str() {
                "const" => format!("The value must not be {limit}."),
                "enum" => format!("The value must not be one of {limit}."),
                "type" => format!("The value must not be of type {limit}."),
                "pattern" => format!("The text must not match the pattern {limit}."),
                "format" => format!("The text must not have the format {limit}."),
                "required" => format!("The object must not have all of the properties {limit}."),
                _other => format!("The value must not match the schema {}.", quoted(schema)),
            }
        }
        None => format!("The value must not match the schema {}.", quoted(schema)),
    }
}

/// Returns the property of the event because of which `dependentRequired` requires another property. `limit` is the value
/// of the keyword, or one of its lists.
fn trigger(limit: Option<&Value>, object: Option<&Value>, property: &Value) -> Option<String> {
    let lists = limit?.as_object()?;
    let requires = |list: &Value| {
        list.as_array()
            .is_some_and(|names| names.contains(property))
    };
    let found = lists.iter().find(|(name, list)| {
        requires(list) && object.is_some_and(|object| object.get(name).is_some())
    });
    found.map(|(name, _)| quoted(&Value::from(name.as_str())))
}

/// Returns why a rule in `then` or `else` applies to the event. The rule itself does not show the condition.
fn condition(document: &Value, location: &str) -> Option<String> {
    let branches = [("/then", "matches"), ("/else", "does not match")];
    let found = branches.iter().filter_map(|(branch, verb)| {
        let inside = format!("{location}/");
        let at = inside.rfind(&format!("{branch}/"))?;
        let schema = location.get(..at)?;
        let is_name = NAMED
            .iter()
            .any(|named| schema.ends_with(&format!("/{named}")));
        let condition = document.pointer(schema)?.get("if")?;
        (!is_name).then_some((at, *verb, condition))
    });
    // The innermost condition is the closest to the rule.
    let (_, verb, condition) = found.max_by_key(|(at, ..)| *at)?;
    Some(format!(
        "This rule applies because the value {verb} the condition {}.",
        quoted(condition)
    ))
}

fn shown(limit: Option<&Value>) -> String {
    limit.map(quoted).unwrap_or_default()
}

/// Returns the value of a schema keyword as JSON. A long value is cut to [`LIMIT_CHARS_MAX`] characters.
fn quoted(limit: &Value) -> String {
    let text = limit.to_string();
    match text.char_indices().nth(LIMIT_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
