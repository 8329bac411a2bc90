//! The functions of the expression interpreter that decide about the results of an expression: how many there are, and
//! what an error does.
//!
//! An expression without a result is absent. In an operand or a condition, the interpreter therefore reads one absent
//! value: otherwise the whole term around the operand would have no result, and the event would lose other values.

use std::iter;

use jaq_core::native::bome;
use jaq_core::{Bind, Cv, Exn, ValXs};

use super::super::super::budget::take;
use super::super::super::located::Assumed;
use super::super::Interpreter;
use super::super::value::Val;
use super::super::value::notes;
use super::NativeFunction;

/// Lists the functions that decide about the results of an expression.
pub(super) fn functions() -> impl Iterator<Item = NativeFunction> {
    let filter = || Bind::Fun(());
    let table: [NativeFunction; 6] = [
        ("first", [filter()].into(), first),
        ("__some", [filter()].into(), some),
        ("__try", [filter(), filter()].into(), try_catch),
        ("__optional", [filter()].into(), |cv| {
            optional(cv, Assumed::Hidden)
        }),
        ("__optional_event", [filter()].into(), |cv| {
            optional(cv, Assumed::Null)
        }),
        ("__events", [].into(), events),
    ];
    table.into_iter()
}

/// Evaluates `first(f)`: returns the first result of `f` that is not the result of `t?` after an error.
fn first(mut cv: Cv<'_, Interpreter>) -> ValXs<'_, Val> {
    let (filter, context) = cv.0.pop_fun();
    let mut hidden = None;
    for result in filter.run((context, cv.1)) {
        match result {
            Ok(value) if value.is_hidden() => {
                take(1);
                hidden = Some(Ok(value));
            }
            result => return Box::new(iter::once(result)),
        }
    }
    Box::new(hidden.into_iter())
}

/// Returns the results of an expression, or one absent value if the expression has no result.
fn some(mut cv: Cv<'_, Interpreter>) -> ValXs<'_, Val> {
    let (filter, context) = cv.0.pop_fun();
    take(1);
    let mut results = filter.run((context, cv.1));
    match results.next() {
        Some(first) => Box::new(iter::once(first).chain(results)),
        None => bome(Ok(Val::ABSENT)),
    }
}

/// Evaluates `t?`: if `t` fails before its first result, the result is one absent value at the place of the input.
///
/// An error after the first result stays an error: without it, a list of results would end early, and nobody would
/// notice.
fn optional(mut cv: Cv<'_, Interpreter>, assumed: Assumed) -> ValXs<'_, Val> {
    let (filter, context) = cv.0.pop_fun();
    let input = cv.1.clone();
    let mut results = filter.run((context, cv.1));
    match results.next() {
        Some(Err(error)) => match error.get_err() {
            Ok(_hidden) => bome(Ok(Val::absent(assumed).with_origin_of(&input))),
            Err(halt) => Box::new(iter::once(Err(halt))),
        },
        Some(first) => Box::new(iter::once(first).chain(results)),
        None => Box::new(iter::empty()),
    }
}

/// Evaluates `try t catch c`. As for `t?`, an error after the first result of `t` stays an error.
fn try_catch(mut cv: Cv<'_, Interpreter>) -> ValXs<'_, Val> {
    let (caught, caught_context) = cv.0.pop_fun();
    let (tried, context) = cv.0.pop_fun();
    let mut results = tried.run((context, cv.1));
    match results.next() {
        Some(Err(error)) => match error.get_err() {
            Ok(error) => caught.run((caught_context, error.into_val())),
            Err(halt) => Box::new(iter::once(Err(halt))),
        },
        Some(first) => Box::new(iter::once(first).chain(results)),
        None => Box::new(iter::empty()),
    }
}

/// Evaluates `.[]` for the events of a body. Only a list has events.
fn events(cv: Cv<'_, Interpreter>) -> ValXs<'_, Val> {
    use jaq_core::ValT as _;
    if cv.1.is_list() {
        Box::new(
            cv.1.values()
                .map(|item| item.inspect(notes::event_item).map_err(Exn::from)),
        )
    } else if cv.1.is_absent() {
        bome(Err(cv.1.error("The body must have a list here.")))
    } else {
        bome(Err(cv.1.error("The value here must be a list.")))
    }
}
