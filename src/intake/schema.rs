//! Whether an event is shaped as its source promised, and if not, everything that is wrong with it.
//!
//! A schema is compiled once, when the configuration is loaded: its patterns run in linear time, its formats are
//! asserted, and a reference to another place is refused, because nothing may be fetched while an event waits.
//!
//! What a fault says is made of the schema's words alone (the keyword, and what stands beside it), never of the
//! event's: not its values, and not the names of properties nobody expected. Only a fault's `pointer` can hold a name
//! of the sender's; it is for the answer to the sender, and what is logged is `location`.
//!
//! Nothing here knows the mapping, the store or HTTP.

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::event::{EventError, pointer};

/// The most faults named of one event: enough for a developer to go on with, and a cap on what one bad event costs.
const FAULTS_MAX: usize = 100;
/// How deep the places of a schema are listed; one that refers to itself has no end.
const LEAF_DEPTH_MAX: usize = 16;
/// The longest limit quoted from a schema; an `enum` can have hundreds of members.
const LIMIT_CHARS_MAX: usize = 200;

/// A document is not a schema that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not compile: a keyword is misused, a pattern needs back-tracking, a format is unknown, or it refers to
    /// another document.
    #[error("schema {name} does not compile, at #{location}")]
    Compile {
        /// The schema.
        name: String,
        /// Where in it, as a JSON Pointer.
        location: String,
        /// Why.
        source: Box<ValidationError<'static>>,
    },
}

/// The shape that the events of one type have.
#[derive(Debug)]
pub struct Schema {
    name: String,
    document: Value,
    validator: Validator,
}

impl Schema {
    /// Makes a schema of a JSON document; one that names no draft is read as 2020-12.
    ///
    /// # Errors
    /// [`Error::Compile`] with the first thing that is wrong with it.
    pub fn compile(name: &str, document: &Value) -> Result<Self, Error> {
        let mut options = jsonschema::options()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(PatternOptions::regex())
            .offline();
        if document.get("$schema").is_none() {
            options = options.with_draft(Draft::Draft202012);
        }
        let validator = options.build(document).map_err(|source| Error::Compile {
            name: name.to_owned(),
            location: source.instance_path().to_string(),
            source: Box::new(source),
        })?;
        Ok(Self {
            name: name.to_owned(),
            document: document.clone(),
            validator,
        })
    }

    /// The name it was compiled under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that is wrong with an event, up to a hundred faults; nothing if it is as promised.
    ///
    /// The plain yes or no comes first, because it is the usual answer and costs a seventh of the long one.
    pub fn errors(&self, event: &Value) -> Vec<EventError> {
        if self.validator.is_valid(event) {
            return Vec::new();
        }
        self.validator
            .iter_errors(event)
            .take(FAULTS_MAX)
            .map(|error| self.fault(&error))
            .collect()
    }

    /// The places that it describes and that have no places inside, as JSON Pointers; `*` stands for every item.
    pub fn leaf_pointers(&self) -> Vec<String> {
        let mut leaves = BTreeSet::new();
        self.note_leaves(&self.document, "", LEAF_DEPTH_MAX, &mut leaves);
        leaves.into_iter().collect()
    }

    fn note_leaves(
        &self,
        schema: &Value,
        place: &str,
        depth: usize,
        leaves: &mut BTreeSet<String>,
    ) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        let inner = [
            schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| self.document.pointer(reference.strip_prefix('#')?)),
            schema.get("then"),
            schema.get("else"),
        ];
        let lists =
            ["allOf", "anyOf", "oneOf"].map(|key| schema.get(key).and_then(Value::as_array));
        let same_place = inner.into_iter().flatten();
        for inner in same_place.chain(lists.into_iter().flatten().flatten()) {
            self.note_leaves(inner, place, depth, leaves);
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            self.note_place(property, &pointer::inside(place, name), depth, leaves);
        }
        if let Some(items) = schema.get("items") {
            self.note_place(items, &format!("{place}/*"), depth, leaves);
        }
    }

    fn note_place(&self, schema: &Value, place: &str, depth: usize, leaves: &mut BTreeSet<String>) {
        let mut inside = BTreeSet::new();
        self.note_leaves(schema, place, depth, &mut inside);
        if inside.is_empty() {
            inside.insert(place.to_owned());
        }
        leaves.append(&mut inside);
    }

    fn fault(&self, error: &ValidationError<'_>) -> EventError {
        let location = error.schema_path().as_str();
        // The keyword `required` lists every name; the one that is missing is one of them, and so the schema's word.
        let limit = if let ValidationErrorKind::Required { property } = error.kind() {
            Some(property)
        } else {
            self.document.pointer(location)
        };
        let keyword = error.kind().keyword();
        EventError {
            pointer: error.instance_path().to_string(),
            rule: keyword.to_owned(),
            location: location.to_owned(),
            detail: sentence(keyword, &limit.map(quoted).unwrap_or_default()),
        }
    }
}

/// What a keyword asks, with the schema's limit in it; a keyword that is not known here is named, and that is all.
fn sentence(keyword: &str, limit: &str) -> String {
    match keyword {
        "type" => format!("The value must be of type {limit}."),
        "required" => format!("The property {limit} is required."),
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
        "anyOf" => "The value must match at least one of the schemas.".to_owned(),
        "oneOf" => "The value must match exactly one of the schemas.".to_owned(),
        "not" => "The value must not match the schema.".to_owned(),
        "falseSchema" => "No value is allowed here.".to_owned(),
        other => format!("The value does not satisfy `{other}` of the schema."),
    }
}

/// What the schema says beside a keyword, as JSON, cut where it gets long.
fn quoted(limit: &Value) -> String {
    let text = limit.to_string();
    match text.char_indices().nth(LIMIT_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Stands wherever the sender's words stand; no fault may say it.
    const CANARY: &str = "canary-7f3a";

    /// Holds `event` against `schema` and compares the faults as (rule, pointer, location, detail).
    fn check(schema: &Value, event: &Value, expected: &[(&str, &str, &str, &str)]) {
        let faults = Schema::compile("test", schema).unwrap().errors(event);
        let found: Vec<_> = faults
            .iter()
            .map(|fault| {
                (
                    fault.rule.as_str(),
                    fault.pointer.as_str(),
                    fault.location.as_str(),
                    fault.detail.as_str(),
                )
            })
            .collect();
        assert_eq!(found, expected);
        for fault in &faults {
            assert!(!fault.detail.contains(CANARY), "{fault:?}");
            assert!(!fault.location.contains(CANARY), "{fault:?}");
        }
    }

    /// Holds each event against its schema, and compares the one sentence that comes of it.
    fn check_details(cases: &[(Value, Value, &str)]) {
        for (schema, event, detail) in cases {
            let faults = Schema::compile("test", schema).unwrap().errors(event);
            let details: Vec<_> = faults.iter().map(|fault| fault.detail.as_str()).collect();
            assert_eq!(details, [*detail], "{schema}");
            assert!(!detail.contains(CANARY), "{schema}");
        }
    }

    #[test]
    fn a_fault_of_a_text_says_the_limit_and_never_the_value() {
        check_details(&[
            (
                json!({"type": "integer"}),
                json!(CANARY),
                "The value must be of type \"integer\".",
            ),
            (
                json!({"type": ["integer", "null"]}),
                json!(CANARY),
                "The value must be of type [\"integer\",\"null\"].",
            ),
            (
                json!({"enum": ["a", "b"]}),
                json!(CANARY),
                "The value must be one of [\"a\",\"b\"].",
            ),
            (
                json!({"const": "a"}),
                json!(CANARY),
                "The value must be \"a\".",
            ),
            (
                json!({"pattern": "^[0-9]$"}),
                json!(CANARY),
                "The text must match the pattern \"^[0-9]$\".",
            ),
            (
                json!({"format": "email"}),
                json!(CANARY),
                "The text must have the format \"email\".",
            ),
            (
                json!({"maxLength": 3}),
                json!(CANARY),
                "The text must have at most 3 characters.",
            ),
            (
                json!({"minLength": 99}),
                json!(CANARY),
                "The text must have at least 99 characters.",
            ),
        ]);
    }

    #[test]
    fn a_fault_of_a_number_or_an_array_says_the_limit_and_never_the_value() {
        check_details(&[
            (
                json!({"minimum": 0}),
                json!(-7),
                "The number must be at least 0.",
            ),
            (
                json!({"maximum": 5}),
                json!(7),
                "The number must be at most 5.",
            ),
            (
                json!({"exclusiveMinimum": 0}),
                json!(0),
                "The number must be greater than 0.",
            ),
            (
                json!({"exclusiveMaximum": 0}),
                json!(0),
                "The number must be less than 0.",
            ),
            (
                json!({"multipleOf": 2}),
                json!(7),
                "The number must be a multiple of 2.",
            ),
            (
                json!({"maxItems": 0}),
                json!([CANARY]),
                "The array must have at most 0 items.",
            ),
            (
                json!({"minItems": 2}),
                json!([CANARY]),
                "The array must have at least 2 items.",
            ),
            (
                json!({"uniqueItems": true}),
                json!([CANARY, CANARY]),
                "The items of the array must be unique.",
            ),
        ]);
    }

    #[test]
    fn a_fault_of_an_object_never_says_a_name_of_the_senders() {
        check_details(&[
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({CANARY: 1}),
                "The object has a property that the schema does not allow.",
            ),
            (
                json!({"additionalProperties": false}),
                json!({CANARY: 1}),
                "No value is allowed here.",
            ),
            (
                json!({"unevaluatedProperties": false}),
                json!({CANARY: 1}),
                "The object has a property that the schema does not allow.",
            ),
            (
                json!({"propertyNames": {"maxLength": 1}}),
                json!({CANARY: 1}),
                "The object has a property whose name the schema does not allow.",
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "integer"}]}),
                json!(CANARY),
                "The value must match at least one of the schemas.",
            ),
            (
                json!({"oneOf": [{"minLength": 1}, {"minLength": 2}]}),
                json!(CANARY),
                "The value must match exactly one of the schemas.",
            ),
            (
                json!({"not": {}}),
                json!(CANARY),
                "The value must not match the schema.",
            ),
            (
                json!({"dependentRequired": {"a": ["b"]}}),
                json!({"a": CANARY}),
                "The property \"b\" is required.",
            ),
        ]);
    }

    #[test]
    fn every_fault_is_named_with_its_places() {
        let schema = json!({
            "required": ["id", "data"],
            "properties": {"data": {"properties": {"name": {"$ref": "#/$defs/name"}}}},
            "$defs": {"name": {"type": ["string", "null"], "maxLength": 4}},
        });
        check(
            &schema,
            &json!({"data": {"name": CANARY}, CANARY: CANARY}),
            &[
                (
                    "required",
                    "",
                    "/required",
                    "The property \"id\" is required.",
                ),
                (
                    "maxLength",
                    "/data/name",
                    "/$defs/name/maxLength",
                    "The text must have at most 4 characters.",
                ),
            ],
        );
        check(&schema, &json!({"id": 1, "data": {"name": null}}), &[]);
    }

    #[test]
    fn faults_are_capped_and_long_limits_are_cut() {
        let words: Vec<String> = (0..300).map(|number| format!("word{number}")).collect();
        let schema = Schema::compile("test", &json!({"items": {"enum": words}})).unwrap();
        let faults = schema.errors(&Value::Array(vec![json!(CANARY); 500]));
        assert_eq!(faults.len(), FAULTS_MAX);
        assert!(faults[0].detail.chars().count() < LIMIT_CHARS_MAX + 50);
    }

    #[test]
    fn a_schema_that_cannot_be_trusted_does_not_compile() {
        for document in [
            json!({"type": "text"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"pattern": "(?=a)b"}),
            json!({"pattern": "("}),
            json!({"format": "e-mail"}),
            json!(7),
        ] {
            let error = Schema::compile("crm/x.json", &document).unwrap_err();
            assert!(error.to_string().contains("crm/x.json"), "{document}");
        }
    }

    #[test]
    fn the_crm_schema_takes_its_example_and_what_a_crm_makes_of_it() {
        let document: Value =
            serde_json::from_str(include_str!("../../schemas/crm/customer-changed.v1.json"))
                .unwrap();
        let event: Value = serde_json::from_str(include_str!(
            "../../config/sources/crm/customer-changed.event.json"
        ))
        .unwrap();
        check(&document, &event, &[]);

        let mut added = event.clone();
        added["data"]["customer"]["shoe_size"] = json!(44);
        added["traceparent"] = json!("00-1-2-03");
        check(&document, &added, &[]);

        let mut nulled = event.clone();
        for field in [
            "email",
            "phone",
            "name",
            "address",
            "loyalty",
            "member_since",
        ] {
            nulled["data"]["customer"][field] = Value::Null;
        }
        check(&document, &nulled, &[]);

        let least = json!({
            "specversion": "1.0", "id": "1", "source": "/crm", "type": "customer.changed",
            "data": {"customer": {"id": "a", "imprint_customer_id": "b", "revision": 0}},
        });
        check(&document, &least, &[]);

        let mut wrong = event;
        wrong["data"]["customer"]["revision"] = json!(CANARY);
        wrong["data"]["customer"]["lifetime_value"]["amount"] = json!(340.0);
        let rules: Vec<_> = Schema::compile("crm", &document)
            .unwrap()
            .errors(&wrong)
            .into_iter()
            .map(|fault| (fault.rule, fault.pointer))
            .collect();
        let named = |pointer: &str| ("type".to_owned(), pointer.to_owned());
        assert_eq!(rules.len(), 2);
        assert!(rules.contains(&named("/data/customer/revision")));
        assert!(rules.contains(&named("/data/customer/lifetime_value/amount")));
    }
}
