//! What an expression reads from an event.
//!
//! What is read is *absent*, null or a value, and the first two are kept apart all the way: absent means that the event
//! says nothing, null that the source has no value any more. Every reading remembers which place of the event it came
//! from, for faults and explanations.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

use super::function::ValueError;
use crate::event::{EventError, pointer};

static NULL: Value = Value::Null;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    /// Into a member of an object.
    Key(String),
    /// Into an item of an array.
    Index(usize),
}

/// What a plan found.
#[derive(Clone)]
pub(super) enum Presence<'a> {
    /// The event says nothing.
    Absent,
    /// The event says this; null is "no value any more".
    Present(Cow<'a, Value>),
}

/// What a plan found, and the way to the place in the event where it did.
#[derive(Clone)]
pub(super) struct LocatedValue<'a> {
    pub(super) found: Presence<'a>,
    /// Borrowed from the expression wherever that goes one way from the top of the event, as nearly all do.
    origin: Cow<'a, [PathStep]>,
    seen: Option<&'a ReadLog>,
}

/// The places of an event that were looked at, as JSON Pointers.
#[derive(Debug, Default)]
pub(super) struct ReadLog(RefCell<BTreeSet<String>>);

impl ReadLog {
    /// Notes a place.
    pub(super) fn note(&self, pointer: String) {
        self.0.borrow_mut().insert(pointer);
    }

    /// The places without those that were only passed on the way to another one.
    pub(super) fn into_places(self) -> Vec<String> {
        let all = self.0.into_inner();
        let is_leaf = |place: &&String| !pointer::any_inside(&all, place);
        all.iter().filter(is_leaf).cloned().collect()
    }
}

/// An event cannot be read as the expression asks.
#[derive(Clone, Debug)]
pub(super) struct EvalError {
    /// `path`, or the name of the function.
    pub(super) rule: &'static str,
    /// The place in the event, as a JSON Pointer.
    pub(super) pointer: String,
    /// Why, without any value.
    pub(super) detail: String,
}

impl<'a> LocatedValue<'a> {
    /// The event itself.
    pub(super) fn whole(event: &'a Value) -> Self {
        Self {
            found: Presence::Present(Cow::Borrowed(event)),
            origin: Cow::Borrowed(&[]),
            seen: None,
        }
    }

    /// The event itself, with note taken of every place that is looked at.
    pub(super) fn watched(event: &'a Value, seen: &'a ReadLog) -> Self {
        Self {
            seen: Some(seen),
            ..Self::whole(event)
        }
    }

    /// A value from a place that was found on a way of one's own.
    pub(super) fn from_place(value: Option<Value>, origin: Vec<PathStep>) -> Self {
        Self {
            found: value.map_or(Presence::Absent, |value| {
                Presence::Present(Cow::Owned(value))
            }),
            origin: Cow::Owned(origin),
            seen: None,
        }
    }

    /// The same as [`Self::from_place`], of the event that `self` is of.
    pub(super) fn moved(&self, value: Option<Value>, origin: Vec<PathStep>) -> Self {
        Self {
            seen: self.seen,
            ..Self::from_place(value, origin)
        }
    }

    /// What was found, if anything.
    pub(super) fn value(&self) -> Option<&Value> {
        match &self.found {
            Presence::Absent => None,
            Presence::Present(value) => Some(value),
        }
    }

    /// The way to the place.
    pub(super) fn origin(&self) -> impl Iterator<Item = &PathStep> {
        self.origin.iter()
    }

    /// Who takes note of the places that are looked at.
    pub(super) const fn seen(&self) -> Option<&'a ReadLog> {
        self.seen
    }

    /// Something else that comes from the same place.
    pub(super) fn with(&self, found: Presence<'a>) -> Self {
        Self {
            found,
            origin: self.origin.clone(),
            seen: self.seen,
        }
    }

    /// A new value that comes from the same place.
    pub(super) fn made(&self, value: Value) -> Self {
        self.with(Presence::Present(Cow::Owned(value)))
    }

    /// The place in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.origin())
    }

    /// A refusal of this reading.
    pub(super) fn refused(&self, rule: &'static str, refusal: ValueError) -> EvalError {
        EvalError {
            rule,
            pointer: self.pointer(),
            detail: refusal.detail,
        }
    }

    /// Notes the way it has gone.
    fn go(&mut self, steps: &'a [PathStep]) {
        if self.origin.is_empty() {
            self.origin = Cow::Borrowed(steps);
        } else {
            self.origin.to_mut().extend_from_slice(steps);
        }
    }

    /// Goes down a path. Through absent it stays absent, through null it stays null, and through anything that is
    /// neither an object nor an array, as the step asks, there is no way.
    pub(super) fn walk(mut self, steps: &'a [PathStep]) -> Result<Self, EvalError> {
        for (walked, step) in steps.iter().enumerate() {
            self.found = match self.found.inner(step) {
                Ok(found) => found,
                Err(refusal) => {
                    self.go(steps.get(..walked).unwrap_or_default());
                    return Err(self.refused("path", refusal));
                }
            };
        }
        self.go(steps);
        if let Some(seen) = self.seen {
            seen.note(self.pointer());
        }
        Ok(self)
    }
}

impl EvalError {
    /// The fault of an event that it is, found by the rule of that name.
    pub(super) fn into_fault(self, location: &impl ToString) -> EventError {
        EventError {
            pointer: self.pointer,
            rule: self.rule.to_owned(),
            location: location.to_string(),
            detail: self.detail,
        }
    }
}

/// Puts a value where a way of names leads, if it leads anywhere.
pub(super) fn put(event: &mut Value, way: &[PathStep], value: Value) {
    let place = way.iter().try_fold(event, |place, step| match step {
        PathStep::Key(key) => place.get_mut(key),
        PathStep::Index(index) => place.get_mut(index),
    });
    if let Some(place) = place {
        *place = value;
    }
}

/// A way as a JSON Pointer (RFC 6901).
pub(super) fn pointer<'s>(steps: impl Iterator<Item = &'s PathStep>) -> String {
    let mut text = String::new();
    for step in steps {
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
            ) => Err(ValueError::new("The path goes on, and here is no object.")),
            (
                Self::Index(_),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
            ) => Err(ValueError::new("The path goes on, and here is no array.")),
        }
    }
}
