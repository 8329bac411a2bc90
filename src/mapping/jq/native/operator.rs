//! The operators of the expression interpreter, and its functions that read conditions.
//!
//! An operator that reads an absent value is absent, but a condition reads the result that the operator would have for
//! null. `and`, `or`, `any` and `all` are absent only if everything that they read is absent.

use std::cmp::Ordering;
use std::ops::Add as _;

use jaq_core::native::{bome, v};
use jaq_core::{Bind, Cv, Exn, ValT as _, ValX, ValXs};

use super::super::super::budget::take;
use super::super::super::located::Assumed;
use super::super::super::value_kind::ValueKind;
use super::super::Interpreter;
use super::super::value::notes::{self, ReadNotes};
use super::super::value::{STOPPED, Val, ValResult, failed, spend};
use super::NativeFunction;

/// Lists the operators, and the functions that read conditions.
pub(super) fn operators() -> impl Iterator<Item = NativeFunction> {
    let filter = || Bind::Fun(());
    let table: [NativeFunction; 20] = [
        ("__unless_null", [filter()].into(), |mut cv| {
            let (filter, context) = cv.0.pop_fun();
            if cv.1.is_absent_or_null() {
                bome(Ok(cv.1))
            } else {
                filter.run((context, cv.1))
            }
        }),
        ("__assumed_true", v(0), |_| bome(assumed(Assumed::True))),
        ("__assumed_false", v(0), |_| bome(assumed(Assumed::False))),
        ("__alternative", [filter(), filter()].into(), alternative),
        ("__and", [filter(), filter()].into(), |cv| logic(cv, false)),
        ("__or", [filter(), filter()].into(), |cv| logic(cv, true)),
        ("any", [filter()].into(), |cv| bome(quantified(cv, true))),
        ("all", [filter()].into(), |cv| bome(quantified(cv, false))),
        ("not", v(0), |cv| {
            bome(spend(1).map(|()| Val::truth(!cv.1.is_true(), cv.1.is_absent())))
        }),
        ("has", v(1), |mut cv| {
            let key = cv.0.pop_var();
            bome(has(cv.1, &key))
        }),
        ("__eq", v(2), |cv| compared(cv, Ordering::is_eq)),
        ("__ne", v(2), |cv| compared(cv, Ordering::is_ne)),
        ("__lt", v(2), |cv| compared(cv, Ordering::is_lt)),
        ("__le", v(2), |cv| compared(cv, Ordering::is_le)),
        ("__gt", v(2), |cv| compared(cv, Ordering::is_gt)),
        ("__ge", v(2), |cv| compared(cv, Ordering::is_ge)),
        ("__plus_constant", v(2), |mut cv| {
            let (constant, read) = (cv.0.pop_var(), cv.0.pop_var());
            bome(added(read, constant, Val::add))
        }),
        ("__constant_plus", v(2), |mut cv| {
            let (constant, read) = (cv.0.pop_var(), cv.0.pop_var());
            bome(added(read, constant, |read, constant| constant + read))
        }),
        ("__with_constants", v(2), |mut cv| {
            let (constants, read) = (cv.0.pop_var(), cv.0.pop_var());
            bome(added(read, constants, Val::add))
        }),
        ("__array", [Bind::Var(()), filter()].into(), |cv| {
            Box::new(std::iter::once(array(cv)))
        }),
    ];
    table.into_iter()
}

fn assumed(assumed: Assumed) -> ValResult {
    spend(1).map(|()| Val::absent(assumed))
}

/// Evaluates `a // b`: returns the true results of `a`, or the results of `b` if `a` has no true result. A result is
/// true if a condition with the result is true.
///
/// As in a compiled plan, an error in `a` makes the whole term fail. If neither `a` nor `b` has a value and one of the
/// two is null, the result is null. Each other result of `a` that the term leaves out counts as a condition for the array
/// around it: `[.absent // empty]` states no empty list.
fn alternative(mut cv: Cv<'_, Interpreter>) -> ValXs<'_, Val> {
    let (other, other_context) = cv.0.pop_fun();
    let (first, context) = cv.0.pop_fun();
    let mut results = Vec::new();
    let mut has_null = false;
    for result in first.run((context, cv.1.clone())) {
        take(1);
        match result {
            Ok(value) if value.is_true() => results.push(Ok(value)),
            Ok(value) if value.is_null() => has_null = true,
            Ok(value) => notes::condition(value.is_absent()),
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
    let or_null = |value: Val| {
        if value.says_nothing() {
            Val::NULL
        } else {
            value
        }
    };
    Box::new(others.map(move |result| result.map(or_null)))
}

/// Evaluates `a and b` (`decisive` is false) or `a or b` (`decisive` is true).
fn logic<'a>(mut cv: Cv<'a, Interpreter>, decisive: bool) -> ValXs<'a, Val> {
    let (right, right_context) = cv.0.pop_fun();
    let (left, context) = cv.0.pop_fun();
    let input = cv.1;
    let results = left.run((context, input.clone()));
    Box::new(results.flat_map(move |result| -> ValXs<'a, Val> {
        take(1);
        let left = match result {
            Ok(left) => left,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let is_absent = left.is_absent();
        let mut others = right.run((right_context.clone(), input.clone()));
        if left.is_true() == decisive {
            // jq does not evaluate the second side here, so an error of the second side does not count.
            let states = |other: ValX<'a, Val>| other.is_ok_and(|other| !other.is_absent());
            let is_absent = is_absent && !others.next().is_some_and(states);
            return bome(Ok(Val::truth(decisive, is_absent)));
        }
        let combined =
            move |other: Val| Val::truth(other.is_true(), is_absent && other.is_absent());
        Box::new(others.map(move |other| other.map(combined)))
    }))
}

/// Evaluates `any(f)` (`decisive` is true) or `all(f)` (`decisive` is false), as `or` or `and` of the results of `f`.
fn quantified(mut cv: Cv<'_, Interpreter>, decisive: bool) -> ValResult {
    let (filter, context) = cv.0.pop_fun();
    if cv.1.is_absent() {
        return Ok(Val::absent((!decisive).into()));
    }
    if cv.1.is_null() {
        return Ok(cv.1);
    }
    let items = cv.1.items()?;
    let (mut is_decided, mut is_absent) = (false, !items.is_empty());
    let results = items
        .into_iter()
        .flat_map(|item| filter.run((context.clone(), item)));
    for result in results {
        take(1);
        let result = match result {
            Ok(result) => result,
            // jq does not evaluate a result after the result that decides.
            Err(_uncounted) if is_decided => break,
            Err(error) => return Err(error.get_err().unwrap_or_else(|_halt| failed(STOPPED))),
        };
        is_decided |= result.is_true() == decisive;
        is_absent &= result.is_absent();
        if is_decided && !is_absent {
            break;
        }
    }
    Ok(Val::truth(is_decided == decisive, is_absent))
}

/// Returns true if the object has the member, and otherwise an absent value that a condition reads as false: the
/// missing member states nothing.
/// The error of `has` for a list, whose items have no names.
const LIST_HAS_NO_NAMES: &str = "`has` asks for the name of a member, but the value here is a list. A list contains the text x if any(. == \"x\") is true.";

fn has(object: Val, name: &Val) -> ValResult {
    if object.kind() == ValueKind::List {
        return Err(object.error(LIST_HAS_NO_NAMES));
    }
    let member = object.index(name)?;
    Ok(Val::truth(!member.is_absent(), member.is_absent()))
}

fn compared(mut cv: Cv<'_, Interpreter>, fits: fn(Ordering) -> bool) -> ValXs<'_, Val> {
    let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
    let is_absent = left.is_absent() || right.is_absent();
    bome(Ok(Val::truth(fits(left.order(&right)), is_absent)))
}

/// Adds a constant to a value of the event. The result is absent if the value is absent.
fn added(read: Val, constant: Val, add: fn(Val, Val) -> ValResult) -> ValResult {
    if read.is_absent() {
        Ok(read)
    } else {
        add(read, constant)
    }
}

/// Makes an array of the results of an expression. The first argument is the number of results that are constants.
fn array(mut cv: Cv<'_, Interpreter>) -> ValX<'_, Val> {
    let (filter, context) = cv.0.pop_fun();
    let constants = cv.0.pop_var().as_index().unwrap_or_default();
    let outer = ReadNotes::begin();
    let array: Result<Val, Exn<'_, Val>> = filter.run((context, cv.1)).collect();
    let notes = ReadNotes::end(outer);
    array.map(|array| array.or_absent(constants, notes))
}
