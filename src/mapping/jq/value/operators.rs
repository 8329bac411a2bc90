//! What jaq asks of its values: paths, loops, comparisons and arithmetic.
//!
//! Arithmetic is for whole numbers; a fraction would have to be rounded, and money never is. `+` also joins texts,
//! arrays and objects, and passes on the other side where one is absent or null.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Range, Rem, Sub};
use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::{ValR, ValT, ValX};
use serde_json::Number;

use super::super::super::located::PathStep;
use super::budget::spend;
use super::{Content, Error, Val, WEIGHT_MAX, bounded, failed};

impl ValT for Val {
    fn from_num(text: &str) -> ValR<Self> {
        let number: Result<Number, _> = serde_json::from_str(text);
        number
            .map(|number| Self::made(Content::Number(number)))
            .map_err(|_unreadable| failed("A number is not written as in JSON."))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(pairs: I) -> ValR<Self> {
        let mut members = Vec::new();
        let mut all_absent = true;
        for (key, value) in pairs {
            let Content::Text(key) = key.content else {
                return Err(failed("The name of a member is not a text."));
            };
            all_absent &= value.is_absent();
            members.push((key, value));
        }
        if all_absent && !members.is_empty() {
            return Ok(Self::ABSENT);
        }
        Ok(Self::object(members))
    }

    fn key_values(self) -> jaq_core::box_iter::BoxIter<'static, ValR<(Self, Self), Self>> {
        Box::new(std::iter::once(Err(failed("Paths are not values here."))))
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        match self.items() {
            Ok(items) => Box::new(items.into_iter().map(Ok)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        match (&self.content, &index.content) {
            (Content::Absent | Content::Null, _) => Ok(self),
            (Content::Object(members, _), Content::Text(key)) => {
                let step = PathStep::Key(key.as_ref().to_owned());
                let member = members.get(key.as_ref()).cloned().unwrap_or(Self::ABSENT);
                Ok(member.at(&self, step))
            }
            (Content::Array(items, _), Content::Number(number)) => {
                let from_the_end = |number: i64| {
                    let back = usize::try_from(number.unsigned_abs()).ok()?;
                    items.len().checked_sub(back)
                };
                let place = match number.as_i64() {
                    Some(number) if number < 0 => from_the_end(number),
                    Some(number) => usize::try_from(number).ok(),
                    None => None,
                };
                let found = place.and_then(|place| Some((items.get(place)?, place)));
                Ok(found.map_or(Self::ABSENT, |(item, place)| {
                    item.at(&self, PathStep::Index(place))
                }))
            }
            (_, Content::Text(_)) => Err(self.refusal("The path goes on, and here is no object.")),
            (_, _) => Err(self.refusal("The path goes on, and here is no array.")),
        }
    }

    fn range(self, range: Range<Option<&Self>>) -> ValR<Self> {
        let bound = |bound: Option<&Self>, open: usize| {
            let number = bound.map(|bound| {
                bound
                    .as_index()
                    .ok_or_else(|| failed("A range is from and to item numbers from 0 up."))
            });
            number.unwrap_or(Ok(open))
        };
        let (from, upto) = (bound(range.start, 0)?, bound(range.end, usize::MAX)?);
        let taken = upto.saturating_sub(from);
        match &self.content {
            Content::Absent | Content::Null => Ok(self),
            Content::Text(text) => {
                let part: String = text.chars().skip(from).take(taken).collect();
                Self::text(&part)
            }
            Content::Array(..) => Ok(self.items()?.into_iter().skip(from).take(taken).collect()),
            Content::Bool(_) | Content::Number(_) | Content::Object(..) | Content::Refused(_) => {
                Err(self.refusal("Here is neither a text nor an array to take a part of."))
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
        self.is_true()
    }

    /// Never asked: the fence writes texts with parts in them in another way.
    fn into_string(self) -> Self {
        self
    }
}

/// The fence lets no update pass.
fn unchangeable() -> Error {
    failed("An event is never changed.")
}

impl From<bool> for Val {
    fn from(is_true: bool) -> Self {
        Self::made(Content::Bool(is_true))
    }
}

impl From<isize> for Val {
    fn from(number: isize) -> Self {
        Self::made(Content::Number(Number::from(number)))
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        Self::made(Content::Text(Rc::from(text)))
    }
}

/// Only paths that are values have ranges in them, and the fence lets none pass.
impl From<Range<Option<Self>>> for Val {
    fn from(_range: Range<Option<Self>>) -> Self {
        Self::ABSENT
    }
}

impl FromIterator<Self> for Val {
    /// No more is taken than a value may have, whatever more there would be.
    fn from_iter<I: IntoIterator<Item = Self>>(items: I) -> Self {
        let mut weight = 1;
        let mut kept = Vec::new();
        for item in items {
            weight += item.weight();
            if weight > WEIGHT_MAX {
                break;
            }
            kept.push(item);
        }
        bounded(Content::Array(Rc::new(kept), weight), weight)
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

/// The result of a calculation with two whole numbers.
fn whole(left: &Content, right: &Content, calculate: fn(i64, i64) -> Option<i64>) -> ValR<Val> {
    let number = |content: &Content| match content {
        Content::Number(number) => number.as_i64(),
        Content::Absent
        | Content::Null
        | Content::Bool(_)
        | Content::Text(_)
        | Content::Array(..)
        | Content::Object(..)
        | Content::Refused(_) => None,
    };
    let (Some(left), Some(right)) = (number(left), number(right)) else {
        return Err(failed(
            "Only whole numbers are calculated with, and only like is added to like.",
        ));
    };
    calculate(left, right)
        .map(|result| Val::made(Content::Number(result.into())))
        .ok_or_else(|| failed("The result of a calculation is no whole number of 64 bits."))
}

impl Add for Val {
    type Output = ValR<Self>;

    fn add(self, other: Self) -> ValR<Self> {
        match (&self.content, &other.content) {
            (Content::Absent, _) => Ok(other),
            (_, Content::Absent) => Ok(self),
            (Content::Null, _) => Ok(other),
            (_, Content::Null) => Ok(self),
            (Content::Text(left), Content::Text(right)) => Self::text(&format!("{left}{right}")),
            (Content::Array(..), Content::Array(..)) => {
                let items = self.items()?.into_iter().chain(other.items()?);
                Ok(items.collect())
            }
            (Content::Object(left, _), Content::Object(right, _)) => {
                spend(left.len() + right.len())?;
                let members = left.iter().chain(right.iter());
                Ok(Self::object(
                    members.map(|(key, member)| (Rc::clone(key), member.clone())),
                ))
            }
            (left, right) => whole(left, right, i64::checked_add),
        }
    }
}

impl Sub for Val {
    type Output = ValR<Self>;

    fn sub(self, other: Self) -> ValR<Self> {
        whole(&self.content, &other.content, i64::checked_sub)
    }
}

impl Mul for Val {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> ValR<Self> {
        whole(&self.content, &other.content, i64::checked_mul)
    }
}

impl Div for Val {
    type Output = ValR<Self>;

    /// The fence lets no division pass.
    fn div(self, _other: Self) -> ValR<Self> {
        Err(failed("Nothing is divided here."))
    }
}

impl Rem for Val {
    type Output = ValR<Self>;

    /// The fence lets no division pass.
    fn rem(self, _other: Self) -> ValR<Self> {
        Err(failed("Nothing is divided here."))
    }
}

impl Neg for Val {
    type Output = ValR<Self>;

    fn neg(self) -> ValR<Self> {
        if let Content::Number(number) = &self.content
            && number.is_f64()
            && let Some(number) = number.as_f64().and_then(|number| Number::from_f64(-number))
        {
            return Ok(Self::made(Content::Number(number)));
        }
        whole(&Content::Number(0.into()), &self.content, i64::checked_sub)
    }
}
