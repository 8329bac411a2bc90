//! Reads request bodies that are plain JSON and not CloudEvents. Configured expressions find the events of a body, and
//! the id, type and time of each event.
//!
//! These expressions, the schema and the mapping of an event all read the JSON as the source sent it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::CompiledRule;
use super::budget;
use super::compile::RuleCompiler;
use super::error::{EvalError, ValueError, no_text_or_number};
use super::explain::places;
use super::header;
use super::jq::Program;
use super::located::{LocatedValue, ReadContext};
use super::places::EventPlaces;
use super::used::{UsedPart, UsedParts};
use super::value_kind::PATH_ERROR;
use super::{LookupTables, RuleError, or_record};
use crate::event::{EventError, RequestHeaders};

mod explain;
mod json_event;

pub use explain::SplitReads;
pub use json_event::{JsonEvent, UnreadEvent};

/// The name of the rule that splits a plain JSON body, in error messages.
const SPLIT: &str = "body.split";

/// The configured rules for reading a body of plain JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonEnvelopeRules {
    /// The expression for the events of a body: each result is one event. Without this expression, the whole body is
    /// one event.
    pub split: Option<String>,
    /// The expression for the id of an event: a text, or a whole number.
    pub id: String,
    /// The expression for the type of an event.
    pub event_type: String,
    /// The expression for the time of the change, as RFC 3339 text.
    pub time: Option<String>,
}

/// Compiled rules for reading a body of plain JSON, from [`JsonEnvelopeRules`].
#[derive(Clone, Debug)]
pub struct JsonEnvelope {
    split: Option<Arc<Program>>,
    /// The text of the expression that splits a body.
    split_expression: Option<String>,
    id: CompiledRule,
    event_type: CompiledRule,
    time: Option<CompiledRule>,
    /// The request headers that the expressions read.
    headers: BTreeSet<String>,
}

/// An attribute of an event that the table `[body]` of a source file sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeAttribute {
    Id,
    Type,
    Time,
}

impl JsonEnvelope {
    /// Compiles the expressions that read id, type and time from a body of plain JSON.
    ///
    /// The mapping function `lookup` reads `tables`.
    ///
    /// # Errors
    /// Returns all errors in the envelope rules.
    pub fn compile(
        rules: &JsonEnvelopeRules,
        tables: &LookupTables,
    ) -> Result<Self, Vec<RuleError>> {
        let mut compiler = RuleCompiler::new(tables);
        let split = rules
            .split
            .as_ref()
            .map(|split| compiler.stream(SPLIT, split));
        let id = compiler.rule("body.id", &rules.id);
        let event_type = compiler.rule("body.type", &rules.event_type);
        let time = rules
            .time
            .as_ref()
            .map(|time| compiler.rule("body.time", time));
        match (id, event_type) {
            (Some(id), Some(event_type)) => {
                let split = split.flatten().map(Arc::new);
                let time = time.flatten();
                let mut headers = BTreeSet::new();
                for rule in [Some(&id), Some(&event_type), time.as_ref()] {
                    rule.iter()
                        .for_each(|rule| rule.plan.add_headers(&mut headers));
                }
                headers.extend(split.iter().flat_map(|split| split.headers()).cloned());
                compiler.finish(Self {
                    split,
                    split_expression: rules.split.clone(),
                    id,
                    event_type,
                    time,
                    headers,
                })
            }
            (_, _) => Err(compiler.errors),
        }
    }

    /// Returns the expressions that jaq interprets, each with the name of its rule. jaq always interprets the expression
    /// that splits a body.
    pub fn interpreted_rules(&self) -> Vec<(&str, &str)> {
        let split = self.split_expression.as_deref().map(|split| (SPLIT, split));
        let rules = [Some(&self.id), Some(&self.event_type), self.time.as_ref()];
        let rules = rules.into_iter().flatten();
        let interpreted = rules.filter(|rule| rule.plan.is_interpreted());
        let interpreted = interpreted.map(|rule| (rule.target.as_str(), rule.expression.as_str()));
        split.into_iter().chain(interpreted).collect()
    }

    /// Returns whether a plain JSON body can contain several events.
    pub const fn splits(&self) -> bool {
        self.split.is_some()
    }

    /// Returns the names of the request headers that the expressions read, in lower case.
    pub const fn headers(&self) -> &BTreeSet<String> {
        &self.headers
    }

    /// Returns the JSON Pointers of the places that contain the id, the type and the time of an event.
    pub fn reads(&self) -> BTreeSet<String> {
        let rules = [Some(&self.id), Some(&self.event_type), self.time.as_ref()];
        places(rules.into_iter().flatten())
    }

    /// Returns the parts of an event that the expression for its type uses. The other expressions of `[body]` do not read a
    /// stored event again.
    pub fn used_by_type(&self) -> Vec<UsedPart> {
        let mut parts = UsedParts::default();
        parts.add_rule(&self.event_type);
        parts.into_parts()
    }

    /// Returns the place of an attribute in an event, as a JSON Pointer. Returns an empty text if the source file sets a
    /// constant, or if the expression fails.
    pub fn place_of(
        &self,
        attribute: EnvelopeAttribute,
        data: &Value,
        headers: &RequestHeaders,
    ) -> String {
        let context = ReadContext {
            headers: Some(headers),
            log: None,
        };
        let input = LocatedValue::in_context(data, &context);
        let rule = match attribute {
            EnvelopeAttribute::Id => Some(&self.id),
            EnvelopeAttribute::Type => Some(&self.event_type),
            EnvelopeAttribute::Time => self.time.as_ref(),
        };
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let located = rule.and_then(|rule| rule.plan.read(&input).ok());
        located.map(|located| located.pointer()).unwrap_or_default()
    }

    /// Returns the places of the events in a plain JSON body, in the order of [`Self::events`]. The function splits the
    /// body again, so the caller needs it only for errors.
    pub fn places(&self, body: &Value, headers: &RequestHeaders, max: usize) -> Vec<EventPlaces> {
        budget::begin_event(budget::SPLIT_STEPS_MAX);
        let context = ReadContext {
            headers: Some(headers),
            log: None,
        };
        let input = LocatedValue::in_context(body, &context);
        let split = self.split.as_ref();
        split.map_or_else(Vec::new, |split| {
            split.places(&input, max.saturating_add(1))
        })
    }

    /// Returns the events of a plain JSON body. Returns at most `max` + 1 events, so that the caller notices a body
    /// with too many events.
    ///
    /// # Errors
    /// Returns the errors of a body that cannot be split into events.
    pub fn events(
        &self,
        body: Value,
        headers: &RequestHeaders,
        max: usize,
    ) -> Result<Vec<Result<JsonEvent, UnreadEvent>>, Vec<EventError>> {
        let parts = self.parts(body, headers, max)?;
        let events = parts.into_iter().map(|part| self.event(part, headers));
        Ok(events.collect())
    }

    /// Returns the parts of a body that are its events, without reading the events. Returns at most `max` + 1 parts.
    ///
    /// # Errors
    /// Returns the errors of a body that cannot be split into events.
    pub fn parts(
        &self,
        body: Value,
        headers: &RequestHeaders,
        max: usize,
    ) -> Result<Vec<Value>, Vec<EventError>> {
        match &self.split {
            None => Ok(vec![body]),
            Some(split) => {
                let context = &ReadContext::of_headers(headers);
                let body = LocatedValue::in_context(&body, context);
                parts(split, &body, max).map_err(|error| {
                    vec![self.named_kind(error.into_event_error(&SPLIT), body.value())]
                })
            }
        }
    }

    /// Returns the id and the type of an event. Each is `None` if the event has no usable value for it.
    pub fn names(&self, data: &Value, headers: &RequestHeaders) -> [Option<String>; 2] {
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let context = &ReadContext::of_headers(headers);
        let input = LocatedValue::in_context(data, context);
        [&self.id, &self.event_type].map(|rule| {
            let located = rule.plan.read(&input).ok()?;
            text(&located, true).ok().flatten()
        })
    }

    /// Reads the id, the type and the time of one event.
    ///
    /// # Errors
    /// Returns the errors of an event without a usable id or type.
    pub fn event(&self, data: Value, headers: &RequestHeaders) -> Result<JsonEvent, UnreadEvent> {
        let context = &ReadContext::of_headers(headers);
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let mut errors = Vec::new();
        let input = LocatedValue::in_context(&data, context);
        let mut text = |rule: &CompiledRule, is_required: bool| {
            let read = rule
                .plan
                .read(&input)
                .and_then(|located| text(&located, is_required))
                .map_err(|error| rule.name_missing_header(error, context));
            or_record(&mut errors, &rule.target, read).flatten()
        };
        let id = text(&self.id, true);
        let event_type = text(&self.event_type, true);
        let time = self.time.as_ref().and_then(|time| text(time, false));
        match (id, event_type) {
            (Some(id), Some(event_type)) if errors.is_empty() => Ok(JsonEvent {
                id,
                event_type,
                time,
                data,
            }),
            (_, _) => {
                let errors = errors.into_iter().map(|error| match &self.split {
                    Some(_) => split_kind(error, &data),
                    None => self.named_kind(error, Some(&data)),
                });
                let errors = errors.collect();
                Err(UnreadEvent { data, errors })
            }
        }
    }

    /// Adds the kind of a whole body or a whole event to its error, if the value is not an object.
    fn named_kind(&self, error: EventError, value: Option<&Value>) -> EventError {
        let kind = match value {
            Some(Value::Array(_)) if self.split.is_none() => {
                "The value is an array. `split = \".[]\"` in [body] makes an event of each item."
            }
            Some(Value::Array(_)) => "The value is an array.",
            Some(Value::String(_)) => {
                "The value is a text. If the text contains JSON, the sender must post this JSON itself."
            }
            Some(Value::Number(_)) => "The value is a number.",
            Some(Value::Null) => "The value is null, and an event is an object.",
            Some(Value::Bool(_) | Value::Object(_)) | None => return error,
        };
        let is_null = value.is_some_and(Value::is_null);
        if is_null && error.rule != header::NAME {
            return EventError {
                pointer: String::new(),
                detail: kind.to_owned(),
                ..error
            };
        }
        if !error.pointer.is_empty() || error.rule == header::NAME {
            return error;
        }
        // The text of an error of a path names the kind of the value, and a remedy for a list inside an object.
        let detail = if error.detail.starts_with(PATH_ERROR) {
            kind.to_owned()
        } else {
            format!("{} {kind}", error.detail)
        };
        EventError { detail, ..error }
    }
}

/// Names the expression `body.split` as the cause of an error about an event that is no object.
fn split_kind(error: EventError, event: &Value) -> EventError {
    let kind = match event {
        Value::Array(_) => "an array",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) | Value::Null | Value::Object(_) => return error,
    };
    if !error.pointer.is_empty() || error.rule == header::NAME {
        return error;
    }
    EventError {
        detail: format!(
            "The expression body.split makes {kind} here, and an event is an object. If several events share members of the body, copy them into each one, such as split = '. as $body | .ids[] | {{id: ., type: $body.type}}'."
        ),
        ..error
    }
}

impl CompiledRule {
    /// Replaces the text of an error whose cause is a missing request header.
    fn name_missing_header(&self, error: EvalError, context: &ReadContext<'_>) -> EvalError {
        let mut names = BTreeSet::new();
        self.plan.add_headers(&mut names);
        let is_missing = |name: &String| {
            let headers = context.headers;
            headers.is_none_or(|headers| headers.get(name).is_none())
        };
        match names.into_iter().find(is_missing) {
            Some(name) => EvalError {
                rule: header::NAME,
                pointer: String::new(),
                detail: format!("The request has no header {name}."),
            },
            None => error,
        }
    }
}

/// Splits a plain JSON body into its events. A null result is not an event: some sources send null instead of an event,
/// for example for a deleted row in a change log.
fn parts(split: &Program, body: &LocatedValue<'_>, max: usize) -> Result<Vec<Value>, EvalError> {
    budget::begin_event(budget::SPLIT_STEPS_MAX);
    let results = split.run_all(body, max.saturating_add(1))?;
    let is_event = |part: &Value| !part.is_null();
    Ok(results.into_iter().filter(is_event).collect())
}

/// Converts the id, type or time of an event to text. The function accepts a whole number, because many sources use the
/// number of a database row as an id.
fn text(located: &LocatedValue<'_>, is_required: bool) -> Result<Option<String>, EvalError> {
    let error = |detail: String| Err(located.error("body", ValueError::new(detail)));
    match located.value() {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        None | Some(Value::Null | Value::String(_)) if is_required => {
            error("The event must have a value here.".to_owned())
        }
        None | Some(Value::Null | Value::String(_)) => Ok(None),
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            error(no_text_or_number(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::json;

    use super::*;

    static NONE: LazyLock<RequestHeaders> = LazyLock::new(RequestHeaders::default);

    fn envelope(split: Option<&str>, time: Option<&str>) -> JsonEnvelope {
        let rules = JsonEnvelopeRules {
            split: split.map(str::to_owned),
            id: ".id".to_owned(),
            event_type: ".type".to_owned(),
            time: time.map(str::to_owned),
        };
        JsonEnvelope::compile(&rules, &LookupTables::new()).unwrap()
    }

    #[test]
    fn an_event_keeps_its_body_as_data() {
        let data = json!({"id": 7, "type": "t", "at": "2025-02-13T19:08:07Z"});
        let events = envelope(None, Some(".at"))
            .events(data.clone(), &NONE, 1)
            .unwrap();
        let event = JsonEvent {
            id: "7".to_owned(),
            event_type: "t".to_owned(),
            time: Some("2025-02-13T19:08:07Z".to_owned()),
            data,
        };
        assert_eq!(events, [Ok(event.clone())]);
        assert_eq!(format!("{event:?}"), "JsonEvent { .. }");
    }

    #[test]
    fn a_time_is_optional() {
        for at in [json!(null), json!(" ")] {
            let body = json!({"id": "a", "type": "t", "at": at});
            let events = envelope(None, Some(".at")).events(body, &NONE, 1).unwrap();
            assert_eq!(events[0].as_ref().unwrap().time, None);
        }
        let body = json!({"id": "a", "type": "t", "at": true});
        let events = envelope(None, Some(".at")).events(body, &NONE, 1).unwrap();
        let errors = &events[0].as_ref().unwrap_err().errors;
        assert_eq!(
            (errors.len(), errors[0].location.as_str()),
            (1, "body.time")
        );
    }

    #[test]
    fn an_event_without_a_usable_id_or_type_is_refused() {
        for id in [json!(null), json!(" "), json!(true), json!(1.5), json!([1])] {
            let body = json!({"id": id});
            let events = envelope(None, None).events(body, &NONE, 1).unwrap();
            let errors = &events[0].as_ref().unwrap_err().errors;
            let found: Vec<_> = errors
                .iter()
                .map(|error| {
                    (
                        error.rule.as_str(),
                        error.pointer.as_str(),
                        error.location.as_str(),
                    )
                })
                .collect();
            let expected = [("body", "/id", "body.id"), ("body", "/type", "body.type")];
            assert_eq!(found, expected, "{id}");
        }
    }

    #[test]
    fn an_id_with_decimals_says_what_is_wrong() {
        for (id, reason) in [
            (json!(901.0), "such as 901.0"),
            (json!(1e22), "more digits"),
        ] {
            let body = json!({"id": id, "type": "t"});
            let events = envelope(None, None).events(body, &NONE, 1).unwrap();
            let errors = &events[0].as_ref().unwrap_err().errors;
            assert!(errors[0].detail.contains(reason), "{errors:?}");
        }
    }

    #[test]
    fn a_body_is_split_into_at_most_one_event_too_many() {
        let event = |id: u64| json!({"id": id, "type": "t"});
        let split = envelope(Some(".[]"), None);
        let ids = |body: Value, max: usize| {
            let events = split.events(body, &NONE, max).unwrap();
            let id = |event: Result<JsonEvent, UnreadEvent>| event.unwrap().id;
            events.into_iter().map(id).collect::<Vec<_>>()
        };
        assert_eq!(ids(json!([event(1), null, event(2)]), 5), ["1", "2"]);
        assert_eq!(ids(json!([]), 5), [""; 0]);
        let many: Vec<Value> = (1..=5).map(event).collect();
        assert_eq!(ids(json!(many), 2), ["1", "2", "3"]);
        let errors = split.events(json!(7), &NONE, 5).unwrap_err();
        let error = (errors[0].rule.as_str(), errors[0].location.as_str());
        assert_eq!(error, ("jq", "body.split"));
    }

    #[test]
    fn it_knows_what_it_reads() {
        assert!(!envelope(None, None).splits());
        assert!(envelope(Some(".[]"), None).splits());
        let reads = envelope(Some(".[]"), Some(".at")).reads();
        assert_eq!(Vec::from_iter(reads), ["/at", "/id", "/type"]);
    }

    #[test]
    fn all_errors_of_the_rules_are_reported() {
        let rules = JsonEnvelopeRules {
            split: Some("env".to_owned()),
            id: ".id | lookup(\"x\")".to_owned(),
            event_type: "(".to_owned(),
            time: Some(".a |".to_owned()),
        };
        let errors = JsonEnvelope::compile(&rules, &LookupTables::new()).unwrap_err();
        let targets: Vec<_> = errors.iter().map(|error| error.target.as_str()).collect();
        assert_eq!(targets, ["body.split", "body.id", "body.type", "body.time"]);
        let rules = JsonEnvelopeRules {
            split: Some("env".to_owned()),
            id: ".id".to_owned(),
            event_type: ".type".to_owned(),
            time: None,
        };
        assert!(JsonEnvelope::compile(&rules, &LookupTables::new()).is_err());
    }

    /// FAULTS N349: the topic and the id of the event stand only in headers.
    #[test]
    fn expressions_read_request_headers() {
        let rules = JsonEnvelopeRules {
            split: Some("if header(\"x-batch\") == \"1\" then .[] else . end".to_owned()),
            id: "header(\"X-Event-Id\") // .id".to_owned(),
            event_type: "\"shop/\\(header(\"x-topic\"))\"".to_owned(),
            time: None,
        };
        let envelope = JsonEnvelope::compile(&rules, &LookupTables::new()).unwrap();
        let names: Vec<&str> = envelope.headers().iter().map(String::as_str).collect();
        assert_eq!(names, ["x-batch", "x-event-id", "x-topic"]);
        let headers = |pairs: &[(&str, &str)]| {
            let object = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)));
            RequestHeaders::of_json(&Value::Object(object.collect()))
        };
        let read = |pairs: &[(&str, &str)], body: Value| {
            let events = envelope.events(body, &headers(pairs), 9).unwrap();
            let event = |event: Result<JsonEvent, UnreadEvent>| {
                event.map(|event| format!("{} {}", event.id, event.event_type))
            };
            events.into_iter().map(event).collect::<Vec<_>>()
        };
        let topic = ("x-topic", "update");
        assert_eq!(
            read(&[topic, ("x-event-id", "7")], json!({"id": 1})),
            [Ok("7 shop/update".to_owned())]
        );
        assert_eq!(
            read(&[topic, ("x-batch", "1")], json!([{"id": 1}, {"id": 2}])),
            [
                Ok("1 shop/update".to_owned()),
                Ok("2 shop/update".to_owned())
            ]
        );
        let missing = read(&[], json!({"id": 1}));
        let errors = &missing[0].as_ref().unwrap_err().errors;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(
            (errors[0].location.as_str(), errors[0].detail.as_str()),
            ("body.type", "The request has no header x-topic.")
        );
    }
}
