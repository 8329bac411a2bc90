//! The values that jaq works on.
//!
//! They are ours and not jaq's own, so that an expression means the same on both roads: what is absent stays apart from
//! what is null, every value knows the place of the event it came from, and numbers are whole or untouched. They also
//! carry the fence's last bound: looking at values costs steps, of which an expression has a number.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::super::function::ValueError;
use super::super::located::{EvalError, LocatedValue, PathStep};
use budget::{exhaust, note, spend};
use origin::Origin;

pub(super) mod budget;
mod operators;
mod order;
mod origin;

/// The name of the rule that an expression breaks that cannot be run on an event.
pub(super) const RULE: &str = "jq";
/// How many bytes of new text cost one step.
const STEP_BYTES: usize = 64;
/// How many members a value may have that an expression makes, at all depths together; Imprint takes far less.
const WEIGHT_MAX: usize = 4_096;
/// The longest text that an expression may make.
const TEXT_BYTES_MAX: usize = 64 * 1024;

pub(super) type Error = jaq_core::Error<Val>;
type Answer<T> = Result<T, Error>;

/// A value, and the place it came from if it is one of the event's.
#[derive(Clone)]
pub(super) struct Val {
    content: Content,
    place: Option<Rc<Origin>>,
}

#[derive(Clone)]
enum Content {
    Absent,
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    Array(Rc<Vec<Val>>, usize),
    Object(Rc<BTreeMap<Rc<str>, Val>>, usize),
    /// What an error carries.
    Refused(Rc<EvalError>),
}

/// An error that says why an expression cannot be run on the event.
pub(super) fn failed(detail: &str) -> Error {
    refused(EvalError {
        rule: RULE,
        pointer: String::new(),
        detail: detail.to_owned(),
    })
}

/// An error that carries a refusal.
pub(super) fn refused(refused: EvalError) -> Error {
    Error::new(Val::made(Content::Refused(Rc::new(refused))))
}

/// The refusal that an error carries; jaq's own errors would have values in them, so nothing of them is said.
pub(super) fn into_refused(error: Error) -> EvalError {
    match error.into_val().content {
        Content::Refused(refused) => refused.as_ref().clone(),
        Content::Absent
        | Content::Null
        | Content::Bool(_)
        | Content::Number(_)
        | Content::Text(_)
        | Content::Array(..)
        | Content::Object(..) => EvalError {
            rule: RULE,
            pointer: String::new(),
            detail: "The expression cannot be run on this event.".to_owned(),
        },
    }
}

impl Val {
    pub(super) const ABSENT: Self = Self::made(Content::Absent);
    pub(super) const NULL: Self = Self::made(Content::Null);

    const fn made(content: Content) -> Self {
        Self {
            content,
            place: None,
        }
    }

    /// What an expression begins with.
    pub(super) fn of(input: &LocatedValue<'_>) -> Self {
        let place = input.origin().fold(Rc::new(Origin::Event), |outer, step| {
            let step = step.clone();
            Rc::new(Origin::Inside { outer, step })
        });
        Self {
            content: input.value().map_or(Content::Absent, Content::of),
            place: Some(place),
        }
    }

    /// The value and its place, for whoever works on readings.
    pub(super) fn reading<'a>(&self) -> Answer<LocatedValue<'a>> {
        let origin = self.place.as_ref().map(|place| place.way());
        Ok(LocatedValue::from_place(
            self.value()?,
            origin.unwrap_or_default(),
        ))
    }

    /// As [`Self::reading`], with everything else as `input` has it; a new value comes from the place of the input.
    pub(super) fn moved<'a>(&self, input: &LocatedValue<'a>) -> Answer<LocatedValue<'a>> {
        let origin = match &self.place {
            Some(place) => place.way(),
            None => input.origin().cloned().collect(),
        };
        Ok(input.moved(self.value()?, origin))
    }

    /// The value, if it is not absent.
    pub(super) fn value(&self) -> Answer<Option<Value>> {
        Ok(match &self.content {
            Content::Absent => None,
            Content::Null => Some(Value::Null),
            Content::Bool(is_true) => Some(Value::Bool(*is_true)),
            Content::Number(number) => Some(Value::Number(number.clone())),
            Content::Text(text) => Some(Value::String(text.as_ref().to_owned())),
            Content::Array(items, _) => {
                spend(items.len())?;
                // An absent item has no place to leave out: an array says how many there are.
                let item = |item: &Self| Ok(item.value()?.unwrap_or(Value::Null));
                Some(Value::Array(items.iter().map(item).collect::<Answer<_>>()?))
            }
            Content::Object(members, _) => {
                spend(members.len())?;
                let mut object = Map::new();
                for (key, member) in members.iter() {
                    let value = member
                        .value()?
                        .map(|value| (key.as_ref().to_owned(), value));
                    object.extend(value);
                }
                Some(Value::Object(object))
            }
            Content::Refused(refused) => {
                return Err(Error::new(Self::made(Content::Refused(Rc::clone(refused)))));
            }
        })
    }

    pub(super) fn from_value(value: Option<&Value>) -> Self {
        Self::made(value.map_or(Content::Absent, Content::of))
    }

    /// The value as one that comes from the place of another one.
    pub(super) fn placed_as(self, other: &Self) -> Self {
        Self {
            content: self.content,
            place: other.place.clone(),
        }
    }

    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.content, Content::Absent)
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self.content, Content::Null)
    }

    pub(super) const fn is_nothing(&self) -> bool {
        self.is_absent() || self.is_null()
    }

    pub(super) fn is_true(&self) -> bool {
        !matches!(
            self.content,
            Content::Absent | Content::Null | Content::Bool(false)
        )
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Absent
            | Content::Null
            | Content::Bool(_)
            | Content::Number(_)
            | Content::Array(..)
            | Content::Object(..)
            | Content::Refused(_) => None,
        }
    }

    pub(super) fn as_index(&self) -> Option<usize> {
        match &self.content {
            Content::Number(number) => number
                .as_u64()
                .and_then(|number| usize::try_from(number).ok()),
            Content::Absent
            | Content::Null
            | Content::Bool(_)
            | Content::Text(_)
            | Content::Array(..)
            | Content::Object(..)
            | Content::Refused(_) => None,
        }
    }

    /// The items of an array, each with its place; none of what is absent or null.
    pub(super) fn items(&self) -> Answer<Vec<Self>> {
        let items: Vec<Self> = match &self.content {
            Content::Absent | Content::Null => Vec::new(),
            Content::Array(items, _) => {
                let steps = (0..).map(PathStep::Index);
                let placed = |(item, step): (&Self, PathStep)| item.at(self, step);
                items.iter().zip(steps).map(placed).collect()
            }
            Content::Object(members, _) => {
                let placed = |(key, member): (&Rc<str>, &Self)| {
                    member.at(self, PathStep::Key(key.as_ref().to_owned()))
                };
                members.iter().map(placed).collect()
            }
            Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::Refused(_) => {
                return Err(self.refusal("Here is neither an array nor an object to go through."));
            }
        };
        spend(items.len())?;
        Ok(items)
    }

    /// The members of an object with their names.
    pub(super) fn members(&self) -> Answer<Vec<(Rc<str>, Self)>> {
        match &self.content {
            Content::Absent | Content::Null => Ok(Vec::new()),
            Content::Object(members, _) => Ok(members.keys().cloned().zip(self.items()?).collect()),
            Content::Bool(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::Array(..)
            | Content::Refused(_) => Err(self.refusal("Here is no object.")),
        }
    }

    pub(super) fn len(&self) -> Answer<Option<usize>> {
        match &self.content {
            Content::Absent => Ok(None),
            Content::Null => Ok(Some(0)),
            Content::Text(text) => Ok(Some(text.chars().count())),
            Content::Array(items, _) => Ok(Some(items.len())),
            Content::Object(members, _) => Ok(Some(members.len())),
            Content::Bool(_) | Content::Number(_) | Content::Refused(_) => {
                Err(self.refusal("Here is nothing that has a length."))
            }
        }
    }

    /// The value as one that stands inside `parent`.
    fn at(&self, parent: &Self, step: PathStep) -> Self {
        let place = parent.place.as_ref().map(|outer| {
            let outer = Rc::clone(outer);
            Rc::new(Origin::Inside { outer, step })
        });
        if let Some(place) = &place {
            note(|| place.pointer());
        }
        Self {
            content: self.content.clone(),
            // What was put together anew keeps the places of its members.
            place: place.or_else(|| self.place.clone()),
        }
    }

    fn pointer(&self) -> String {
        self.place
            .as_ref()
            .map(|place| place.pointer())
            .unwrap_or_default()
    }

    /// An error about this value.
    pub(super) fn refusal(&self, detail: &str) -> Error {
        refused(EvalError {
            rule: RULE,
            pointer: self.pointer(),
            detail: detail.to_owned(),
        })
    }

    /// A refusal of this value by a rule of its own.
    pub(super) fn refused_by(&self, rule: &'static str, refusal: ValueError) -> Error {
        refused(EvalError {
            rule,
            pointer: self.pointer(),
            detail: refusal.detail,
        })
    }

    /// A new text.
    pub(super) fn text(text: &str) -> Answer<Self> {
        spend(text.len() / STEP_BYTES + 1)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(failed("The expression makes a longer text than it may."));
        }
        Ok(Self::made(Content::Text(Rc::from(text))))
    }

    pub(super) fn object(members: impl IntoIterator<Item = (Rc<str>, Self)>) -> Self {
        let members: BTreeMap<_, _> = members
            .into_iter()
            .filter(|(_, member)| !member.is_absent())
            .take(WEIGHT_MAX + 1)
            .collect();
        let weight = members.values().map(Self::weight).sum::<usize>() + 1;
        bounded(Content::Object(Rc::new(members), weight), weight)
    }

    fn weight(&self) -> usize {
        match &self.content {
            Content::Array(_, weight) | Content::Object(_, weight) => *weight,
            Content::Absent
            | Content::Null
            | Content::Bool(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::Refused(_) => 1,
        }
    }
}

/// Something that was put together. If it is too large, all steps are spent and nothing is there: whoever makes values
/// for jaq cannot fail.
fn bounded(content: Content, weight: usize) -> Val {
    if weight > WEIGHT_MAX {
        exhaust();
        return Val::ABSENT;
    }
    Val::made(content)
}

impl Content {
    /// A value of the event. Its members count as one: they are there already.
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(is_true) => Self::Bool(*is_true),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(Rc::from(text.as_str())),
            Value::Array(items) => {
                let items = items.iter().map(|item| Val::made(Self::of(item)));
                Self::Array(Rc::new(items.collect()), 1)
            }
            Value::Object(object) => {
                let member = |(key, member): (&String, &Value)| {
                    (Rc::from(key.as_str()), Val::made(Self::of(member)))
                };
                Self::Object(Rc::new(object.iter().map(member).collect()), 1)
            }
        }
    }
}

/// Never the value: it is personal data.
impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
}

/// Never the value: it is personal data.
impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Val")
    }
}
