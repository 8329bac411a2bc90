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

use super::super::super::reading::Step;
use super::run::spend;
use super::{Error, Val, WEIGHT_MAX, What, bounded, failed};

impl ValT for Val {
    fn from_num(text: &str) -> ValR<Self> {
        let number: Result<Number, _> = serde_json::from_str(text);
        number
            .map(|number| Self::made(What::Number(number)))
            .map_err(|_unreadable| failed("A number is not written as in JSON."))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(pairs: I) -> ValR<Self> {
        let mut members = Vec::new();
        let mut all_absent = true;
        for (key, value) in pairs {
            let What::Text(key) = key.what else {
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
        match (&self.what, &index.what) {
            (What::Absent | What::Null, _) => Ok(self),
            (What::Object(members, _), What::Text(key)) => {
                let step = Step::Key(key.as_ref().to_owned());
                let member = members.get(key.as_ref()).cloned().unwrap_or(Self::ABSENT);
                Ok(member.at(&self, step))
            }
            (What::Array(items, _), What::Number(number)) => {
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
                    item.at(&self, Step::Index(place))
                }))
            }
            (_, What::Text(_)) => Err(self.refusal("The path goes on, and here is no object.")),
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
        match &self.what {
            What::Absent | What::Null => Ok(self),
            What::Text(text) => {
                let part: String = text.chars().skip(from).take(taken).collect();
                Self::text(&part)
            }
            What::Array(..) => Ok(self.items()?.into_iter().skip(from).take(taken).collect()),
            What::Bool(_) | What::Number(_) | What::Object(..) | What::Refused(_) => {
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
        Self::made(What::Bool(is_true))
    }
}

impl From<isize> for Val {
    fn from(number: isize) -> Self {
        Self::made(What::Number(Number::from(number)))
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        Self::made(What::Text(Rc::from(text)))
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
        bounded(What::Array(Rc::new(kept), weight), weight)
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
fn whole(left: &What, right: &What, calculate: fn(i64, i64) -> Option<i64>) -> ValR<Val> {
    let number = |what: &What| match what {
        What::Number(number) => number.as_i64(),
        What::Absent
        | What::Null
        | What::Bool(_)
        | What::Text(_)
        | What::Array(..)
        | What::Object(..)
        | What::Refused(_) => None,
    };
    let (Some(left), Some(right)) = (number(left), number(right)) else {
        return Err(failed(
            "Only whole numbers are calculated with, and only like is added to like.",
        ));
    };
    calculate(left, right)
        .map(|result| Val::made(What::Number(result.into())))
        .ok_or_else(|| failed("The result of a calculation is no whole number of 64 bits."))
}

impl Add for Val {
    type Output = ValR<Self>;

    fn add(self, other: Self) -> ValR<Self> {
        match (&self.what, &other.what) {
            (What::Absent, _) => Ok(other),
            (_, What::Absent) => Ok(self),
            (What::Null, _) => Ok(other),
            (_, What::Null) => Ok(self),
            (What::Text(left), What::Text(right)) => Self::text(&format!("{left}{right}")),
            (What::Array(..), What::Array(..)) => {
                let items = self.items()?.into_iter().chain(other.items()?);
                Ok(items.collect())
            }
            (What::Object(left, _), What::Object(right, _)) => {
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
        whole(&self.what, &other.what, i64::checked_sub)
    }
}

impl Mul for Val {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> ValR<Self> {
        whole(&self.what, &other.what, i64::checked_mul)
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
        if let What::Number(number) = &self.what
            && number.is_f64()
            && let Some(number) = number.as_f64().and_then(|number| Number::from_f64(-number))
        {
            return Ok(Self::made(What::Number(number)));
        }
        whole(&What::Number(0.into()), &self.what, i64::checked_sub)
    }
}
