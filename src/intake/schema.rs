//! JSON Schemas of event types. A schema validates an event, and reports all errors of the event.
//!
//! The bridge compiles a schema once, when it loads the configuration. The validator matches patterns in linear time,
//! and also checks formats. The bridge refuses a schema with a reference to another document, because the bridge must
//! not fetch a document while an event waits.
//!
//! The detail of a schema error contains only words of the schema: the keyword and the value of the keyword. The detail
//! contains neither values of the event nor the names of unexpected properties. Only the `pointer` of an error can
//! contain a name that the sender chose. The answer to the sender contains the `pointer`. A log line contains the
//! `location` and not the `pointer`.

use jsonschema::{Draft, PatternCache, ValidationError, Validator};
use serde_json::Value;

use crate::event::EventError;

mod bounds;
mod described;
mod keywords;
mod kinds;
mod leaves;
mod patterns;
mod sentence;
mod stray;

pub use patterns::{SchemaSize, pattern_bytes};

/// The maximum number of schema errors for one event. This number is enough for a developer, and limits the time that
/// the bridge spends on one bad event.
const ERRORS_MAX: usize = 100;

/// The error of a document that cannot be used as a schema.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema does not compile: a keyword is misused, a pattern needs backtracking, a format is unknown, or a
    /// reference leads to another document.
    #[error("schema {name} does not compile, at #{location}")]
    Compile {
        /// The name of the schema.
        name: String,
        /// A JSON Pointer to the error in the schema.
        location: String,
        /// The reason why the schema does not compile.
        source: Box<ValidationError<'static>>,
    },
    /// The schema has a keyword that is misspelt, which the validator would ignore, or whose value is wrong.
    #[error("schema {name}, at #{location}: {reason}")]
    Wrong {
        /// The name of the schema.
        name: String,
        /// A JSON Pointer to the keyword in the schema.
        location: String,
        /// The description of the wrong keyword.
        reason: String,
    },
    /// The schema compiles, but an event could make the validator work without a bound.
    #[error("schema {name} has no bound: {reason}")]
    Unbounded {
        /// The name of the schema.
        name: String,
        /// The reason why an event could make the validator work without a bound.
        reason: String,
    },
}

/// The JSON Schema of one event type.
#[derive(Debug)]
pub struct Schema {
    name: String,
    document: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a JSON document to a schema. A document without `$schema` is read as draft 2020-12.
    ///
    /// # Errors
    /// Returns an error if the document is not a valid JSON Schema, or if an event could make the validator work
    /// without a bound.
    pub fn compile(name: &str, document: &Value) -> Result<Self, Error> {
        Self::compile_with(name, document, PatternCache::default())
    }

    /// Compiles a JSON document like [`Schema::compile`]. Schemas with the same cache share their compiled patterns.
    ///
    /// # Errors
    /// As [`Schema::compile`].
    pub fn compile_with(name: &str, document: &Value, cache: PatternCache) -> Result<Self, Error> {
        let mut options = jsonschema::options()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(patterns::options())
            .with_pattern_cache(cache)
            .offline();
        if document.get("$schema").is_none() {
            options = options.with_draft(Draft::Draft202012);
        }
        if let Some(reason) = keywords::is_event(document) {
            return Err(Error::Wrong {
                name: name.to_owned(),
                location: String::new(),
                reason: reason.to_owned(),
            });
        }
        let validator = options.build(document).map_err(|source| {
            let (name, location) = (name.to_owned(), source.instance_path().to_string());
            let at_place = keywords::reason(document, &location);
            let wrong = at_place.map(|reason| (location.clone(), reason));
            let is_unknown = source.to_string().starts_with("Unknown meta-schema");
            let wrong = match is_unknown {
                true => Some(("/$schema".to_owned(), keywords::UNKNOWN_VERSION.to_owned())),
                false => wrong,
            };
            match wrong.or_else(|| keywords::lost_reference(document)) {
                Some((location, reason)) => Error::Wrong {
                    name,
                    location,
                    reason,
                },
                None => Error::Compile {
                    name,
                    location,
                    source: Box::new(source),
                },
            }
        })?;
        if let Some((location, reason)) = keywords::misspelt(document, "") {
            return Err(Error::Wrong {
                name: name.to_owned(),
                location,
                reason,
            });
        }
        if let Some(reason) = bounds::excess(document) {
            return Err(Error::Unbounded {
                name: name.to_owned(),
                reason,
            });
        }
        Ok(Self {
            name: name.to_owned(),
            document: document.clone(),
            validator,
        })
    }

    /// Returns the name of the schema's file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the JSON document of the schema.
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// Returns the places of members that are no keywords and probably properties, as JSON Pointers into the document.
    pub fn stray_properties(&self) -> Vec<String> {
        let mut found = Vec::new();
        stray::add_stray_properties(&self.document, "", &mut found);
        found
    }

    /// Returns whether the document has no keyword that checks a value, so that the schema accepts every event.
    pub fn checks_nothing(&self) -> bool {
        stray::checks_nothing(&self.document)
    }

    /// Returns whether the schema accepts an event.
    pub(super) fn accepts(&self, event: &Value) -> bool {
        self.validator.is_valid(event)
    }

    /// Returns the schema errors of an event, at most `ERRORS_MAX` errors. The list is empty if the event is valid.
    ///
    /// The function first checks only whether the event is valid. Most events are valid, and this check takes a seventh
    /// of the time that the list of errors takes. The bridge cannot stop the validator before the validator has made
    /// the whole list. If the list could be very long, the function returns only one error, about the whole event.
    pub fn errors(&self, event: &Value) -> Vec<EventError> {
        if self.accepts(event) {
            return Vec::new();
        }
        if !bounds::can_list_errors(&self.document, event) {
            return vec![too_many_errors()];
        }
        self.validator
            .iter_errors(event)
            .take(ERRORS_MAX)
            .map(|error| self.event_error(event, &error))
            .collect()
    }

    /// Returns the names of the members that cause an error about an unexpected member. `body` is the request body with the
    /// event. The names are the sender's own, so no answer and no log can contain them.
    pub fn unexpected<'b>(&self, error: &EventError, body: &'b Value) -> Vec<&'b str> {
        let outer = error.location.strip_suffix("/additionalProperties");
        let schema = outer.and_then(|outer| self.document.pointer(outer));
        let object = body.pointer(&error.pointer).and_then(Value::as_object);
        let (Some(schema), Some(object)) = (schema, object) else {
            return Vec::new();
        };
        let known = schema.get("properties");
        let is_known = |name: &&str| known.is_some_and(|known| known.get(*name).is_some());
        let names = object.keys().map(String::as_str);
        if schema.get("patternProperties").is_some() {
            return Vec::new();
        }
        names.filter(|name| !is_known(name)).collect()
    }

    /// Returns the paths of the schema's innermost properties, as JSON Pointers. `*` stands for every item of an array.
    /// A recursive schema has paths without an end, so the list has a limit.
    pub fn leaf_pointers(&self) -> Vec<String> {
        leaves::pointers(&self.document)
    }

    /// Returns whether the schema names the type for the value at `place`, a JSON Pointer.
    pub(super) fn names_type(&self, place: &str, kind: &str) -> bool {
        kinds::names_type(&self.document, place, kind)
    }

    fn event_error(&self, event: &Value, error: &ValidationError<'_>) -> EventError {
        EventError {
            pointer: error.instance_path().to_string(),
            rule: error.kind().keyword().to_owned(),
            location: error.schema_path().as_str().to_owned(),
            detail: sentence::detail(&self.document, event, error),
        }
    }
}

/// Returns the name of the property whose absence is the cause of an error, if the error is of this kind.
pub fn missing_property(error: &EventError) -> Option<String> {
    matches!(error.rule.as_str(), "required" | "dependentRequired")
        .then(|| sentence::missing_property(&error.detail))?
}

/// Creates the error for an event whose list of errors could be too long.
fn too_many_errors() -> EventError {
    EventError {
        pointer: String::new(),
        rule: "schema".to_owned(),
        location: String::new(),
        detail: "The event does not match the schema, and is too large for a list of its errors."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::sentence::LIMIT_CHARS_MAX;
    use super::*;

    /// The tests put this text into every part of an event that a sender chooses. No schema error may contain this
    /// text.
    const CANARY: &str = "canary-7f3a";

    /// Validates `event` and compares its schema errors as (rule, pointer, location, detail).
    fn check(schema: &Value, event: &Value, expected: &[(&str, &str, &str, &str)]) {
        let errors = Schema::compile("test", schema).unwrap().errors(event);
        let found: Vec<_> = errors
            .iter()
            .map(|error| {
                (
                    error.rule.as_str(),
                    error.pointer.as_str(),
                    error.location.as_str(),
                    error.detail.as_str(),
                )
            })
            .collect();
        assert_eq!(found, expected);
        for error in &errors {
            assert!(!error.detail.contains(CANARY), "{error:?}");
            assert!(!error.location.contains(CANARY), "{error:?}");
        }
    }

    /// Validates each event against its schema, and compares the detail of the only error.
    fn check_details(cases: &[(Value, Value, &str)]) {
        for (schema, event, detail) in cases {
            let errors = Schema::compile("test", schema).unwrap().errors(event);
            let details: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
            assert_eq!(details, [*detail], "{schema}");
            assert!(!detail.contains(CANARY), "{schema}");
        }
    }

    #[test]
    fn an_error_in_a_text_states_the_limit_and_never_the_value() {
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
    fn an_error_in_a_number_or_an_array_states_the_limit_and_never_the_value() {
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
    fn an_error_in_an_object_never_contains_a_name_of_the_sender() {
        check_details(&[
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({CANARY: 1}),
                "The object has a property that the schema does not allow.",
            ),
            (
                json!({"additionalProperties": false}),
                json!({CANARY: 1}),
                "The schema allows no value here: the event must not contain this value.",
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
                "The value matches none of these schemas, and must match at least one: [{\"type\":\"null\"},{\"type\":\"integer\"}].",
            ),
            (
                json!({"oneOf": [{"minLength": 1}, {"minLength": 2}]}),
                json!(CANARY),
                "The value matches several of these schemas, and must match exactly one: [{\"minLength\":1},{\"minLength\":2}].",
            ),
            (
                json!({"not": {}}),
                json!(CANARY),
                "The value must not match the schema {}.",
            ),
            (
                json!({"dependentRequired": {"a": ["b"]}}),
                json!({"a": CANARY}),
                "The property \"b\" is required, because the object has the property \"a\".",
            ),
        ]);
    }

    /// FAULTS N425: a rule that applies only under a condition names the condition.
    #[test]
    fn a_negated_or_conditional_rule_names_its_true_cause() {
        let conditional = json!({
            "if": {"properties": {"kind": {"const": "card"}}, "required": ["kind"]},
            "then": {"required": ["number"]},
            "else": {"properties": {"then": {"type": "integer"}}},
        });
        let condition = "{\"properties\":{\"kind\":{\"const\":\"card\"}},\"required\":[\"kind\"]}";
        check_details(&[
            (
                conditional.clone(),
                json!({"kind": "card", "x": CANARY}),
                &format!(
                    "The property \"number\" is required. This rule applies because the value matches the condition {condition}."
                ),
            ),
            (
                conditional,
                json!({"kind": CANARY, "then": CANARY}),
                &format!(
                    "The value must be of type \"integer\". This rule applies because the value does not match the condition {condition}."
                ),
            ),
            (
                json!({"properties": {"if": {}, "then": {"type": "integer"}}}),
                json!({"then": CANARY}),
                "The value must be of type \"integer\".",
            ),
            (
                json!({"not": {"const": "a"}}),
                json!("a"),
                "The value must not be \"a\".",
            ),
            (
                json!({"not": {"required": ["ssn"]}}),
                json!({"ssn": CANARY}),
                "The object must not have all of the properties [\"ssn\"].",
            ),
            (
                json!({"oneOf": [{"type": "null"}, {"type": "integer"}]}),
                json!(CANARY),
                "The value matches none of these schemas, and must match exactly one: [{\"type\":\"null\"},{\"type\":\"integer\"}].",
            ),
            (
                json!({"properties": {"ssn": false}}),
                json!({"ssn": CANARY}),
                "The schema allows no value here: the event must not contain this value.",
            ),
        ]);
    }

    #[test]
    fn every_error_names_its_places() {
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
    fn the_number_of_errors_is_limited_and_long_limits_are_cut() {
        let words: Vec<String> = (0..300).map(|number| format!("word{number}")).collect();
        let schema = Schema::compile("test", &json!({"items": {"enum": words}})).unwrap();
        let errors = schema.errors(&Value::Array(vec![json!(CANARY); 500]));
        assert_eq!(errors.len(), ERRORS_MAX);
        assert!(errors[0].detail.chars().count() < LIMIT_CHARS_MAX + 50);
    }

    /// FAULTS N90: without the limit, the validator needs many gigabytes for these errors, and the process aborts.
    #[test]
    fn an_event_cannot_multiply_the_errors_of_a_recursive_schema() {
        let document = json!({"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": [
            {"type": "array", "items": {"$ref": "#/$defs/node"}},
            {"type": "array", "items": {"$ref": "#/$defs/node"}},
            {"oneOf": [{"type": "null"}, {"items": {"$ref": "#/$defs/node"}, "type": "array"}]},
        ]}}});
        let schema = Schema::compile("test", &document).unwrap();
        let nested = |depth: usize| (0..depth).fold(json!(CANARY), |inner, _| json!([inner]));
        let rules = |event: &Value| -> Vec<String> {
            let errors = schema.errors(event).into_iter();
            errors.map(|error| error.rule).collect()
        };
        assert_eq!(rules(&nested(2)), ["anyOf"]);
        assert_eq!(rules(&nested(31)), ["schema"]);
        assert_eq!(rules(&json!(vec![nested(30); 1_000])), ["schema"]);
        let items = Schema::compile("test", &json!({"items": {"type": "string"}})).unwrap();
        assert_eq!(items.errors(&json!(vec![1; 100_000])).len(), 1);
    }

    #[test]
    fn an_unsafe_schema_does_not_compile() {
        for document in [
            json!({"type": "text"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"pattern": "(?=a)b"}),
            json!({"pattern": "("}),
            json!({"format": "e-mail"}),
            json!({"anyOf": [{"$ref": "#"}, {"type": "null"}]}),
            json!(7),
        ] {
            let error = Schema::compile("crm/x.json", &document).unwrap_err();
            assert!(error.to_string().contains("crm/x.json"), "{document}");
        }
    }

    #[test]
    fn the_crm_schema_accepts_its_example_and_common_variations() {
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
            .map(|error| (error.rule, error.pointer))
            .collect();
        let named = |pointer: &str| ("type".to_owned(), pointer.to_owned());
        assert_eq!(rules.len(), 2);
        assert!(rules.contains(&named("/data/customer/revision")));
        assert!(rules.contains(&named("/data/customer/lifetime_value/amount")));
    }
}
