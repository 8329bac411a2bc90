//! The items of arrays and the members of objects, each with its place in the event.

use std::rc::Rc;

use super::super::super::budget::key_steps;
use super::super::super::located::PathStep;
use super::{Val, ValContent, ValResult, spend};

impl Val {
    /// Returns the items of an array or the members of an object, each with its place in the event. Absent and null
    /// have no items.
    pub(in crate::mapping::jq) fn items(&self) -> ValResult<Vec<Self>> {
        let items = self.unread_items()?;
        items.iter().for_each(Self::log_read);
        Ok(items)
    }

    /// Returns the items like [`Self::items`], but does not log that the expression reads them: a sum of two values moves
    /// their items, and only a later step reads an item.
    pub(super) fn unread_items(&self) -> ValResult<Vec<Self>> {
        spend(1)?;
        Ok(match &self.content {
            ValContent::Absent(_) | ValContent::Null => Vec::new(),
            ValContent::Array(items, _) => {
                spend(items.len())?;
                let steps = (0..).map(PathStep::Index);
                let placed = |(item, step): (&Self, PathStep)| item.placed_in(self, step);
                items.iter().zip(steps).map(placed).collect()
            }
            ValContent::Object(members, _) => {
                spend(members.len())?;
                // The place of each item contains a copy of the item's name.
                spend(members.keys().map(|key| key_steps(key)).sum())?;
                let placed = |(key, member): (&Rc<str>, &Self)| {
                    member.placed_in(self, PathStep::Key(key.as_ref().to_owned()))
                };
                members.iter().map(placed).collect()
            }
            ValContent::Bool(_)
            | ValContent::Number(_)
            | ValContent::Text(_)
            | ValContent::Error(_) => {
                return Err(self.error("The value here is neither an array nor an object."));
            }
        })
    }

    /// Returns the members of an object with their names.
    pub(in crate::mapping::jq) fn members(&self) -> ValResult<Vec<(Rc<str>, Self)>> {
        match &self.content {
            ValContent::Absent(_) | ValContent::Null => Ok(Vec::new()),
            ValContent::Object(members, _) => {
                Ok(members.keys().cloned().zip(self.items()?).collect())
            }
            ValContent::Bool(_)
            | ValContent::Number(_)
            | ValContent::Text(_)
            | ValContent::Array(..)
            | ValContent::Error(_) => Err(self.error("The value here is not an object.")),
        }
    }
}
