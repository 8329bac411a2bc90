//! Bodies of plain JSON instead of CloudEvents: the expressions that find the events, their ids, types and times.
//!
//! The expressions, and the schema of an event type, read what the source sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::CompiledRule;
use super::compile::RuleCompiler;
use super::explain::places;
use super::function::LookupTable;
use super::located::{EvalError, LocatedValue};
use super::plan::Plan;
use super::{RuleError, noted};
use crate::event::EventError;

/// How a plain body is read, as the configuration says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonEnvelopeRules {
    /// The events of a body, one a result; without it, the body is one event.
    pub split: Option<String>,
    /// The id of an event: a text, or a whole number.
    pub id: String,
    /// The type of an event.
    pub event_type: String,
    /// When it happened, as RFC 3339 text.
    pub time: Option<String>,
}

/// Compiled [`JsonEnvelopeRules`].
#[derive(Clone, Debug)]
pub struct JsonEnvelope {
    split: Option<CompiledRule>,
    id: CompiledRule,
    event_type: CompiledRule,
    time: Option<CompiledRule>,
}

/// One event of a plain JSON body.
#[derive(Clone, PartialEq)]
pub struct JsonEvent {
    /// The id.
    pub id: String,
    /// The type.
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
    /// Compiles the rules; expressions may look things up in `tables`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        rules: &JsonEnvelopeRules,
        tables: &BTreeMap<String, LookupTable>,
    ) -> Result<Self, Vec<RuleError>> {
        let mut compiling = RuleCompiler::new(tables);
        let split = rules
            .split
            .as_ref()
            .map(|split| compiling.stream("body.split", split));
        let id = compiling.rule("body.id", &rules.id);
        let event_type = compiling.rule("body.type", &rules.event_type);
        let time = rules
            .time
            .as_ref()
            .map(|time| compiling.rule("body.time", time));
        match (id, event_type) {
            (Some(id), Some(event_type)) => compiling.finish(Self {
                split: split.flatten(),
                id,
                event_type,
                time: time.flatten(),
            }),
            (_, _) => Err(compiling.faults),
        }
    }

    /// Whether a body can be several events.
    pub const fn splits(&self) -> bool {
        self.split.is_some()
    }

    /// The places that id, type and time are read from in every event, as JSON Pointers.
    pub fn reads(&self) -> BTreeSet<String> {
        let rules = [Some(&self.id), Some(&self.event_type), self.time.as_ref()];
        places(rules.into_iter().flatten())
    }

    /// The events of a body; at most `max` + 1 of them.
    ///
    /// # Errors
    /// The body cannot be split.
    pub fn events(
        &self,
        body: Value,
        max: usize,
    ) -> Result<Vec<Result<JsonEvent, Vec<EventError>>>, Vec<EventError>> {
        let parts = match &self.split {
            None => vec![body],
            Some(split) => Self::parts(split, &body, max)
                .map_err(|refused| vec![refused.into_fault(&split.target)])?,
        };
        Ok(parts.into_iter().map(|part| self.event(part)).collect())
    }

    fn parts(split: &CompiledRule, body: &Value, max: usize) -> Result<Vec<Value>, EvalError> {
        let Plan::Jq(program) = &split.plan else {
            return Ok(vec![body.clone()]);
        };
        let results = program.run_all(&LocatedValue::whole(body), max.saturating_add(1))?;
        // Null is what a source sends for "nothing", such as the tombstone of a log.
        let is_event = |part: &Value| !part.is_null();
        Ok(results.into_iter().flatten().filter(is_event).collect())
    }

    fn event(&self, data: Value) -> Result<JsonEvent, Vec<EventError>> {
        let mut errors = Vec::new();
        let input = LocatedValue::whole(&data);
        let mut text = |rule: &CompiledRule, is_required: bool| {
            let read = rule
                .plan
                .read(&input)
                .and_then(|reading| text(&reading, is_required));
            noted(&mut errors, &rule.target, read).flatten()
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

/// The text that a reading is: numbers count rows, so a whole one is taken for a text.
fn text(reading: &LocatedValue<'_>, is_required: bool) -> Result<Option<String>, EvalError> {
    let refused =
        |detail: &str| Err(reading.refused("body", super::function::ValueError::new(detail)));
    match reading.value() {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        None | Some(Value::Null | Value::String(_)) if is_required => {
            refused("The event does not say it, and must.")
        }
        None | Some(Value::Null | Value::String(_)) => Ok(None),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            refused("The value is neither a text nor a whole number.")
        }
    }
}
