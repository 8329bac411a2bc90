//! The operations that jaq requires of the interpreter's values: paths, loops, comparisons and arithmetic.
//!
//! Arithmetic accepts whole numbers only: a fraction would need rounding, and the bridge never rounds money. `+` also
//! joins texts, arrays and objects. If one side of an operator is absent, the result is absent. Two exceptions are an
//! array or an object plus an absent value: the result is the array or the object. If one side of `+` is null, the
//! result is the other side.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Range, Rem, Sub};
use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::{ValR, ValT, ValX};
use serde_json::Number;

use super::super::super::budget::{OBJECT_STEPS, take, text_steps};
use super::super::super::located::PathStep;
use super::super::super::value_kind::{no_list, no_object};
use super::notes::{self, AbsentMember};
use super::{JaqError, Val, ValContent, WEIGHT_MAX, bounded, failed, spend};

impl ValT for Val {
    fn from_num(text: &str) -> ValR<Self> {
        spend(1)?;
        let number: Result<Number, _> = serde_json::from_str(text);
        number
            .map(|number| Self::made(ValContent::Number(number)))
            .map_err(|_unreadable| failed("A number in the expression is not written as in JSON."))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(pairs: I) -> ValR<Self> {
        spend(OBJECT_STEPS)?;
        let mut members = Vec::new();
        // An object of absent members has the place of its first member, so that an error names this place.
        let mut absent: Option<Self> = None;
        let mut all_absent = true;
        let mut absent_members = Vec::new();
        for (key, value) in pairs {
            let ValContent::Text(key) = key.content else {
                return Err(failed("The name of a member is not a text."));
            };
            all_absent &= value.is_absent();
            absent.get_or_insert_with(|| Self::ABSENT.with_origin_of(&value));
            if value.is_absent() && value.is_of_event() {
                absent_members.push(AbsentMember {
                    name: Rc::clone(&key),
                    value: value.clone(),
                });
            }
            members.push((key, value));
        }
        if !absent_members.is_empty() {
            notes::absent_members(absent_members);
        }
        if let Some(absent) = absent.filter(|_| all_absent) {
            return Ok(absent);
        }
        Ok(Self::object(members))
    }

    fn key_values(self) -> jaq_core::box_iter::BoxIter<'static, ValR<(Self, Self), Self>> {
        Box::new(std::iter::once(Err(failed(
            "Paths are not values in this language.",
        ))))
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        if self.is_absent() {
            notes::absent_list();
        } else if self.is_null() {
            notes::null_list();
        }
        match self.items() {
            Ok(items) => {
                notes::iteration(&self, items.is_empty());
                Box::new(items.into_iter().map(Ok))
            }
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        spend(1)?;
        if self.is_hidden() {
            return Ok(self);
        }
        match (&self.content, &index.content) {
            (ValContent::Absent(_) | ValContent::Null, ValContent::Text(key)) => {
                Ok(Self::ABSENT.at(&self, PathStep::Key(key.as_ref().to_owned())))
            }
            (ValContent::Absent(_) | ValContent::Null, _) => {
                Ok(index.as_index().map_or(Self::ABSENT, |index| {
                    Self::ABSENT.at(&self, PathStep::Index(index))
                }))
            }
            (ValContent::Object(members, _), ValContent::Text(key)) => {
                let step = PathStep::Key(key.as_ref().to_owned());
                let member = members.get(key.as_ref()).cloned().unwrap_or(Self::ABSENT);
                Ok(member.at(&self, step))
            }
            (ValContent::Array(items, _), ValContent::Number(number)) => {
                let from_the_end = |number: i64| {
                    let back = usize::try_from(number.unsigned_abs()).ok()?;
                    items.len().checked_sub(back)
                };
                let index = match number.as_i64() {
                    Some(number) if number < 0 => from_the_end(number),
                    Some(number) => usize::try_from(number).ok(),
                    None => None,
                };
                Ok(index.map_or(Self::ABSENT, |index| {
                    let item = items.get(index).cloned().unwrap_or(Self::ABSENT);
                    item.at(&self, PathStep::Index(index))
                }))
            }
            (_, ValContent::Text(_)) => Err(self.error(&no_object(self.kind()))),
            (_, _) => Err(self.error(&no_list(self.kind()))),
        }
    }

    fn range(self, range: Range<Option<&Self>>) -> ValR<Self> {
        let bound = |bound: Option<&Self>, open: usize| {
            let number = bound.map(|bound| {
                bound
                    .as_index()
                    .ok_or_else(|| failed("The bounds of a range are item numbers from 0 up."))
            });
            number.unwrap_or(Ok(open))
        };
        let (from, to) = (bound(range.start, 0)?, bound(range.end, usize::MAX)?);
        let taken = to.saturating_sub(from);
        match &self.content {
            ValContent::Absent(_) | ValContent::Null => Ok(self),
            ValContent::Text(text) => {
                spend(text_steps(text))?;
                let part: String = text.chars().skip(from).take(taken).collect();
                Ok(Self::text(&part)?.with_origin_of(&self))
            }
            ValContent::Array(..) => Ok(self.items()?.into_iter().skip(from).take(taken).collect()),
            ValContent::Bool(_)
            | ValContent::Number(_)
            | ValContent::Object(..)
            | ValContent::Error(_) => {
                Err(self.error("The value here is neither a text nor an array."))
            }
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        _opt: Opt,
        _change: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        Err(unchangeable().into())
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        _index: &Self,
        _opt: Opt,
        _change: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        Err(unchangeable().into())
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        _range: Range<Option<&Self>>,
        _opt: Opt,
        _change: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        Err(unchangeable().into())
    }

    fn as_bool(&self) -> bool {
        // This function cannot return an error. If too few steps are left, the end of the run reports the error.
        take(1);
        notes::condition(self.is_absent());
        self.is_true()
    }

    /// jaq never calls `into_string`, because the sanitizer replaces interpolated texts by calls of `__text`.
    fn into_string(self) -> Self {
        self
    }
}

/// Creates the error for a jq assignment (`|=`), which the sanitizer does not allow.
fn unchangeable() -> JaqError {
    failed("An expression cannot change an event.")
}

impl From<bool> for Val {
    fn from(is_true: bool) -> Self {
        take(1);
        Self::made(ValContent::Bool(is_true))
    }
}

impl From<isize> for Val {
    fn from(number: isize) -> Self {
        take(1);
        Self::made(ValContent::Number(Number::from(number)))
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        take(text_steps(&text));
        Self::made(ValContent::Text(Rc::from(text)))
    }
}

/// jaq never uses this conversion. jaq would need the conversion only for paths as values, and the sanitizer does not
/// allow paths as values.
impl From<Range<Option<Self>>> for Val {
    fn from(_range: Range<Option<Self>>) -> Self {
        Self::ABSENT
    }
}

impl FromIterator<Self> for Val {
    /// Collects items into an array, and stops at the first item that makes the array too large.
    fn from_iter<I: IntoIterator<Item = Self>>(items: I) -> Self {
        let mut weight = 1;
        let mut taken = Vec::new();
        for item in items {
            weight += item.weight();
            if weight > WEIGHT_MAX {
                break;
            }
            taken.push(item);
        }
        take(taken.len());
        bounded(ValContent::Array(Rc::new(taken), weight), weight)
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        self.order(other).is_eq()
    }
}

impl PartialOrd for Val {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.order(other))
    }
}

/// Calculates with two whole numbers.
fn whole(left: &Val, right: &Val, calculate: fn(i64, i64) -> Option<i64>) -> ValR<Val> {
    spend(1)?;
    if left.is_absent() || right.is_absent() {
        return Ok(Val::ABSENT);
    }
    let number = |content: &ValContent| match content {
        ValContent::Number(number) => number.as_i64(),
        ValContent::Absent(_)
        | ValContent::Null
        | ValContent::Bool(_)
        | ValContent::Text(_)
        | ValContent::Array(..)
        | ValContent::Object(..)
        | ValContent::Error(_) => None,
    };
    let place = |of: &dyn Fn(&Val) -> bool| if of(left) { left } else { right };
    let is_wrong = |side: &Val| number(&side.content).is_none();
    let (Some(one), Some(other)) = (number(&left.content), number(&right.content)) else {
        return Err(place(&is_wrong).error(
            "Arithmetic takes whole numbers; `+` also takes two texts, two arrays or two objects.",
        ));
    };
    let result = calculate(one, other).map(|result| Val::made(ValContent::Number(result.into())));
    let is_of_event = |side: &Val| side.origin.is_some();
    let side = place(&is_of_event);
    result
        .map(|result| result.with_origin_of(side))
        .ok_or_else(|| {
            side.error("The result of the calculation is not a whole number of 64 bits.")
        })
}

impl Add for Val {
    type Output = ValR<Self>;

    fn add(self, other: Self) -> ValR<Self> {
        spend(1)?;
        match (&self.content, &other.content) {
            (ValContent::Absent(_), ValContent::Array(..) | ValContent::Object(..)) => Ok(other),
            (ValContent::Array(..) | ValContent::Object(..), ValContent::Absent(_)) => Ok(self),
            (ValContent::Absent(_), _) => Ok(Self::ABSENT.with_origin_of(&self)),
            (_, ValContent::Absent(_)) => Ok(Self::ABSENT.with_origin_of(&other)),
            (ValContent::Null, _) => Ok(other),
            (_, ValContent::Null) => Ok(self),
            (ValContent::Text(left), ValContent::Text(right)) => {
                spend(text_steps(left) + text_steps(right))?;
                let text = Self::text(&format!("{left}{right}"))?;
                Ok(text.with_origin_of(if self.origin.is_some() { &self } else { &other }))
            }
            (ValContent::Array(..), ValContent::Array(..)) => {
                let items = self
                    .unread_items()?
                    .into_iter()
                    .chain(other.unread_items()?);
                Ok(items.collect())
            }
            (ValContent::Object(left, _), ValContent::Object(right, _)) => {
                spend(OBJECT_STEPS)?;
                let names = left.keys().chain(right.keys()).cloned();
                let members = self
                    .unread_items()?
                    .into_iter()
                    .chain(other.unread_items()?);
                Ok(Self::object(names.zip(members)))
            }
            (_, _) => whole(&self, &other, i64::checked_add),
        }
    }
}

impl Sub for Val {
    type Output = ValR<Self>;

    fn sub(self, other: Self) -> ValR<Self> {
        whole(&self, &other, i64::checked_sub)
    }
}

impl Mul for Val {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> ValR<Self> {
        whole(&self, &other, i64::checked_mul)
    }
}

impl Div for Val {
    type Output = ValR<Self>;

    /// jaq never calls `div`, because the sanitizer allows no division.
    fn div(self, _other: Self) -> ValR<Self> {
        Err(failed("The language has no division."))
    }
}

impl Rem for Val {
    type Output = ValR<Self>;

    /// jaq never calls `rem`, because the sanitizer allows no remainder (`%`).
    fn rem(self, _other: Self) -> ValR<Self> {
        Err(failed("The language has no division."))
    }
}

impl Neg for Val {
    type Output = ValR<Self>;

    fn neg(self) -> ValR<Self> {
        if let ValContent::Number(number) = &self.content
            && number.is_f64()
            && let Some(number) = number.as_f64().and_then(|number| Number::from_f64(-number))
        {
            return Ok(Self::made(ValContent::Number(number)));
        }
        let zero = Self::made(ValContent::Number(0.into()));
        whole(&zero, &self, i64::checked_sub)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::budget::{begin_event, is_exceeded};
    use super::*;

    fn number(number: isize) -> Val {
        Val::from(number)
    }

    fn text(bytes: usize) -> Val {
        Val::from("x".repeat(bytes))
    }

    fn object(members: Range<isize>) -> Val {
        let name = |member: isize| Rc::from(member.to_string());
        Val::object(members.map(|member| (name(member), number(member))))
    }

    /// Returns the smallest budget that suffices for `left + right`.
    fn steps_of_sum(left: &Val, right: &Val) -> Option<u32> {
        (0..100).find(|steps| {
            begin_event(*steps);
            (left.clone() + right.clone()).is_ok()
        })
    }

    /// FAULTS N91: a sum takes one step for each 64 bytes that it reads or makes, and one for each object and member
    /// that it reads.
    #[test]
    fn a_sum_takes_steps_for_its_bytes_and_members() {
        begin_event(u32::MAX);
        let numbers = (number(1), number(2));
        let texts = (text(64), text(128));
        let objects = (object(0..2), object(2..5));
        assert_eq!(steps_of_sum(&numbers.0, &numbers.1), Some(2));
        assert_eq!(steps_of_sum(&texts.0, &texts.1), Some(1 + 2 + 3 + 4));
        let reads = (1 + 2) + (1 + 3);
        let made = u32::try_from(OBJECT_STEPS).unwrap();
        assert_eq!(steps_of_sum(&objects.0, &objects.1), Some(1 + reads + made));
    }

    /// jaq compares values by the traits of the language, which must give the order of jq.
    #[test]
    fn values_are_compared_by_their_order() {
        begin_event(u32::MAX);
        assert!(number(1) == number(1));
        assert!(number(1) != number(2));
        assert!(number(1) < number(2) && text(1) > number(2));
    }

    /// FAULTS N91: an expression cannot collect an array of any size.
    #[test]
    fn an_array_of_too_many_items_exceeds_the_budget() {
        begin_event(u32::MAX);
        let items = |count: usize| std::iter::repeat_with(|| number(1)).take(count);
        let largest: Val = items(WEIGHT_MAX - 1).collect();
        assert_eq!(largest.len().unwrap(), Some(WEIGHT_MAX - 1));
        assert!(!is_exceeded());
        let larger: Val = items(WEIGHT_MAX).collect();
        assert!(larger.is_absent());
        assert!(is_exceeded());
    }
}
