//! The functions of the expression interpreter that are written in Rust.
//!
//! The operators are functions too, because jaq's own operators do not distinguish an absent value from null. The module
//! [`operator`] has the operators and the functions for conditions.

use std::borrow::Cow;
use std::rc::Rc;

use jaq_core::native::{Fun, bome, v};
use jaq_core::{Bind, Cv, Native, RunPtr, ValT as _};
use serde_json::Value;

use super::super::budget::{OBJECT_STEPS, log, text_steps};
use super::super::comparison::text_part;
use super::super::function::{BinaryCall, FunctionCall};
use super::super::header;
use super::super::located::Assumed;
use super::Interpreter;
use super::value::{JaqError, Val, ValResult, failed, into_jaq_error, spend};

mod operator;
mod stream;

/// The name, the arguments and the code of a native function.
type NativeFunction = (&'static str, Box<[Bind]>, RunPtr<Interpreter>);

/// The error text for an item of a list that `from_entries` cannot read.
const NO_KEY: &str = "The item has no member `key`, and from_entries reads only `key` and `value`. For items of another form, first(.[] | select(.name == \"…\") | .value) reads one of them.";

/// Lists all native functions of the interpreter with their arguments.
///
/// Only the sanitizer and the prelude can call functions whose names begin with `__`. The author of a mapping cannot
/// call these functions.
pub(super) fn functions() -> impl Iterator<Item = Fun<Interpreter>> {
    let table: [NativeFunction; 18] = [
        ("null", v(0), |_| bome(spend(1).map(|()| Val::NULL))),
        ("true", v(0), |_| bome(Ok(Val::from(true)))),
        ("false", v(0), |_| bome(Ok(Val::from(false)))),
        ("__step", v(0), |cv| bome(spend(1).map(|()| cv.1))),
        ("__text", v(2), |mut cv| {
            let (after, before) = (cv.0.pop_var(), cv.0.pop_var());
            bome(joined(&before, &after))
        }),
        ("__call", v(1), |mut cv| bome(run_call(&mut cv))),
        ("__header", v(1), |mut cv| bome(read_header(&mut cv))),
        ("__binary_call", v(3), |mut cv| {
            let (second, first) = (cv.0.pop_var(), cv.0.pop_var());
            bome(run_binary_call(&mut cv, &first, &second))
        }),
        ("split", v(1), |mut cv| {
            let separator = cv.0.pop_var();
            bome(split(&cv.1, &separator))
        }),
        ("join", v(1), |mut cv| {
            let separator = cv.0.pop_var();
            bome(join(&cv.1, &separator))
        }),
        ("length", v(0), |cv| bome(length(&cv.1))),
        ("add", v(0), |cv| bome(sum(&cv.1))),
        ("keys", v(0), |cv| bome(keys(&cv.1))),
        ("to_entries", v(0), |cv| bome(to_entries(&cv.1))),
        ("from_entries", v(0), |cv| bome(from_entries(&cv.1))),
        ("reverse", v(0), |cv| {
            bome(with_items_changed(&cv.1, |items| items.reverse()))
        }),
        ("__sort", v(0), |cv| {
            bome(with_items_changed(&cv.1, |items| {
                *items = sorted(std::mem::take(items));
            }))
        }),
        ("__unique", v(0), |cv| {
            bome(with_items_changed(&cv.1, |items| {
                items.dedup_by(|one, other| one.order(other).is_eq());
            }))
        }),
    ];
    table
        .into_iter()
        .chain(operator::operators())
        .chain(stream::functions())
        .map(|(name, arguments, run)| (name, arguments, Native::<Interpreter>::new(run)))
}

/// Joins two parts of an interpolated text. If one part is absent, the result is absent and has the place of this part.
fn joined(before: &Val, after: &Val) -> ValResult {
    match (part_text(before)?, part_text(after)?) {
        (Some(text), Some(rest)) => {
            let place = if before.is_of_event() { before } else { after };
            Ok(Val::text(&(text + &rest))?.with_origin_of(place))
        }
        (None, _) => Ok(Val::ABSENT.with_origin_of(before)),
        (Some(_), None) => Ok(Val::ABSENT.with_origin_of(after)),
    }
}

/// Converts a value to a part of a text. Returns `None` if the value is absent.
fn part_text(part: &Val) -> Result<Option<String>, JaqError> {
    let value = part.value()?;
    let text = value.as_ref().map(text_part).transpose();
    text.map(|text| text.map(Cow::into_owned))
        .map_err(|error| part.error_of_rule("text", error))
}

/// Runs the mapping function whose index is the first argument.
fn run_call(cv: &mut Cv<'_, Interpreter>) -> ValResult {
    let index = cv.0.pop_var().as_index();
    let call: Option<&FunctionCall> = index.and_then(|index| cv.0.data().calls.get(index));
    let call = call.ok_or_else(unknown_index)?;
    if cv.1.is_hidden() {
        return Ok(cv.1.clone());
    }
    let input = cv.1.located()?;
    let result = call.read(&input).map_err(into_jaq_error)?;
    Ok(Val::from_value(result.value())?.with_origin_of(&cv.1))
}

/// Reads the request header whose index is the first argument.
fn read_header(cv: &mut Cv<'_, Interpreter>) -> ValResult {
    let index = cv.0.pop_var().as_index();
    let data = cv.0.data();
    let name = index.and_then(|index| data.header_names.get(index));
    let name = name.ok_or_else(unknown_index)?;
    log(|| header::place(name));
    let value = data.headers.and_then(|headers| headers.get(name));
    value.map_or(Ok(Val::ABSENT), Val::text)
}

fn run_binary_call(cv: &mut Cv<'_, Interpreter>, first: &Val, second: &Val) -> ValResult {
    let index = cv.0.pop_var().as_index();
    let call: Option<&BinaryCall> = index.and_then(|index| cv.0.data().binary_calls.get(index));
    let call = call.ok_or_else(unknown_index)?;
    let (one, other) = (first.located()?, second.located()?);
    let result = call.read(&one, &other).map_err(into_jaq_error)?;
    Ok(Val::from_value(result.value())?.with_origin_of(first))
}

fn unknown_index() -> JaqError {
    failed("The expression calls a function that it does not have.")
}

fn length(value: &Val) -> ValResult {
    let length = value.len()?;
    length.map_or(Ok(Val::absent(Assumed::Zero)), |length| {
        Ok(Val::from_value(Some(&Value::from(length)))?.with_origin_of(value))
    })
}

/// Adds the items of an array, and leaves out absent items. As in jq, the sum of no items is null.
fn sum(value: &Val) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let items = value.items()?;
    let none = if items.is_empty() {
        Val::NULL
    } else {
        Val::ABSENT
    };
    let mut present = items.into_iter().filter(|item| !item.is_absent());
    let first = present.next().unwrap_or(none);
    present.try_fold(first, |sum, item| sum + item)
}

fn split(value: &Val, by: &Val) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let text = value
        .as_text()
        .ok_or_else(|| value.error("The value here is not a text."))?;
    let by = by.as_text().filter(|by| !by.is_empty());
    let by =
        by.ok_or_else(|| failed("The separator of split is a text of at least one character."))?;
    let piece = |piece| Ok(Val::text(piece)?.with_origin_of(value));
    text.split(by).map(piece).collect()
}

/// Joins the texts of an array and leaves out absent and null items.
///
/// The result is an empty text for an empty array, and null if no item has a text but one item is null. The result is
/// absent if all items are absent.
fn join(value: &Val, by: &Val) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let between = part_text(by)?.unwrap_or_default();
    let items = value.items()?;
    let mut joined: Option<(String, Val)> = None;
    for item in items.iter().filter(|item| !item.is_absent_or_null()) {
        let part = part_text(item)?.unwrap_or_default();
        joined = Some(match joined {
            None => (part, item.clone()),
            Some((mut text, place)) => {
                spend(text_steps(&between))?;
                text.push_str(&between);
                text.push_str(&part);
                // The text has several places: that of the list, unless the expression made the list.
                let place = if value.is_of_event() {
                    value.clone()
                } else {
                    place
                };
                (text, place)
            }
        });
    }
    match joined {
        Some((text, place)) => Ok(Val::text(&text)?.with_origin_of(&place)),
        None if items.is_empty() => Ok(Val::text("")?.with_origin_of(value)),
        None => Ok(items.into_iter().find(Val::is_null).unwrap_or(Val::ABSENT)),
    }
}

fn keys(value: &Val) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let members = value.members()?;
    members
        .into_iter()
        .map(|(key, _member)| Val::text(&key))
        .collect()
}

fn to_entries(value: &Val) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let entry = |(key, member): (Rc<str>, Val)| {
        let key = Val::text(&key)?;
        spend(OBJECT_STEPS)?;
        Ok(Val::object([
            (Rc::from("key"), key),
            (Rc::from("value"), member),
        ]))
    };
    value.members()?.into_iter().map(entry).collect()
}

fn from_entries(value: &Val) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let member = |entry: Val| {
        let key = entry.clone().index(&Val::text("key")?)?;
        if key.is_absent() {
            return Err(entry.error(NO_KEY));
        }
        let name = key
            .as_text()
            .ok_or_else(|| key.error("The name of a member is not a text."))?;
        Ok((Rc::from(name), entry.index(&Val::text("value")?)?))
    };
    let members: Result<Vec<_>, JaqError> = value.items()?.into_iter().map(member).collect();
    Ok(Val::object(members?))
}

fn with_items_changed(value: &Val, change: fn(&mut Vec<Val>)) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let mut items = value.items()?;
    change(&mut items);
    Ok(items.into_iter().collect())
}

/// Sorts values and keeps the order of equal values.
///
/// When no steps are left, the comparison of values treats any two values as equal, so the order can change during the
/// sort. The sort of the standard library can panic if the order changes. This function therefore merges sorted halves.
fn sorted(mut items: Vec<Val>) -> Vec<Val> {
    if items.len() < 2 {
        return items;
    }
    let right = items.split_off(items.len() / 2);
    let mut right = sorted(right).into_iter().peekable();
    let mut merged = Vec::with_capacity(items.len() + right.len());
    for item in sorted(items) {
        while let Some(smaller) = right.next_if(|other| other.order(&item).is_lt()) {
            merged.push(smaller);
        }
        merged.push(item);
    }
    merged.extend(right);
    merged
}
