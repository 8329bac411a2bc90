//! Converts JSON to the interpreter's values and back. Each conversion takes steps from the budget.

use std::rc::Rc;

use serde_json::Value;

use super::super::super::budget::{self, key_steps};
use super::super::super::located::{LocatedValue, Presence};
use super::origin::Origin;
use super::{JaqError, Val, ValContent, ValResult, spend};

impl Val {
    /// Converts the input of an interpreted expression to an interpreter value.
    pub(in crate::mapping::jq) fn of(input: &LocatedValue<'_>) -> ValResult {
        spend(input.value().map_or(1, budget::value_steps))?;
        let origin = input.origin().fold(Rc::new(Origin::Event), |outer, step| {
            let step = step.clone();
            Rc::new(Origin::Inside { outer, step })
        });
        Ok(Self {
            content: match &input.presence {
                Presence::Absent(assumed) => ValContent::Absent(*assumed),
                Presence::Present(value) => ValContent::of(value),
            },
            origin: Some(origin),
        })
    }

    /// Converts an interpreter value to a located value, with its place in the event.
    pub(in crate::mapping::jq) fn located<'a>(&self) -> ValResult<LocatedValue<'a>> {
        let steps = self.origin.as_ref().map_or(0, |origin| origin.steps());
        spend(steps)?;
        let origin = self.origin.as_ref().map(|origin| origin.path());
        let located = LocatedValue::owned(self.value()?, origin.unwrap_or_default());
        Ok(self.assume(located))
    }

    /// Converts an interpreter value to a located value, like [`Self::located`]. A value that the expression created
    /// gets the place of `input`.
    pub(in crate::mapping::jq) fn located_in<'a>(
        &self,
        input: &LocatedValue<'a>,
    ) -> ValResult<LocatedValue<'a>> {
        let origin = match &self.origin {
            Some(origin) => origin.path(),
            None => input.origin().cloned().collect(),
        };
        Ok(self.assume(input.elsewhere(self.value()?, origin)))
    }

    /// Gives the located form of this value the value that conditions read.
    fn assume<'a>(&self, located: LocatedValue<'a>) -> LocatedValue<'a> {
        if let ValContent::Absent(assumed) = &self.content {
            return located.absent(*assumed);
        }
        located
    }

    /// Converts an interpreter value to JSON. Returns `None` if the value is absent.
    pub(in crate::mapping::jq) fn value(&self) -> ValResult<Option<Value>> {
        spend(self.steps())?;
        Ok(match &self.content {
            ValContent::Absent(_) => None,
            ValContent::Null => Some(Value::Null),
            ValContent::Bool(is_true) => Some(Value::Bool(*is_true)),
            ValContent::Number(number) => Some(Value::Number(number.clone())),
            ValContent::Text(text) => Some(Value::String(text.as_ref().to_owned())),
            ValContent::Array(items, _) => {
                // An absent item becomes null in the JSON array, so that the later items keep their positions.
                let item = |item: &Self| Ok(item.value()?.unwrap_or(Value::Null));
                Some(Value::Array(
                    items.iter().map(item).collect::<ValResult<_>>()?,
                ))
            }
            ValContent::Object(members, _) => {
                let member = |(key, member): (&Rc<str>, &Self)| {
                    spend(key_steps(key))?;
                    let value = member.value()?;
                    Ok(value.map(|value| (key.as_ref().to_owned(), value)))
                };
                // The members are sorted, so a map of all of them at once compares each key once. Long keys with the same
                // beginning make a comparison expensive.
                let members = members.iter().map(member).filter_map(Result::transpose);
                Some(Value::Object(members.collect::<ValResult<_>>()?))
            }
            ValContent::Error(error) => {
                return Err(JaqError::new(Self::made(ValContent::Error(Rc::clone(
                    error,
                )))));
            }
        })
    }

    pub(in crate::mapping::jq) fn from_value(value: Option<&Value>) -> ValResult {
        spend(value.map_or(1, budget::value_steps))?;
        Ok(value.map_or(Self::ABSENT, |value| Self::made(ValContent::of(value))))
    }
}

impl ValContent {
    /// Converts a value of the event for the interpreter. For the size limit, a value of the event counts as one
    /// member, because the expression has not created the members of this value.
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
