//! Functions of the slow road that are written in Rust.

use std::borrow::Cow;
use std::rc::Rc;

use jaq_core::native::{Fun, bome, v};
use jaq_core::{Bind, Cv, Native, RunPtr, ValT as _, ValXs};
use serde_json::Value;

use super::super::comparison::part;
use super::super::function::{Function, FunctionCall};
use super::Interpreter;
use super::value::{Error, Val, failed, refused};

type Answer = Result<Val, Error>;
type NativeFunction = (&'static str, Box<[Bind]>, RunPtr<Interpreter>);

/// All of them, with how many arguments each has. Only the fence writes the ones that begin with `__`.
pub(super) fn functions() -> impl Iterator<Item = Fun<Interpreter>> {
    let filters = |n: usize| -> Box<[Bind]> { (0..n).map(|_| Bind::Fun(())).collect() };
    let table: [NativeFunction; 20] = [
        ("null", v(0), |_| bome(Ok(Val::NULL))),
        ("true", v(0), |_| bome(Ok(Val::from(true)))),
        ("false", v(0), |_| bome(Ok(Val::from(false)))),
        ("__absent", v(0), |_| bome(Ok(Val::ABSENT))),
        ("__is_nothing", v(0), |cv| {
            bome(Ok(Val::from(cv.1.is_nothing())))
        }),
        ("__alternative", filters(2), alternative),
        ("__text", v(2), |mut cv| {
            let (after, before) = (cv.0.pop_var(), cv.0.pop_var());
            bome(joined(&before, &after))
        }),
        ("__call", v(1), |mut cv| {
            let call = called(&mut cv);
            bome(call.and_then(|call| answer(call, &cv.1)))
        }),
        ("__terms", v(3), |mut cv| {
            let (second, first) = (cv.0.pop_var(), cv.0.pop_var());
            let call = called(&mut cv);
            bome(call.and_then(|call| on_terms(call, &first, &second)))
        }),
        ("first", filters(1), |mut cv| {
            let (filter, context) = cv.0.pop_fun();
            Box::new(filter.run((context, cv.1)).next().into_iter())
        }),
        ("has", v(1), |mut cv| {
            let key = cv.0.pop_var();
            let found = cv.1.index(&key);
            bome(found.map(|found| Val::from(!found.is_absent())))
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
            bome(changed(&cv.1, |items| items.reverse()))
        }),
        ("__sort", v(0), |cv| {
            bome(changed(&cv.1, |items| items.sort_by(Val::order)))
        }),
        ("__unique", v(0), |cv| {
            bome(changed(&cv.1, |items| {
                items.dedup_by(|one, other| one.order(other).is_eq());
            }))
        }),
    ];
    table
        .into_iter()
        .map(|(name, arguments, run)| (name, arguments, Native::<Interpreter>::new(run)))
}

/// `a // b`: the results of `a` that are true, or else `b`. As on the compiled road a fault of `a` stays one, and null
/// goes before absent.
fn alternative(mut cv: Cv<'_, Interpreter>) -> ValXs<'_, Val> {
    let (other, other_context) = cv.0.pop_fun();
    let (first, context) = cv.0.pop_fun();
    let mut kept = Vec::new();
    let mut was_null = false;
    for result in first.run((context, cv.1.clone())) {
        match result {
            Ok(value) if value.is_true() => kept.push(Ok(value)),
            Ok(value) => was_null |= value.is_null(),
            Err(error) => {
                kept.push(Err(error));
                break;
            }
        }
    }
    if !kept.is_empty() {
        return Box::new(kept.into_iter());
    }
    let others = other.run((other_context, cv.1));
    if !was_null {
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

/// Two parts of a text; absent if one of them is.
fn joined(before: &Val, after: &Val) -> Answer {
    let text = |place: &Val| -> Result<Option<String>, Error> {
        let value = place.value()?;
        let text = value.as_ref().map(part).transpose();
        text.map(|text| text.map(Cow::into_owned))
            .map_err(|refusal| place.refused_by("text", refusal))
    };
    match (text(before)?, text(after)?) {
        (Some(before), Some(after)) => Val::text(&(before + &after)),
        (_, _) => Ok(Val::ABSENT),
    }
}

/// The function that the fence has put at the place that the first argument names.
fn called<'a>(cv: &mut Cv<'a, Interpreter>) -> Result<&'a FunctionCall, Error> {
    let place = cv.0.pop_var().as_index();
    let calls = cv.0.data().calls;
    place
        .and_then(|place| calls.get(place))
        .ok_or_else(|| failed("There is no such function."))
}

fn answer(call: &FunctionCall, input: &Val) -> Answer {
    let reading = input.reading()?;
    let found = call.read(&reading).map_err(refused)?;
    Ok(Val::from_value(found.value()).placed_as(input))
}

fn on_terms(call: &FunctionCall, first: &Val, second: &Val) -> Answer {
    let Function::Terms { apply, .. } = call.function else {
        return Err(failed("The function has no two terms."));
    };
    let (one, other) = (first.reading()?, second.reading()?);
    let found = call.on_terms(&one, &other, apply).map_err(refused)?;
    Ok(Val::from_value(found.value()).placed_as(first))
}

fn length(value: &Val) -> Answer {
    let length = value.len()?;
    Ok(length.map_or(Val::ABSENT, |length| {
        Val::from_value(Some(&Value::from(length)))
    }))
}

fn split(value: &Val, by: &Val) -> Answer {
    if value.is_nothing() {
        return Ok(value.clone());
    }
    let text = value
        .as_text()
        .ok_or_else(|| value.refusal("Here is no text to split."))?;
    let by = by.as_text().filter(|by| !by.is_empty());
    let by = by.ok_or_else(|| failed("A text is split at a text of at least one character."))?;
    text.split(by).map(Val::text).collect()
}

/// The texts of an array as one; what is absent is left out, of nothing comes nothing, and null is still null.
fn join(value: &Val, by: &Val) -> Answer {
    if value.is_nothing() {
        return Ok(value.clone());
    }
    let mut text: Option<Val> = None;
    for item in value.items()? {
        if item.is_nothing() {
            continue;
        }
        text = Some(match text {
            None => joined(&Val::text("")?, &item)?,
            Some(text) => joined(&joined(&text, by)?, &item)?,
        });
    }
    Ok(text.unwrap_or(Val::ABSENT))
}

fn keys(value: &Val) -> Answer {
    if value.is_nothing() {
        return Ok(value.clone());
    }
    let members = value.members()?;
    members
        .into_iter()
        .map(|(key, _member)| Val::text(&key))
        .collect()
}

fn to_entries(value: &Val) -> Answer {
    if value.is_nothing() {
        return Ok(value.clone());
    }
    let entry = |(key, member): (Rc<str>, Val)| {
        let key = Val::text(&key)?;
        Ok(Val::object([
            (Rc::from("key"), key),
            (Rc::from("value"), member),
        ]))
    };
    value.members()?.into_iter().map(entry).collect()
}

fn from_entries(value: &Val) -> Answer {
    if value.is_nothing() {
        return Ok(value.clone());
    }
    let member = |entry: Val| {
        let key = entry.clone().index(&Val::text("key")?)?;
        let name = key
            .as_text()
            .ok_or_else(|| key.refusal("The name of a member is not a text."))?;
        Ok((Rc::from(name), entry.index(&Val::text("value")?)?))
    };
    let members: Result<Vec<_>, Error> = value.items()?.into_iter().map(member).collect();
    Ok(Val::object(members?))
}

fn changed(value: &Val, change: fn(&mut Vec<Val>)) -> Answer {
    if value.is_nothing() {
        return Ok(value.clone());
    }
    let mut items = value.items()?;
    change(&mut items);
    Ok(items.into_iter().collect())
}
