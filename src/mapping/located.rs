//! A value that an expression reads from an event, together with its place in the event.
//!
//! *Absent*, null and a value stay distinct during the whole evaluation of an expression. Absent means that the event
//! says nothing: the event does not contain the path to the value, or the expression has computed the value from absent
//! values only. Null means that the source has no value any more. A null object or list says nothing about its members
//! and items, so a path into null leads to an absent value. Error messages and explanations show the place of the value.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

use super::budget;
use super::compared::ComparedKind;
use super::comparison::is_true;
use super::error::{EvalError, ValueError};
use super::header;
use super::value_kind::{ValueKind, no_list, no_object};
use crate::event::{RequestHeaders, pointer};

mod assumed;

pub(super) use assumed::Assumed;

/// One step of a path into an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathStep {
    /// A step into a member of an object.
    Key(String),
    /// A step into an item of an array.
    Index(usize),
}

/// The presence of a value in an event.
#[derive(Clone)]
pub(super) enum Presence<'a> {
    /// The event says nothing about the value. A condition reads the assumed value instead.
    Absent(Assumed),
    /// The event contains the value. Null means "no value any more".
    Present(Cow<'a, Value>),
}

/// A present or absent value of an event, with the path to the value.
#[derive(Clone)]
pub(super) struct LocatedValue<'a> {
    pub(super) presence: Presence<'a>,
    /// The path to the value, from the top of the event. If the plan contains the whole path, this value borrows the
    /// path from the plan.
    origin: Cow<'a, [PathStep]>,
    context: Option<&'a ReadContext<'a>>,
}

/// What an evaluation can use besides the event.
#[derive(Debug, Default)]
pub(super) struct ReadContext<'a> {
    /// The headers of the request. `None` means that the expression must not read headers.
    pub(super) headers: Option<&'a RequestHeaders>,
    /// The log of the places that the expression reads, if the evaluation has a log.
    pub(super) log: Option<ReadLog>,
}

impl<'a> ReadContext<'a> {
    /// Creates the context of an evaluation without a log.
    pub(super) const fn of_headers(headers: &'a RequestHeaders) -> Self {
        Self {
            headers: Some(headers),
            log: None,
        }
    }

    /// Creates the context of an evaluation that logs the places that it reads.
    pub(super) fn logged(headers: Option<&'a RequestHeaders>) -> Self {
        let log = Some(ReadLog::default());
        Self { headers, log }
    }

    /// Returns the logged comparisons.
    pub(super) fn compared(&self) -> Vec<ComparedKind> {
        let log = self.log.as_ref();
        log.map_or_else(Vec::new, |log| {
            log.compared.borrow().iter().cloned().collect()
        })
    }

    /// Returns the logged places.
    pub(super) fn into_places(self) -> Vec<String> {
        self.log.map(ReadLog::into_places).unwrap_or_default()
    }
}

/// A log of the places that expressions read in an event, as JSON Pointers.
#[derive(Debug, Default)]
pub(super) struct ReadLog {
    places: RefCell<BTreeSet<String>>,
    compared: RefCell<BTreeSet<ComparedKind>>,
}

impl ReadLog {
    pub(super) fn record(&self, pointer: String) {
        self.places.borrow_mut().insert(pointer);
    }

    /// Notes the kinds of a comparison.
    pub(super) fn note_kinds(&self, compared: ComparedKind) {
        self.compared.borrow_mut().insert(compared);
    }

    /// Returns the logged places of an event. Leaves out a path that is only a prefix of another path in the log.
    fn into_places(self) -> Vec<String> {
        let all = self.places.into_inner();
        let is_innermost = |place: &&String| !pointer::any_inside(&all, place);
        all.iter().filter(is_innermost).cloned().collect()
    }
}

impl<'a> LocatedValue<'a> {
    /// Returns the whole event as a located value.
    pub(super) fn of_event(event: &'a Value) -> Self {
        Self {
            presence: Presence::Present(Cow::Borrowed(event)),
            origin: Cow::Borrowed(&[]),
            context: None,
        }
    }

    /// Returns the whole event as a located value, for an evaluation with a context.
    pub(super) fn in_context(event: &'a Value, context: &'a ReadContext<'a>) -> Self {
        Self {
            context: Some(context),
            ..Self::of_event(event)
        }
    }

    /// Creates a located value that owns its JSON value and its path in the event.
    pub(super) fn owned(value: Option<Value>, origin: Vec<PathStep>) -> Self {
        Self {
            presence: Presence::of(value),
            origin: Cow::Owned(origin),
            context: None,
        }
    }

    /// Creates a located value with the given path, in the same event as this value.
    pub(super) fn elsewhere(&self, value: Option<Value>, origin: Vec<PathStep>) -> Self {
        Self {
            context: self.context,
            ..Self::owned(value, origin)
        }
    }

    /// Returns the value, or `None` if the value is absent.
    pub(super) fn value(&self) -> Option<&Value> {
        match &self.presence {
            Presence::Absent(_) => None,
            Presence::Present(value) => Some(value),
        }
    }

    /// Returns whether the event says nothing about this value.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.presence, Presence::Absent(_))
    }

    /// Returns the value that a condition or a comparison reads: the value, or the assumed value of an absent value.
    pub(super) fn compared(&self) -> &Value {
        match &self.presence {
            Presence::Absent(assumed) => assumed.value(),
            Presence::Present(value) => value,
        }
    }

    /// Returns whether a condition with this value is true.
    pub(super) fn is_true(&self) -> bool {
        is_true(self.compared())
    }

    /// Returns the path to the value's place in the event.
    pub(super) fn origin(&self) -> impl Iterator<Item = &PathStep> {
        self.origin.iter()
    }

    /// Returns the log of the places that expressions read, if the evaluation has a log.
    pub(super) fn log(&self) -> Option<&'a ReadLog> {
        self.context.and_then(|context| context.log.as_ref())
    }

    /// Returns the headers of the request, if the expression is allowed to read headers.
    pub(super) fn headers(&self) -> Option<&'a RequestHeaders> {
        self.context.and_then(|context| context.headers)
    }

    /// Returns the value of a request header, which has no place in the event.
    pub(super) fn header(&self, name: &str) -> Self {
        let value = self.headers().and_then(|headers| headers.get(name));
        if let Some(log) = self.log() {
            log.record(header::place(name));
        }
        self.elsewhere(value.map(Value::from), Vec::new())
    }

    /// Creates a present or absent value that has the same place in the event as this value.
    pub(super) fn with(&self, presence: Presence<'a>) -> Self {
        Self {
            presence,
            origin: self.origin.clone(),
            context: self.context,
        }
    }

    /// Creates an absent value that has the same place in the event as this value.
    pub(super) fn absent(&self, assumed: impl Into<Assumed>) -> Self {
        self.with(Presence::Absent(assumed.into()))
    }

    /// Creates a truth value that has the same place in the event as this value. If `is_absent` is true, only conditions
    /// read the truth value.
    pub(super) fn truth(&self, result: bool, is_absent: bool) -> Self {
        if is_absent {
            self.absent(result)
        } else {
            self.made(Value::Bool(result))
        }
    }

    /// Creates a present value that has the same place in the event as this value.
    pub(super) fn made(&self, value: Value) -> Self {
        self.with(Presence::Present(Cow::Owned(value)))
    }

    /// Returns the place of the value in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.origin())
    }

    /// Creates an evaluation error about this value.
    pub(super) fn error(&self, rule: &'static str, error: ValueError) -> EvalError {
        EvalError {
            rule,
            pointer: self.pointer(),
            detail: error.detail,
        }
    }

    /// Takes `steps` from the budget of the event.
    ///
    /// # Errors
    /// Returns an error about this value if the budget does not suffice.
    pub(super) fn charge(&self, steps: usize) -> Result<(), EvalError> {
        if budget::take(steps) {
            Ok(())
        } else {
            Err(self.exceeded())
        }
    }

    /// Creates the error of an expression that exceeds the budget of the event.
    pub(super) fn exceeded(&self) -> EvalError {
        self.error(budget::RULE, ValueError::new(budget::EXCEEDED))
    }

    /// Copies this value. If the expression made the value, the copy takes steps from the budget. A value of the event
    /// stays borrowed and takes no steps.
    pub(super) fn copied(&self) -> Result<Self, EvalError> {
        if let Presence::Present(Cow::Owned(value)) = &self.presence {
            self.charge(budget::value_steps(value))?;
        }
        Ok(self.clone())
    }

    /// Returns the value as owned JSON. If the value is borrowed from the event, the function copies it, and the copy
    /// takes steps from the budget.
    pub(super) fn into_value(self) -> Result<Option<Value>, EvalError> {
        if let Presence::Present(Cow::Borrowed(value)) = &self.presence {
            self.charge(budget::value_steps(value))?;
        }
        Ok(match self.presence {
            Presence::Absent(_) => None,
            Presence::Present(value) => Some(value.into_owned()),
        })
    }

    fn extend_origin(&mut self, steps: &'a [PathStep]) {
        if self.origin.is_empty() {
            self.origin = Cow::Borrowed(steps);
        } else {
            self.origin.to_mut().extend_from_slice(steps);
        }
    }

    /// Follows a path into this value. A path inside an absent value or inside null leads to an absent value, because
    /// null says nothing about its members. A step by name into a value that is not an object is an error. A step by index into a value that
    /// is not an array is an error.
    pub(super) fn walk(mut self, steps: &'a [PathStep]) -> Result<Self, EvalError> {
        let presence = std::mem::replace(&mut self.presence, Presence::of(None));
        self.presence = match presence.inner(steps) {
            Ok(presence) => presence,
            Err((walked, error)) => {
                self.extend_origin(steps.get(..walked).unwrap_or_default());
                return Err(self.error("path", error));
            }
        };
        self.extend_origin(steps);
        if let Some(log) = self.log() {
            log.record(self.pointer());
        }
        Ok(self)
    }
}

/// Replaces the value at a path, if the path exists in the event.
pub(super) fn replace_at(event: &mut Value, path: &[PathStep], value: Value) {
    if let Some(place) = place_at(event, path) {
        *place = value;
    }
}

fn place_at<'v>(value: &'v mut Value, path: &[PathStep]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |place, step| match step {
        PathStep::Key(key) => place.get_mut(key),
        PathStep::Index(index) => place.get_mut(index),
    })
}

/// Follows a path into a value. An error contains the number of steps before the step that fails.
fn follow<'v>(
    value: &'v Value,
    path: &[PathStep],
) -> Result<Option<&'v Value>, (usize, ValueError)> {
    let mut inner = value;
    for (walked, step) in path.iter().enumerate() {
        match step.of(inner).map_err(|error| (walked, error))? {
            Some(next) => inner = next,
            None => return Ok(None),
        }
    }
    Ok(Some(inner))
}

/// Formats a path as a JSON Pointer (RFC 6901).
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
    /// Returns the presence of a value that the expression owns.
    pub(super) fn of(value: Option<Value>) -> Self {
        value.map_or(Self::Absent(Assumed::Null), |value| {
            Self::Present(Cow::Owned(value))
        })
    }

    /// Follows a path. If the expression made the value, the function moves the inner part out of the value and copies
    /// nothing. An error contains the number of steps before the step that fails.
    fn inner(self, path: &[PathStep]) -> Result<Self, (usize, ValueError)> {
        let inner = match self {
            Self::Absent(_) => None,
            Self::Present(Cow::Borrowed(value)) => follow(value, path)?.map(Cow::Borrowed),
            Self::Present(Cow::Owned(mut value)) => {
                follow(&value, path)?;
                place_at(&mut value, path).map(Value::take).map(Cow::Owned)
            }
        };
        Ok(inner.map_or(Self::Absent(Assumed::Null), Self::Present))
    }
}

impl PathStep {
    fn of<'v>(&self, value: &'v Value) -> Result<Option<&'v Value>, ValueError> {
        match (self, value) {
            (Self::Key(_) | Self::Index(_), Value::Null) => Ok(None),
            (Self::Key(key), Value::Object(object)) => Ok(object.get(key)),
            (Self::Index(index), Value::Array(items)) => Ok(items.get(*index)),
            (
                Self::Key(_),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
            ) => Err(ValueError::new(no_object(ValueKind::of(value)))),
            (
                Self::Index(_),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
            ) => Err(ValueError::new(no_list(ValueKind::of(value)))),
        }
    }
}
