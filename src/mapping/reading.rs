//! What an expression reads from an event.
//!
//! What is read is *absent*, null or a value, and the first two are kept apart all the way: absent means that the event
//! says nothing, null that the source has no value any more. Every reading remembers which place of the event it came
//! from, for faults and explanations.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::function::Refusal;
use crate::event::Fault;

static NULL: Value = Value::Null;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a member of an object.
    Key(String),
    /// Into an item of an array.
    Index(usize),
}

/// What a plan found.
#[derive(Clone)]
pub(super) enum Found<'a> {
    /// The event says nothing.
    Absent,
    /// The event says this; null is "no value any more".
    There(Cow<'a, Value>),
}

/// What a plan found, and the way to the place in the event where it did.
#[derive(Clone)]
pub(super) struct Reading<'a> {
    pub(super) found: Found<'a>,
    /// Borrowed from the expression wherever that goes one way from the top of the event, as nearly all do.
    origin: Cow<'a, [Step]>,
    seen: Option<&'a Seen>,
}

/// The places of an event that were looked at, as JSON Pointers.
#[derive(Debug, Default)]
pub(super) struct Seen(RefCell<BTreeSet<String>>);

impl Seen {
    /// Notes a place.
    pub(super) fn note(&self, pointer: String) {
        self.0.borrow_mut().insert(pointer);
    }

    /// The places without those that were only passed on the way to another one.
    pub(super) fn into_places(self) -> Vec<String> {
        let all = self.0.into_inner();
        let is_passed = |place: &&String| {
            let inside = format!("{place}/");
            let mut next = all.range(inside.clone()..);
            !next.next().is_some_and(|other| other.starts_with(&inside))
        };
        all.iter().filter(is_passed).cloned().collect()
    }
}

/// An event cannot be read as the expression asks.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// `path`, or the name of the function.
    pub(super) rule: &'static str,
    /// The place in the event, as a JSON Pointer.
    pub(super) pointer: String,
    /// Why, without any value.
    pub(super) detail: String,
}

impl<'a> Reading<'a> {
    /// The event itself.
    pub(super) fn whole(event: &'a Value) -> Self {
        Self {
            found: Found::There(Cow::Borrowed(event)),
            origin: Cow::Borrowed(&[]),
            seen: None,
        }
    }

    /// The event itself, with note taken of every place that is looked at.
    pub(super) fn watched(event: &'a Value, seen: &'a Seen) -> Self {
        Self {
            seen: Some(seen),
            ..Self::whole(event)
        }
    }

    /// A value from a place that was found on a way of one's own.
    pub(super) fn from_place(value: Option<Value>, origin: Vec<Step>) -> Self {
        Self {
            found: value.map_or(Found::Absent, |value| Found::There(Cow::Owned(value))),
            origin: Cow::Owned(origin),
            seen: None,
        }
    }

    /// The same as [`Self::from_place`], of the event that `self` is of.
    pub(super) fn moved(&self, value: Option<Value>, origin: Vec<Step>) -> Self {
        Self {
            seen: self.seen,
            ..Self::from_place(value, origin)
        }
    }

    /// What was found, if anything.
    pub(super) fn value(&self) -> Option<&Value> {
        match &self.found {
            Found::Absent => None,
            Found::There(value) => Some(value),
        }
    }

    /// The way to the place.
    pub(super) fn origin(&self) -> impl Iterator<Item = &Step> {
        self.origin.iter()
    }

    /// Who takes note of the places that are looked at.
    pub(super) const fn seen(&self) -> Option<&'a Seen> {
        self.seen
    }

    /// Something else that comes from the same place.
    pub(super) fn with(&self, found: Found<'a>) -> Self {
        Self {
            found,
            origin: self.origin.clone(),
            seen: self.seen,
        }
    }

    /// A new value that comes from the same place.
    pub(super) fn made(&self, value: Value) -> Self {
        self.with(Found::There(Cow::Owned(value)))
    }

    /// The place in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.origin())
    }

    /// A refusal of this reading.
    pub(super) fn refused(&self, rule: &'static str, refusal: Refusal) -> Refused {
        Refused {
            rule,
            pointer: self.pointer(),
            detail: refusal.detail,
        }
    }

    /// Notes the way it has gone.
    fn go(&mut self, steps: &'a [Step]) {
        if self.origin.is_empty() {
            self.origin = Cow::Borrowed(steps);
        } else {
            self.origin.to_mut().extend_from_slice(steps);
        }
    }

    /// Goes down a path. Through absent it stays absent, through null it stays null, and through anything that is
    /// neither an object nor an array, as the step asks, there is no way.
    pub(super) fn walk(mut self, steps: &'a [Step]) -> Result<Self, Refused> {
        for (walked, step) in steps.iter().enumerate() {
            let next = match &self.found {
                Found::Absent => Ok(Found::Absent),
                Found::There(Cow::Borrowed(value)) => step
                    .of(value)
                    .map(|inner| inner.map_or(Found::Absent, |v| Found::There(Cow::Borrowed(v)))),
                Found::There(Cow::Owned(value)) => step.of(value).map(|inner| {
                    inner.map_or(Found::Absent, |v| Found::There(Cow::Owned(v.clone())))
                }),
            };
            self.found = match next {
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

impl Refused {
    /// The fault of an event that it is, found by the rule of that name.
    pub(super) fn into_fault(self, location: &impl ToString) -> Fault {
        Fault {
            pointer: self.pointer,
            rule: self.rule.to_owned(),
            location: location.to_string(),
            detail: self.detail,
        }
    }
}

/// Puts a value where a way of names leads, if it leads anywhere.
pub(super) fn put(event: &mut Value, way: &[Step], value: Value) {
    let place = way.iter().try_fold(event, |place, step| match step {
        Step::Key(key) => place.get_mut(key),
        Step::Index(index) => place.get_mut(index),
    });
    if let Some(place) = place {
        *place = value;
    }
}

/// A way as a JSON Pointer (RFC 6901).
pub(super) fn pointer<'s>(steps: impl Iterator<Item = &'s Step>) -> String {
    let mut pointer = String::new();
    for step in steps {
        pointer.push('/');
        match step {
            Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            // Writing to a `String` cannot fail.
            Step::Index(index) => write!(pointer, "{index}").unwrap_or_default(),
        }
    }
    pointer
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Result<Option<&'v Value>, Refusal> {
        match (self, value) {
            (Self::Key(_) | Self::Index(_), Value::Null) => Ok(Some(&NULL)),
            (Self::Key(key), Value::Object(object)) => Ok(object.get(key)),
            (Self::Index(index), Value::Array(items)) => Ok(items.get(*index)),
            (
                Self::Key(_),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
            ) => Err(Refusal::new("The path goes on, and here is no object.")),
            (
                Self::Index(_),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
            ) => Err(Refusal::new("The path goes on, and here is no array.")),
        }
    }
}
