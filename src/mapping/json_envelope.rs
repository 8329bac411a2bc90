//! Bodies of plain JSON instead of CloudEvents: the expressions that find the events, their ids, types and times.
//!
//! These expressions, and the schema and the mapping of an event type, read the JSON that the source sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::CompiledRule;
use super::compile::RuleCompiler;
use super::error::EvalError;
use super::explain::places;
use super::function::LookupTable;
use super::jq::Program;
use super::located::LocatedValue;
use super::{RuleError, or_record};
use crate::event::EventError;

/// The name of the rule that splits a body, in error messages.
const SPLIT: &str = "body.split";

/// How a body of plain JSON is read, as the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonEnvelopeRules {
    /// The events of a body, one per result. Without it, the body is one event.
    pub split: Option<String>,
    /// The id of an event: a text, or a whole number.
    pub id: String,
    /// The type of an event.
    pub event_type: String,
    /// The time of the change, as RFC 3339 text.
    pub time: Option<String>,
}

/// Compiled [`JsonEnvelopeRules`].
#[derive(Clone, Debug)]
pub struct JsonEnvelope {
    split: Option<Arc<Program>>,
    id: CompiledRule,
    event_type: CompiledRule,
    time: Option<CompiledRule>,
}

/// One event of a plain JSON body.
#[derive(Clone, PartialEq)]
pub struct JsonEvent {
    pub id: String,
    pub event_type: String,
    /// The time, if the event has one; not yet checked.
    pub time: Option<String>,
    /// The event as the source sent it.
    pub data: Value,
}

/// Never the data: it is personal data.
impl fmt::Debug for JsonEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonEvent").finish_non_exhaustive()
    }
}

impl JsonEnvelope {
    /// Compiles the rules; `lookup` reads `tables`.
    ///
    /// # Errors
    /// All errors in the rules.
    pub fn compile(
        rules: &JsonEnvelopeRules,
        tables: &BTreeMap<String, LookupTable>,
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
            (Some(id), Some(event_type)) => compiler.finish(Self {
                split: split.flatten().map(Arc::new),
                id,
                event_type,
                time: time.flatten(),
            }),
            (_, _) => Err(compiler.errors),
        }
    }

    /// Whether a body can contain several events.
    pub const fn splits(&self) -> bool {
        self.split.is_some()
    }

    /// The places of an event that id, type and time are read from, as JSON Pointers.
    pub fn reads(&self) -> BTreeSet<String> {
        let rules = [Some(&self.id), Some(&self.event_type), self.time.as_ref()];
        places(rules.into_iter().flatten())
    }

    /// The events of a body, at most `max` + 1, so that the caller notices too many.
    ///
    /// # Errors
    /// The body cannot be split into events.
    pub fn events(
        &self,
        body: Value,
        max: usize,
    ) -> Result<Vec<Result<JsonEvent, Vec<EventError>>>, Vec<EventError>> {
        let parts = match &self.split {
            None => vec![body],
            Some(split) => {
                parts(split, &body, max).map_err(|error| vec![error.into_event_error(&SPLIT)])?
            }
        };
        Ok(parts.into_iter().map(|part| self.event(part)).collect())
    }

    fn event(&self, data: Value) -> Result<JsonEvent, Vec<EventError>> {
        let mut errors = Vec::new();
        let input = LocatedValue::of_event(&data);
        let mut text = |rule: &CompiledRule, is_required: bool| {
            let read = rule
                .plan
                .read(&input)
                .and_then(|located| text(&located, is_required));
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
            (_, _) => Err(errors),
        }
    }
}

/// The events of a body. Null is no event: some sources send it for "nothing", such as the tombstone of a log.
fn parts(split: &Program, body: &Value, max: usize) -> Result<Vec<Value>, EvalError> {
    let results = split.run_all(&LocatedValue::of_event(body), max.saturating_add(1))?;
    let is_event = |part: &Value| !part.is_null();
    Ok(results.into_iter().flatten().filter(is_event).collect())
}

/// A value as text. A whole number is accepted, because many sources number their rows.
fn text(located: &LocatedValue<'_>, is_required: bool) -> Result<Option<String>, EvalError> {
    let error = |detail: &str| Err(located.error("body", super::error::ValueError::new(detail)));
    match located.value() {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        None | Some(Value::Null | Value::String(_)) if is_required => {
            error("The event must have a value here.")
        }
        None | Some(Value::Null | Value::String(_)) => Ok(None),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            error("The value is neither a text nor a whole number.")
        }
    }
}
