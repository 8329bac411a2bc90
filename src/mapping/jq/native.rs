//! The functions of the expression interpreter that are written in Rust.

use std::borrow::Cow;
use std::rc::Rc;

use jaq_core::native::{Fun, bome, v};
use jaq_core::{Bind, Cv, Native, RunPtr, ValT as _, ValXs};
use serde_json::Value;

use super::super::budget::{OBJECT_STEPS, take, text_steps};
use super::super::comparison::text_part;
use super::super::function::{BinaryCall, FunctionCall};
use super::Interpreter;
use super::value::{JaqError, Val, ValResult, failed, into_jaq_error, spend};

type NativeFunction = (&'static str, Box<[Bind]>, RunPtr<Interpreter>);

/// Lists all native functions of the interpreter with their arguments.
///
/// Only the sanitizer and the prelude can call functions whose names begin with `__`. The author of a mapping cannot
/// call these functions.
pub(super) fn functions() -> impl Iterator<Item = Fun<Interpreter>> {
    let filters = |n: usize| -> Box<[Bind]> { (0..n).map(|_| Bind::Fun(())).collect() };
    let table: [NativeFunction; 21] = [
        ("null", v(0), |_| bome(spend(1).map(|()| Val::NULL))),
        ("true", v(0), |_| bome(Ok(Val::from(true)))),
        ("false", v(0), |_| bome(Ok(Val::from(false)))),
        ("__absent", v(0), |_| bome(spend(1).map(|()| Val::ABSENT))),
        ("__step", v(0), |cv| bome(spend(1).map(|()| cv.1))),
        ("__is_absent_or_null", v(0), |cv| {
            bome(Ok(Val::from(cv.1.is_absent_or_null())))
        }),
        ("__alternative", filters(2), alternative),
        ("__text", v(2), |mut cv| {
            let (after, before) = (cv.0.pop_var(), cv.0.pop_var());
            bome(joined(&before, &after))
        }),
        ("__call", v(1), |mut cv| bome(run_call(&mut cv))),
        ("__binary_call", v(3), |mut cv| {
            let (second, first) = (cv.0.pop_var(), cv.0.pop_var());
            bome(run_binary_call(&mut cv, &first, &second))
        }),
        ("first", filters(1), |mut cv| {
            let (filter, context) = cv.0.pop_fun();
            Box::new(filter.run((context, cv.1)).next().into_iter())
        }),
        ("has", v(1), |mut cv| {
            let key = cv.0.pop_var();
            let member = cv.1.index(&key);
            bome(member.map(|member| Val::from(!member.is_absent())))
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
        .map(|(name, arguments, run)| (name, arguments, Native::<Interpreter>::new(run)))
}

/// Evaluates `a // b`: returns the true results of `a`, or the results of `b` if `a` has no true result. A result is
/// true if it is neither absent, null nor false.
///
/// As in a compiled plan, an error in `a` makes the whole term fail. If neither `a` nor `b` has a value and one of the
/// two is null, the result is null.
fn alternative(mut cv: Cv<'_, Interpreter>) -> ValXs<'_, Val> {
    let (other, other_context) = cv.0.pop_fun();
    let (first, context) = cv.0.pop_fun();
    let mut results = Vec::new();
    let mut has_null = false;
    for result in first.run((context, cv.1.clone())) {
        take(1);
        match result {
            Ok(value) if value.is_true() => results.push(Ok(value)),
            Ok(value) => has_null |= value.is_null(),
            Err(error) => {
                results.push(Err(error));
                break;
            }
        }
    }
    if !results.is_empty() {
        return Box::new(results.into_iter());
    }
    let others = other.run((other_context, cv.1));
    if !has_null {
        return others;
    }
    let mut others = others.peekable();
    if others.peek().is_none() {
        return bome(Ok(Val::NULL));
    }
    Box::new(
        others.map(|result| result.map(|value| if value.is_absent() { Val::NULL } else { value })),
    )
}

/// Joins two parts of an interpolated text. The result is absent if one part is absent.
fn joined(before: &Val, after: &Val) -> ValResult {
    match (part_text(before)?, part_text(after)?) {
        (Some(before), Some(after)) => Val::text(&(before + &after)),
        (_, _) => Ok(Val::ABSENT),
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
    let input = cv.1.located()?;
    let result = call.read(&input).map_err(into_jaq_error)?;
    Ok(Val::from_value(result.value())?.with_origin_of(&cv.1))
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
    length.map_or(Ok(Val::ABSENT), |length| {
        Val::from_value(Some(&Value::from(length)))
    })
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
    text.split(by).map(Val::text).collect()
}

/// Joins the texts of an array and leaves out absent and null items. The result is absent if no item is left.
fn join(value: &Val, by: &Val) -> ValResult {
    if value.is_absent_or_null() {
        return Ok(value.clone());
    }
    let between = part_text(by)?.unwrap_or_default();
    let mut text: Option<String> = None;
    for item in value.items()? {
        if item.is_absent_or_null() {
            continue;
        }
        let Some(part) = part_text(&item)? else {
            continue;
        };
        text = Some(match text {
            None => part,
            Some(mut text) => {
                spend(text_steps(&between))?;
                text.push_str(&between);
                text.push_str(&part);
                text
            }
        });
    }
    text.map_or(Ok(Val::ABSENT), |text| Val::text(&text))
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
