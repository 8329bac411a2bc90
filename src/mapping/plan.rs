//! A compiled expression, and what it reads from an event.
//!
//! A plan is a tree without loops, so reading ends after as many steps as the expression has. Values are borrowed from
//! the event until something new has to be made of them.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::comparison::{is_true, part, same};
use super::function::FunctionCall;
use super::jq::Program;
use super::located::{EvalError, LocatedValue, PathStep, Presence, pointer};
use super::split::Split;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// `.`
    Input,
    /// `.a.b[0]`, from what the inner plan reads.
    Path(Box<Self>, Vec<PathStep>),
    /// `a | b`
    Pipe(Box<Self>, Box<Self>),
    /// `a // b`: the second where the first is absent, null or false. If neither has a value, null goes before absent,
    /// because one of the two did say that it was cleared. Faults of the first are faults (jq would hide them).
    Otherwise(Box<Self>, Box<Self>),
    /// A constant.
    Literal(Value),
    /// `{a: .x}`: absent members are left out, and an object of which all members are absent is absent itself.
    Object(Vec<(String, Self)>),
    /// A function.
    Call(FunctionCall),
    /// `split(" ") | first`
    Split(Split),
    /// `if a then b elif c then d else e end`
    Choice(Vec<(Self, Self)>, Box<Self>),
    /// `a == b`, or `a != b` where `wanted` is false.
    Same {
        sides: Box<(Self, Self)>,
        wanted: bool,
    },
    /// `a or b`, or `a and b`: the first side is the answer if it is `decisive`.
    Logic {
        sides: Box<(Self, Self)>,
        decisive: bool,
    },
    /// `not`
    Not,
    /// `"a \\(.b)"`: absent where a part is absent, because half a text would be an invention.
    Text(Vec<Self>),
    /// Whatever else jq can say.
    Jq(Arc<Program>),
}

impl Plan {
    /// Reads `input`.
    pub(super) fn read<'a>(
        &'a self,
        input: &LocatedValue<'a>,
    ) -> Result<LocatedValue<'a>, EvalError> {
        match self {
            Self::Input => Ok(input.clone()),
            Self::Path(from, steps) => from.read(input)?.walk(steps),
            Self::Pipe(first, then) => then.read(&first.read(input)?),
            Self::Otherwise(first, other) => otherwise(first.read(input)?, || other.read(input)),
            Self::Literal(value) => Ok(input.with(Presence::Present(Cow::Borrowed(value)))),
            Self::Object(members) => object(members, input),
            Self::Call(call) => call.read(input),
            Self::Split(pieces) => pieces.read(input),
            Self::Choice(branches, otherwise) => choice(branches, otherwise, input),
            Self::Same { sides, wanted } => {
                let (left, right) = (sides.0.read(input)?, sides.1.read(input)?);
                let answer = same(left.value(), right.value()) == *wanted;
                Ok(input.made(Value::Bool(answer)))
            }
            Self::Logic { sides, decisive } => {
                let mut answer = is_true(sides.0.read(input)?.value());
                if answer != *decisive {
                    answer = is_true(sides.1.read(input)?.value());
                }
                Ok(input.made(Value::Bool(answer)))
            }
            Self::Not => Ok(input.made(Value::Bool(!is_true(input.value())))),
            Self::Text(parts) => text(parts, input),
            Self::Jq(program) => program.run(input),
        }
    }
}

impl Plan {
    /// Whether some of it runs on jaq.
    pub(super) fn is_interpreted(&self) -> bool {
        match self {
            Self::Input | Self::Literal(_) | Self::Not | Self::Split(_) => false,
            Self::Jq(_) => true,
            Self::Path(from, _) => from.is_interpreted(),
            Self::Pipe(one, other) | Self::Otherwise(one, other) => {
                one.is_interpreted() || other.is_interpreted()
            }
            Self::Object(members) => members.iter().any(|(_, member)| member.is_interpreted()),
            Self::Call(call) => call
                .terms()
                .is_some_and(|(one, other)| one.is_interpreted() || other.is_interpreted()),
            Self::Choice(branches, otherwise) => {
                let mut plans = branches
                    .iter()
                    .flat_map(|(condition, result)| [condition, result]);
                otherwise.is_interpreted() || plans.any(Self::is_interpreted)
            }
            Self::Same { sides, .. } | Self::Logic { sides, .. } => {
                sides.0.is_interpreted() || sides.1.is_interpreted()
            }
            Self::Text(parts) => parts.iter().any(Self::is_interpreted),
        }
    }

    /// The constants that it can come to.
    pub(super) fn constants(&self) -> Vec<Value> {
        match self {
            Self::Literal(value) => vec![value.clone()],
            Self::Pipe(_, then) => then.constants(),
            Self::Otherwise(first, other) => [first.constants(), other.constants()].concat(),
            Self::Choice(branches, otherwise) => {
                let results = branches.iter().flat_map(|(_, result)| result.constants());
                results.chain(otherwise.constants()).collect()
            }
            Self::Call(call) => call.constants(),
            Self::Input
            | Self::Path(..)
            | Self::Object(_)
            | Self::Same { .. }
            | Self::Logic { .. }
            | Self::Not
            | Self::Text(_)
            | Self::Split(_)
            | Self::Jq(_) => Vec::new(),
        }
    }

    /// Notes the places that it reads in every event.
    pub(super) fn places(&self, places: &mut Vec<String>) {
        self.places_from(&[Vec::new()], places);
    }

    /// Whether all that it reads of an event lies in this member. "No" may also mean that nobody looked closely.
    pub(super) fn stays_in(&self, member: &str) -> bool {
        let mut places = Vec::new();
        let origins = self.places_from(&[Vec::new()], &mut places);
        let (member, inside) = (format!("/{member}"), format!("/{member}/"));
        let is_in = |place: &String| *place == member || place.starts_with(&inside);
        !self.is_interpreted() && !origins.contains(&Vec::new()) && places.iter().all(is_in)
    }

    /// Notes the places, and says where its own result can come from.
    fn places_from(&self, from: &[Vec<PathStep>], places: &mut Vec<String>) -> Vec<Vec<PathStep>> {
        match self {
            Self::Input => from.to_vec(),
            Self::Path(inner, steps) => {
                let from = inner.places_from(from, places);
                let on = |way: Vec<PathStep>| [way, steps.clone()].concat();
                let ways: Vec<_> = from.into_iter().map(on).collect();
                places.extend(ways.iter().map(|way| pointer(way.iter())));
                ways
            }
            Self::Pipe(first, then) => {
                let from = first.places_from(from, places);
                then.places_from(&from, places)
            }
            Self::Otherwise(first, other) => {
                let first = first.places_from(from, places);
                [first, other.places_from(from, places)].concat()
            }
            Self::Choice(branches, otherwise) => {
                let mut ways = otherwise.places_from(from, places);
                for (condition, result) in branches {
                    condition.places_from(from, places);
                    ways.extend(result.places_from(from, places));
                }
                ways
            }
            Self::Call(call) => {
                if let Some((one, other)) = call.terms() {
                    one.places_from(from, places);
                    other.places_from(from, places);
                }
                Vec::new()
            }
            Self::Same { sides, .. } | Self::Logic { sides, .. } => {
                sides.0.places_from(from, places);
                sides.1.places_from(from, places);
                Vec::new()
            }
            Self::Object(members) => {
                for (_, member) in members {
                    member.places_from(from, places);
                }
                Vec::new()
            }
            Self::Text(parts) => {
                for part in parts {
                    part.places_from(from, places);
                }
                Vec::new()
            }
            Self::Literal(_) | Self::Not | Self::Split(_) | Self::Jq(_) => Vec::new(),
        }
    }

    /// How often at most what it reads stands in what it makes: objects and texts can say a thing twice, and one after
    /// the other they double it.
    pub(super) fn copies(&self) -> usize {
        match self {
            Self::Input
            | Self::Literal(_)
            | Self::Call(_)
            | Self::Split(_)
            | Self::Same { .. }
            | Self::Logic { .. }
            | Self::Not
            | Self::Jq(_) => 1,
            Self::Path(from, _) => from.copies(),
            Self::Pipe(first, then) => first.copies().saturating_mul(then.copies()),
            Self::Otherwise(first, other) => first.copies().max(other.copies()),
            Self::Object(members) => {
                let copies = members.iter().map(|(_, member)| member.copies());
                copies.fold(0, usize::saturating_add).max(1)
            }
            Self::Choice(branches, otherwise) => {
                let results = branches.iter().map(|(_, result)| result.copies());
                results.fold(otherwise.copies(), usize::max)
            }
            Self::Text(parts) => {
                let copies = parts.iter().map(Self::copies);
                copies.fold(0, usize::saturating_add).max(1)
            }
        }
    }
}

fn choice<'a>(
    branches: &'a [(Plan, Plan)],
    otherwise: &'a Plan,
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    for (condition, result) in branches {
        if is_true(condition.read(input)?.value()) {
            return result.read(input);
        }
    }
    otherwise.read(input)
}

fn text<'a>(parts: &'a [Plan], input: &LocatedValue<'a>) -> Result<LocatedValue<'a>, EvalError> {
    let mut text = Some(String::new());
    for plan in parts {
        let reading = plan.read(input)?;
        let Some(value) = reading.value() else {
            text = None;
            continue;
        };
        match (part(value), &mut text) {
            (Ok(part), Some(text)) => text.push_str(&part),
            (Ok(_part), None) => {}
            (Err(refusal), _) => return Err(reading.refused("text", refusal)),
        }
    }
    let found = text.map_or(Presence::Absent, |text| {
        Presence::Present(Cow::Owned(Value::String(text)))
    });
    Ok(input.with(found))
}

fn otherwise<'a>(
    first: LocatedValue<'a>,
    other: impl FnOnce() -> Result<LocatedValue<'a>, EvalError>,
) -> Result<LocatedValue<'a>, EvalError> {
    if is_true(first.value()) {
        return Ok(first);
    }
    let was_null = first.value().is_some_and(Value::is_null);
    let other = other()?;
    match &other.found {
        Presence::Absent if was_null => Ok(first),
        Presence::Absent | Presence::Present(_) => Ok(other),
    }
}

fn object<'a>(
    members: &'a [(String, Plan)],
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let mut object = Map::new();
    for (key, plan) in members {
        match plan.read(input)?.found {
            Presence::Absent => {}
            Presence::Present(value) => {
                object.insert(key.clone(), value.into_owned());
            }
        }
    }
    if object.is_empty() && !members.is_empty() {
        return Ok(input.with(Presence::Absent));
    }
    Ok(input.made(Value::Object(object)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::tests::Comes::{Absent, Cleared, Refused, To};
    use crate::mapping::tests::{CANARY, Comes, check};

    #[test]
    fn paths_keep_absent_null_and_values_apart() {
        let open = |expression: &str, v: Value, expected: &Comes| {
            check("metadata.k", expression, Some(v), expected);
        };
        open(".v", json!("x"), &To(json!("x")));
        open(".v.a.b", json!({"a": {"b": 1}}), &To(json!(1)));
        open(".v.\"x y\"", json!({"x y": 1}), &To(json!(1)));
        open(
            ".v[\"x/y\"].z",
            json!({"x/y": {"z": true}}),
            &To(json!(true)),
        );
        open(".v[1].a", json!([0, {"a": 2}]), &To(json!(2)));
        open(".v[7]", json!([0]), &Absent);
        open(".v.a.b", json!({}), &Absent);
        open(".v.a.b", json!({"a": null}), &Cleared);
        open(".v[0].b", Value::Null, &Cleared);
        open(".v.a.b", json!({"a": CANARY}), &Refused("path", "/v/a"));
        open(".v.a.b", json!({"a": [CANARY]}), &Refused("path", "/v/a"));
        open(".v[0]", json!({"0": CANARY}), &Refused("path", "/v"));
        open(
            ".v[\"x/~y\"].z",
            json!({"x/~y": 1}),
            &Refused("path", "/v/x~1~0y"),
        );
        check("metadata.k", ".v.a", None, &Absent);
    }

    #[test]
    fn pipes_alternatives_and_objects_read_as_in_jq() {
        let open = |expression: &str, v: Value, expected: &Comes| {
            check("metadata.k", expression, Some(v), expected);
        };
        open(".v | .a | .b", json!({"a": {"b": 1}}), &To(json!(1)));
        open(".v.a // .v.b", json!({"b": 1}), &To(json!(1)));
        open(".v.a // .v.b", json!({"a": null, "b": 1}), &To(json!(1)));
        open(".v.a // .v.b", json!({"a": false, "b": 1}), &To(json!(1)));
        open(".v.a // .v.b", json!({"a": 0, "b": 1}), &To(json!(0)));
        open(".v.a // .v.b", json!({}), &Absent);
        open(".v.a // .v.b", json!({"a": null}), &Cleared);
        open(".v.a // .v.b", json!({"b": null}), &Cleared);
        open(
            ".v.a.x // .v.b",
            json!({"a": 1, "b": 1}),
            &Refused("path", "/v/a"),
        );
        open(
            "(.v.a // .v.b) | .c.d",
            json!({"b": {"c": 1}}),
            &Refused("path", "/v/b/c"),
        );
        open(
            "{a: .v.x, \"b\": 1}",
            json!({"x": "y"}),
            &To(json!({"a": "y", "b": 1})),
        );
        open(".v | {x, y}", json!({"x": 1}), &To(json!({"x": 1})));
        open(".v | {x, y}", json!({"z": 1}), &Absent);
        open(".v | {x} | .x", json!({"x": 1}), &To(json!(1)));
        open("\"a\\u0062\\\"\"", json!(1), &To(json!("ab\"")));
        open("-1.5", json!(1), &To(json!(-1.5)));
        open("null", json!(1), &Cleared);
        open("true", json!(1), &To(json!(true)));
        open(
            ".v # said by the CRM\n | .a",
            json!({"a": 1}),
            &To(json!(1)),
        );
    }
}
