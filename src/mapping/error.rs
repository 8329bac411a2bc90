//! Errors in mapping rules, and errors of evaluating a mapping expression on an event.
//!
//! No evaluation error contains a value of the event, because values are personal data.

use std::fmt;

use serde_json::Value;

use super::number;
use crate::event::EventError;

/// One error in the rules of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The target of the wrong expression: an Imprint field, or a mapping rule such as `version` or
    /// `customer.imprint_id`.
    pub target: String,
    /// The wrong expression. Empty if the error does not concern the expression of the target.
    pub expression: String,
    /// The line number of the error in the expression, counted from 1.
    pub line: usize,
    /// The column number of the error in its line, in characters, counted from 1.
    pub column: usize,
    /// A sentence that describes the error and how to correct the expression.
    pub reason: String,
}

/// Formats the error without its target, because the key of the setting names the target.
impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            expression,
            line,
            column,
            reason,
            ..
        } = self;
        f.write_str(reason)?;
        if expression.is_empty() {
            return Ok(());
        }
        write!(f, " (line {line}, column {column} of `{expression}`)")
    }
}

/// The reason why the mapping refuses a value, without the place of the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ValueError {
    /// The description of the error, in one sentence.
    pub(super) detail: String,
    pub(super) argument: Argument,
}

/// The wrong argument in a call of a function with two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    First,
    Second,
}

impl ValueError {
    /// Creates an error about the input of a function, or about the first of two arguments.
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            argument: Argument::First,
        }
    }

    /// Creates an error about the second of two arguments of a function.
    pub(super) fn of_second(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            argument: Argument::Second,
        }
    }
}

/// Describes a value of a wrong type, or a text without the wanted form. `wanted` is what the value should be.
pub(super) fn other_type(value: &Value, wanted: &str) -> String {
    let (found, remedy) = match value {
        Value::String(_) => return format!("The value is not {wanted}."),
        Value::Null => ("null", ""),
        Value::Bool(_) => ("true or false", ""),
        Value::Number(_) if wanted == "a text" => (
            "a number",
            " The function text makes a text of a whole number. If the event has a text here, leave out the function whole. If the number is a time, the function moment makes one, such as moment(\"s\").",
        ),
        Value::Number(_) => ("a number", ""),
        Value::Array(_) => (
            "a list",
            " The function first takes the first item of a list. If the list is a pair of the values before and after a change, take the value after it. An `if` without `else` returns its input.",
        ),
        Value::Object(_) => (
            "an object",
            " Write the path of one of its members; an `if` without `else` returns its input.",
        ),
    };
    format!("The value is {found}, not {wanted}.{remedy}")
}

/// Describes a value that is neither a text nor a whole number.
pub(super) fn no_text_or_number(value: &Value) -> String {
    match (value, number::not_whole(value)) {
        (_, Some(reason)) => reason.to_owned(),
        (Value::Array(_) | Value::Object(_), None) => other_type(value, "a text or a whole number"),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), None) => {
            "The value is neither a text nor a whole number.".to_owned()
        }
    }
}

/// The reason why the evaluation of a mapping expression failed, and the place of the wrong value in the event.
#[derive(Clone, Debug)]
pub(super) struct EvalError {
    /// The name of the broken rule: `path`, `jq`, the name of a function, or the name of a value format.
    pub(super) rule: &'static str,
    /// The place of the error in the event, as a JSON Pointer.
    pub(super) pointer: String,
    /// The description of the error, in one sentence without any value of the event.
    pub(super) detail: String,
}

impl EvalError {
    /// Converts an evaluation error to an error of the event. `location` names the mapping rule.
    pub(super) fn into_event_error(self, location: &impl ToString) -> EventError {
        EventError {
            pointer: self.pointer,
            rule: self.rule.to_owned(),
            location: location.to_string(),
            detail: self.detail,
        }
    }

    /// Converts the error of a value that the field skips. The error does not advise to skip the value.
    pub(super) fn into_skipped_error(mut self, location: &impl ToString) -> EventError {
        if let Some(end) = self.detail.find(SKIP_ADVICE) {
            self.detail.truncate(end);
        }
        self.into_event_error(location)
    }
}

/// The beginning of the advice to skip an invalid value.
const SKIP_ADVICE: &str = " If the source sends such texts, on_invalid";
