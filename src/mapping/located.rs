//! What an expression reads from an event: a value and the place it came from.
//!
//! *Absent*, null and a value stay apart all the way: absent means that the event says nothing, null means that the
//! source has no value any more. The place is kept for error messages and explanations.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

use super::error::{EvalError, ValueError};
use crate::event::pointer;

static NULL: Value = Value::Null;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    /// Into a member of an object.
    Key(String),
    /// Into an item of an array.
    Index(usize),
}

/// Whether the event has a value.
#[derive(Clone)]
pub(super) enum Presence<'a> {
    /// The event says nothing.
    Absent,
    /// The event has this value; null means "no value any more".
    Present(Cow<'a, Value>),
}

/// A value of an event, or its absence, and the path to its place.
#[derive(Clone)]
pub(super) struct LocatedValue<'a> {
    pub(super) presence: Presence<'a>,
    /// Borrowed from the plan where one path leads here from the top of the event, as nearly all do.
    origin: Cow<'a, [PathStep]>,
    log: Option<&'a ReadLog>,
}

/// The places of an event that were read, as JSON Pointers.
#[derive(Debug, Default)]
pub(super) struct ReadLog(RefCell<BTreeSet<String>>);

impl ReadLog {
    pub(super) fn record(&self, pointer: String) {
        self.0.borrow_mut().insert(pointer);
    }

    /// The places, without those that only led to another one.
    pub(super) fn into_places(self) -> Vec<String> {
        let all = self.0.into_inner();
        let is_innermost = |place: &&String| !pointer::any_inside(&all, place);
        all.iter().filter(is_innermost).cloned().collect()
    }
}

impl<'a> LocatedValue<'a> {
    /// The whole event.
    pub(super) fn of_event(event: &'a Value) -> Self {
        Self {
            presence: Presence::Present(Cow::Borrowed(event)),
            origin: Cow::Borrowed(&[]),
            log: None,
        }
    }

    /// The whole event; `log` records every place that is read.
    pub(super) fn of_logged_event(event: &'a Value, log: &'a ReadLog) -> Self {
        Self {
            log: Some(log),
            ..Self::of_event(event)
        }
    }

    /// An owned value with its path.
    pub(super) fn owned(value: Option<Value>, origin: Vec<PathStep>) -> Self {
        Self {
            presence: value.map_or(Presence::Absent, |value| {
                Presence::Present(Cow::Owned(value))
            }),
            origin: Cow::Owned(origin),
            log: None,
        }
    }

    /// An owned value from another place of the same event.
    pub(super) fn elsewhere(&self, value: Option<Value>, origin: Vec<PathStep>) -> Self {
        Self {
            log: self.log,
            ..Self::owned(value, origin)
        }
    }

    /// The value, unless it is absent.
    pub(super) fn value(&self) -> Option<&Value> {
        match &self.presence {
            Presence::Absent => None,
            Presence::Present(value) => Some(value),
        }
    }

    /// The path to the place.
    pub(super) fn origin(&self) -> impl Iterator<Item = &PathStep> {
        self.origin.iter()
    }

    /// The log of the evaluation, if it has one.
    pub(super) const fn log(&self) -> Option<&'a ReadLog> {
        self.log
    }

    /// Another value with this place as its origin.
    pub(super) fn with(&self, presence: Presence<'a>) -> Self {
        Self {
            presence,
            origin: self.origin.clone(),
            log: self.log,
        }
    }

    /// A new value with this place as its origin.
    pub(super) fn made(&self, value: Value) -> Self {
        self.with(Presence::Present(Cow::Owned(value)))
    }

    /// The place in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.origin())
    }

    /// The error of this value.
    pub(super) fn error(&self, rule: &'static str, error: ValueError) -> EvalError {
        EvalError {
            rule,
            pointer: self.pointer(),
            detail: error.detail,
        }
    }

    fn extend_origin(&mut self, steps: &'a [PathStep]) {
        if self.origin.is_empty() {
            self.origin = Cow::Borrowed(steps);
        } else {
            self.origin.to_mut().extend_from_slice(steps);
        }
    }

    /// Follows a path. Inside what is absent everything is absent, and inside null everything is null. A step into a
    /// value that is no object (no array, for an index) is an error.
    pub(super) fn walk(mut self, steps: &'a [PathStep]) -> Result<Self, EvalError> {
        for (walked, step) in steps.iter().enumerate() {
            self.presence = match self.presence.inner(step) {
                Ok(presence) => presence,
                Err(error) => {
                    self.extend_origin(steps.get(..walked).unwrap_or_default());
                    return Err(self.error("path", error));
                }
            };
        }
        self.extend_origin(steps);
        if let Some(log) = self.log {
            log.record(self.pointer());
        }
        Ok(self)
    }
}

/// Replaces the value at a path, if the path leads to one.
pub(super) fn replace_at(event: &mut Value, path: &[PathStep], value: Value) {
    let place = path.iter().try_fold(event, |place, step| match step {
        PathStep::Key(key) => place.get_mut(key),
        PathStep::Index(index) => place.get_mut(index),
    });
    if let Some(place) = place {
        *place = value;
    }
}

/// A path as a JSON Pointer (RFC 6901).
pub(super) fn pointer<'s>(path: impl Iterator<Item = &'s PathStep>) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            PathStep::Key(key) => pointer::push(&mut text, key),
            PathStep::Index(index) => pointer::push(&mut text, &index.to_string()),
        }
    }
    text
}

impl Presence<'_> {
    fn inner(&self, step: &PathStep) -> Result<Self, ValueError> {
        let inner = match self {
            Self::Absent => None,
            Self::Present(Cow::Borrowed(value)) => step.of(value)?.map(Cow::Borrowed),
            Self::Present(Cow::Owned(value)) => step.of(value)?.cloned().map(Cow::Owned),
        };
        Ok(inner.map_or(Self::Absent, Self::Present))
    }
}

impl PathStep {
    fn of<'v>(&self, value: &'v Value) -> Result<Option<&'v Value>, ValueError> {
        match (self, value) {
            (Self::Key(_) | Self::Index(_), Value::Null) => Ok(Some(&NULL)),
            (Self::Key(key), Value::Object(object)) => Ok(object.get(key)),
            (Self::Index(index), Value::Array(items)) => Ok(items.get(*index)),
            (
                Self::Key(_),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
            ) => Err(ValueError::new(NO_OBJECT)),
            (
                Self::Index(_),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
            ) => Err(ValueError::new(NO_ARRAY)),
        }
    }
}

/// The error of a path that steps into a member of something else.
pub(super) const NO_OBJECT: &str =
    "The path continues into a member, but the value here is not an object.";
/// The error of a path that steps into an item of something else.
pub(super) const NO_ARRAY: &str =
    "The path continues into an item, but the value here is not an array.";
