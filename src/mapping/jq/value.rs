//! The values that jaq works on.
//!
//! They are ours and not jaq's own, so that an expression means the same on both roads: what is absent stays apart from
//! what is null, every value knows the place of the event it came from, and numbers are whole or untouched. They also
//! carry the fence's last bound: looking at values costs steps, of which an expression has a number.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::super::function::Refusal;
use super::super::reading::{Reading, Refused, Step};
use place::Place;
use run::{exhaust, note, spend};

mod operators;
mod order;
mod place;
pub(super) mod run;

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
    what: What,
    place: Option<Rc<Place>>,
}

#[derive(Clone)]
enum What {
    Absent,
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    Array(Rc<Vec<Val>>, usize),
    Object(Rc<BTreeMap<Rc<str>, Val>>, usize),
    /// What an error carries.
    Refused(Rc<Refused>),
}

/// An error that says why an expression cannot be run on the event.
pub(super) fn failed(detail: &str) -> Error {
    refused(Refused {
        rule: RULE,
        pointer: String::new(),
        detail: detail.to_owned(),
    })
}

/// An error that carries a refusal.
pub(super) fn refused(refused: Refused) -> Error {
    Error::new(Val::made(What::Refused(Rc::new(refused))))
}

/// The refusal that an error carries; jaq's own errors would have values in them, so nothing of them is said.
pub(super) fn into_refused(error: Error) -> Refused {
    match error.into_val().what {
        What::Refused(refused) => refused.as_ref().clone(),
        What::Absent
        | What::Null
        | What::Bool(_)
        | What::Number(_)
        | What::Text(_)
        | What::Array(..)
        | What::Object(..) => Refused {
            rule: RULE,
            pointer: String::new(),
            detail: "The expression cannot be run on this event.".to_owned(),
        },
    }
}

impl Val {
    pub(super) const ABSENT: Self = Self::made(What::Absent);
    pub(super) const NULL: Self = Self::made(What::Null);

    const fn made(what: What) -> Self {
        Self { what, place: None }
    }

    /// What an expression begins with.
    pub(super) fn of(input: &Reading<'_>) -> Self {
        let place = input.origin().fold(Rc::new(Place::Event), |outer, step| {
            let step = step.clone();
            Rc::new(Place::Inside { outer, step })
        });
        Self {
            what: input.value().map_or(What::Absent, What::of),
            place: Some(place),
        }
    }

    /// The value and its place, for whoever works on readings.
    pub(super) fn reading<'a>(&self) -> Answer<Reading<'a>> {
        let origin = self.place.as_ref().map(|place| place.way());
        Ok(Reading::from_place(
            self.value()?,
            origin.unwrap_or_default(),
        ))
    }

    /// As [`Self::reading`], with everything else as `input` has it; a new value comes from the place of the input.
    pub(super) fn moved<'a>(&self, input: &Reading<'a>) -> Answer<Reading<'a>> {
        let origin = match &self.place {
            Some(place) => place.way(),
            None => input.origin().cloned().collect(),
        };
        Ok(input.moved(self.value()?, origin))
    }

    /// The value, if it is not absent.
    pub(super) fn value(&self) -> Answer<Option<Value>> {
        Ok(match &self.what {
            What::Absent => None,
            What::Null => Some(Value::Null),
            What::Bool(is_true) => Some(Value::Bool(*is_true)),
            What::Number(number) => Some(Value::Number(number.clone())),
            What::Text(text) => Some(Value::String(text.as_ref().to_owned())),
            What::Array(items, _) => {
                spend(items.len())?;
                // An absent item has no place to leave out: an array says how many there are.
                let item = |item: &Self| Ok(item.value()?.unwrap_or(Value::Null));
                Some(Value::Array(items.iter().map(item).collect::<Answer<_>>()?))
            }
            What::Object(members, _) => {
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
            What::Refused(refused) => {
                return Err(Error::new(Self::made(What::Refused(Rc::clone(refused)))));
            }
        })
    }

    pub(super) fn from_value(value: Option<&Value>) -> Self {
        Self::made(value.map_or(What::Absent, What::of))
    }

    /// The value as one that comes from the place of another one.
    pub(super) fn placed_as(self, other: &Self) -> Self {
        Self {
            what: self.what,
            place: other.place.clone(),
        }
    }

    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.what, What::Absent)
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self.what, What::Null)
    }

    pub(super) const fn is_nothing(&self) -> bool {
        self.is_absent() || self.is_null()
    }

    pub(super) fn is_true(&self) -> bool {
        !matches!(self.what, What::Absent | What::Null | What::Bool(false))
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.what {
            What::Text(text) => Some(text),
            What::Absent
            | What::Null
            | What::Bool(_)
            | What::Number(_)
            | What::Array(..)
            | What::Object(..)
            | What::Refused(_) => None,
        }
    }

    pub(super) fn as_index(&self) -> Option<usize> {
        match &self.what {
            What::Number(number) => number
                .as_u64()
                .and_then(|number| usize::try_from(number).ok()),
            What::Absent
            | What::Null
            | What::Bool(_)
            | What::Text(_)
            | What::Array(..)
            | What::Object(..)
            | What::Refused(_) => None,
        }
    }

    /// The items of an array, each with its place; none of what is absent or null.
    pub(super) fn items(&self) -> Answer<Vec<Self>> {
        let items: Vec<Self> = match &self.what {
            What::Absent | What::Null => Vec::new(),
            What::Array(items, _) => {
                let steps = (0..).map(Step::Index);
                let placed = |(item, step): (&Self, Step)| item.at(self, step);
                items.iter().zip(steps).map(placed).collect()
            }
            What::Object(members, _) => {
                let placed = |(key, member): (&Rc<str>, &Self)| {
                    member.at(self, Step::Key(key.as_ref().to_owned()))
                };
                members.iter().map(placed).collect()
            }
            What::Bool(_) | What::Number(_) | What::Text(_) | What::Refused(_) => {
                return Err(self.refusal("Here is neither an array nor an object to go through."));
            }
        };
        spend(items.len())?;
        Ok(items)
    }

    /// The members of an object with their names.
    pub(super) fn members(&self) -> Answer<Vec<(Rc<str>, Self)>> {
        match &self.what {
            What::Absent | What::Null => Ok(Vec::new()),
            What::Object(members, _) => Ok(members.keys().cloned().zip(self.items()?).collect()),
            What::Bool(_)
            | What::Number(_)
            | What::Text(_)
            | What::Array(..)
            | What::Refused(_) => Err(self.refusal("Here is no object.")),
        }
    }

    pub(super) fn len(&self) -> Answer<Option<usize>> {
        match &self.what {
            What::Absent => Ok(None),
            What::Null => Ok(Some(0)),
            What::Text(text) => Ok(Some(text.chars().count())),
            What::Array(items, _) => Ok(Some(items.len())),
            What::Object(members, _) => Ok(Some(members.len())),
            What::Bool(_) | What::Number(_) | What::Refused(_) => {
                Err(self.refusal("Here is nothing that has a length."))
            }
        }
    }

    /// The value as one that stands inside `parent`.
    fn at(&self, parent: &Self, step: Step) -> Self {
        let place = parent.place.as_ref().map(|outer| {
            let outer = Rc::clone(outer);
            Rc::new(Place::Inside { outer, step })
        });
        if let Some(place) = &place {
            note(|| place.pointer());
        }
        Self {
            what: self.what.clone(),
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
        refused(Refused {
            rule: RULE,
            pointer: self.pointer(),
            detail: detail.to_owned(),
        })
    }

    /// A refusal of this value by a rule of its own.
    pub(super) fn refused_by(&self, rule: &'static str, refusal: Refusal) -> Error {
        refused(Refused {
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
        Ok(Self::made(What::Text(Rc::from(text))))
    }

    pub(super) fn object(members: impl IntoIterator<Item = (Rc<str>, Self)>) -> Self {
        let members: BTreeMap<_, _> = members
            .into_iter()
            .filter(|(_, member)| !member.is_absent())
            .take(WEIGHT_MAX + 1)
            .collect();
        let weight = members.values().map(Self::weight).sum::<usize>() + 1;
        bounded(What::Object(Rc::new(members), weight), weight)
    }

    fn weight(&self) -> usize {
        match &self.what {
            What::Array(_, weight) | What::Object(_, weight) => *weight,
            What::Absent
            | What::Null
            | What::Bool(_)
            | What::Number(_)
            | What::Text(_)
            | What::Refused(_) => 1,
        }
    }
}

/// Something that was put together. If it is too large, all steps are spent and nothing is there: whoever makes values
/// for jaq cannot fail.
fn bounded(what: What, weight: usize) -> Val {
    if weight > WEIGHT_MAX {
        exhaust();
        return Val::ABSENT;
    }
    Val::made(what)
}

impl What {
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
