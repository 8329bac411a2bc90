//! A compiled expression, and what it reads from an event.
//!
//! A plan is a tree without loops, so reading ends after as many steps as the expression has. Values are borrowed from
//! the event until something new has to be made of them.
//!
//! What is read is *absent*, null or a value, and the first two are kept apart all the way: absent means that the event
//! says nothing, null that the source has no value any more. Every reading remembers which place of the event it came
//! from, for faults and explanations.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::function::{Call, Refusal};

static NULL: Value = Value::Null;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// `.`
    Input,
    /// `.a.b[0]`, from what the inner plan reads.
    Path(Box<Self>, Vec<Step>),
    /// `a | b`
    Pipe(Box<Self>, Box<Self>),
    /// `a // b`: the second where the first is absent, null or false. If neither has a value, null goes before absent,
    /// because one of the two did say that it was cleared. Faults of the first are faults (jq would hide them).
    Otherwise(Box<Self>, Box<Self>),
    /// A constant.
    Literal(Value),
    /// `{a: .x}`: absent members are left out, and an object of which all members are absent is absent itself.
    Object(Vec<(String, Self)>),
    /// A function.
    Call(Call),
}

/// One step of a path.
#[derive(Clone, Debug)]
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
    origin: Vec<&'a Step>,
}

/// An event cannot be read as the expression asks.
#[derive(Debug)]
pub(super) struct Refused {
    /// `path`, or the name of the function.
    pub(super) rule: &'static str,
    /// The place in the event, as a JSON Pointer.
    pub(super) pointer: String,
    /// Why, without any value.
    pub(super) detail: String,
}

impl Plan {
    /// Reads `input`.
    pub(super) fn read<'a>(&'a self, input: &Reading<'a>) -> Result<Reading<'a>, Refused> {
        match self {
            Self::Input => Ok(input.clone()),
            Self::Path(from, steps) => from.read(input)?.walk(steps),
            Self::Pipe(first, then) => then.read(&first.read(input)?),
            Self::Otherwise(first, other) => otherwise(first.read(input)?, || other.read(input)),
            Self::Literal(value) => Ok(input.with(Found::There(Cow::Borrowed(value)))),
            Self::Object(members) => object(members, input),
            Self::Call(call) => call.read(input),
        }
    }
}

fn otherwise<'a>(
    first: Reading<'a>,
    other: impl FnOnce() -> Result<Reading<'a>, Refused>,
) -> Result<Reading<'a>, Refused> {
    let was_null = match &first.found {
        Found::There(value) => match value.as_ref() {
            Value::Null => true,
            Value::Bool(false) => false,
            Value::Bool(true)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => return Ok(first),
        },
        Found::Absent => false,
    };
    let other = other()?;
    match &other.found {
        Found::Absent if was_null => Ok(first),
        Found::Absent | Found::There(_) => Ok(other),
    }
}

fn object<'a>(members: &'a [(String, Plan)], input: &Reading<'a>) -> Result<Reading<'a>, Refused> {
    let mut object = Map::new();
    for (key, plan) in members {
        match plan.read(input)?.found {
            Found::Absent => {}
            Found::There(value) => {
                object.insert(key.clone(), value.into_owned());
            }
        }
    }
    if object.is_empty() && !members.is_empty() {
        return Ok(input.with(Found::Absent));
    }
    Ok(input.made(Value::Object(object)))
}

impl<'a> Reading<'a> {
    /// The event itself.
    pub(super) fn whole(event: &'a Value) -> Self {
        Self {
            found: Found::There(Cow::Borrowed(event)),
            origin: Vec::new(),
        }
    }

    /// Something else that comes from the same place.
    pub(super) fn with(&self, found: Found<'a>) -> Self {
        Self {
            found,
            origin: self.origin.clone(),
        }
    }

    /// A new value that comes from the same place.
    pub(super) fn made(&self, value: Value) -> Self {
        self.with(Found::There(Cow::Owned(value)))
    }

    /// The place in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.origin {
            pointer.push('/');
            match step {
                Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
                // Writing to a `String` cannot fail.
                Step::Index(index) => write!(pointer, "{index}").unwrap_or_default(),
            }
        }
        pointer
    }

    /// A refusal of this reading.
    pub(super) fn refused(&self, rule: &'static str, refusal: Refusal) -> Refused {
        Refused {
            rule,
            pointer: self.pointer(),
            detail: refusal.detail,
        }
    }

    /// Goes down a path. Through absent it stays absent, through null it stays null, and through anything that is
    /// neither an object nor an array, as the step asks, there is no way.
    fn walk(mut self, steps: &'a [Step]) -> Result<Self, Refused> {
        for step in steps {
            let next = match &self.found {
                Found::Absent => Ok(Found::Absent),
                Found::There(Cow::Borrowed(value)) => step
                    .of(value)
                    .map(|inner| inner.map_or(Found::Absent, |v| Found::There(Cow::Borrowed(v)))),
                Found::There(Cow::Owned(value)) => step.of(value).map(|inner| {
                    inner.map_or(Found::Absent, |v| Found::There(Cow::Owned(v.clone())))
                }),
            };
            self.found = next.map_err(|refusal| self.refused("path", refusal))?;
            self.origin.push(step);
        }
        Ok(self)
    }
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

/// Whether a value says that there is none: null, or a text without anything but white space.
pub(super) fn is_cleared(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::tests::Comes::{Absent, Cleared, Refused, To};
    use crate::mapping::tests::{CANARY, Comes, check};

    #[test]
    fn paths_keep_absent_null_and_values_apart() {
        let open = |expression: &str, v: Value, expected: &Comes| {
            check("metadata.k", expression, Some(v), expected);
        };
        open(".v", json!("x"), &To(json!("x")));
        open(".v.a.b", json!({"a": {"b": 1}}), &To(json!(1)));
        open(".v.\"x y\"", json!({"x y": 1}), &To(json!(1)));
        open(
            ".v[\"x/y\"].z",
            json!({"x/y": {"z": true}}),
            &To(json!(true)),
        );
        open(".v[1].a", json!([0, {"a": 2}]), &To(json!(2)));
        open(".v[7]", json!([0]), &Absent);
        open(".v.a.b", json!({}), &Absent);
        open(".v.a.b", json!({"a": null}), &Cleared);
        open(".v[0].b", Value::Null, &Cleared);
        open(".v.a.b", json!({"a": CANARY}), &Refused("path", "/v/a"));
        open(".v.a.b", json!({"a": [CANARY]}), &Refused("path", "/v/a"));
        open(".v[0]", json!({"0": CANARY}), &Refused("path", "/v"));
        open(
            ".v[\"x/~y\"].z",
            json!({"x/~y": 1}),
            &Refused("path", "/v/x~1~0y"),
        );
        check("metadata.k", ".v.a", None, &Absent);
    }

    #[test]
    fn pipes_alternatives_and_objects_read_as_in_jq() {
        let open = |expression: &str, v: Value, expected: &Comes| {
            check("metadata.k", expression, Some(v), expected);
        };
        open(".v | .a | .b", json!({"a": {"b": 1}}), &To(json!(1)));
        open(".v.a // .v.b", json!({"b": 1}), &To(json!(1)));
        open(".v.a // .v.b", json!({"a": null, "b": 1}), &To(json!(1)));
        open(".v.a // .v.b", json!({"a": false, "b": 1}), &To(json!(1)));
        open(".v.a // .v.b", json!({"a": 0, "b": 1}), &To(json!(0)));
        open(".v.a // .v.b", json!({}), &Absent);
        open(".v.a // .v.b", json!({"a": null}), &Cleared);
        open(".v.a // .v.b", json!({"b": null}), &Cleared);
        open(
            ".v.a.x // .v.b",
            json!({"a": 1, "b": 1}),
            &Refused("path", "/v/a"),
        );
        open(
            "(.v.a // .v.b) | .c.d",
            json!({"b": {"c": 1}}),
            &Refused("path", "/v/b/c"),
        );
        open(
            "{a: .v.x, \"b\": 1}",
            json!({"x": "y"}),
            &To(json!({"a": "y", "b": 1})),
        );
        open(".v | {x, y}", json!({"x": 1}), &To(json!({"x": 1})));
        open(".v | {x, y}", json!({"z": 1}), &Absent);
        open(".v | {x} | .x", json!({"x": 1}), &To(json!(1)));
        open("\"a\\u0062\\\"\"", json!(1), &To(json!("ab\"")));
        open("-1.5", json!(1), &To(json!(-1.5)));
        open("null", json!(1), &Cleared);
        open("true", json!(1), &To(json!(true)));
        open(
            ".v # said by the CRM\n | .a",
            json!({"a": 1}),
            &To(json!(1)),
        );
    }
}
