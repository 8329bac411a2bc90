//! The errors of evaluating an expression on an event.
//!
//! No error here contains a value of the event: values are personal data.

use crate::event::EventError;

/// The reason why a value is not accepted, without the place of the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ValueError {
    /// One sentence.
    pub(super) detail: String,
    pub(super) argument: Argument,
}

/// Which of two arguments an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    First,
    Second,
}

impl ValueError {
    /// Creates an error of the input, or of the first of two arguments.
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            argument: Argument::First,
        }
    }

    /// Creates an error of the second of two arguments.
    pub(super) fn of_second(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            argument: Argument::Second,
        }
    }
}

/// The reason why an expression cannot be evaluated, and the place in the event.
#[derive(Clone, Debug)]
pub(super) struct EvalError {
    /// `path`, `jq`, the name of the function or of the value format.
    pub(super) rule: &'static str,
    /// The place in the event, as a JSON Pointer.
    pub(super) pointer: String,
    /// One sentence, without any value.
    pub(super) detail: String,
}

impl EvalError {
    /// Converts to an error of the event. `location` names the rule of the mapping.
    pub(super) fn into_event_error(self, location: &impl ToString) -> EventError {
        EventError {
            pointer: self.pointer,
            rule: self.rule.to_owned(),
            location: location.to_string(),
            detail: self.detail,
        }
    }
}
