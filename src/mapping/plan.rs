//! The compiled form of a mapping expression, and its evaluation on an event.
//!
//! A plan is a tree without loops, so an evaluation visits each node of the plan at most once. An evaluation borrows
//! values from the event, and allocates memory only for new values. New values take steps from the budget of the event.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::budget;
use super::comparison::{is_true, same, text_part};
use super::error::EvalError;
use super::function::{BinaryCall, FunctionCall};
use super::jq::Program;
use super::located::{LocatedValue, PathStep, Presence, pointer};
use super::split::Split;

/// A compiled expression of the mapping language.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// The input of the plan: `.`
    Input,
    /// A path that starts at the result of the inner plan: `.a.b[0]`
    Path(Box<Self>, Vec<PathStep>),
    /// A pipe: `a | b`
    Pipe(Box<Self>, Box<Self>),
    /// An alternative: `a // b` returns `b` if `a` is absent, null or false. If neither `a` nor `b` has a value and one
    /// of the two is null, the result is null, because the event clears the field. If `a` has an error, the plan fails
    /// (jq would hide the error).
    Alternative(Box<Self>, Box<Self>),
    /// A constant: `"text"`, `7`, `true`, `null`
    Literal(Value),
    /// An object: `{a: .x}` leaves out absent members. An object is absent if all its members are absent.
    Object(Vec<(String, Self)>),
    /// A call of a mapping function on the input of the plan.
    Call(FunctionCall),
    /// A call of a mapping function on the values of two expressions.
    BinaryCall(BinaryCall, Box<(Self, Self)>),
    /// A selection of pieces of a text: `split(" ") | first`
    Split(Split),
    /// A conditional: `if a then b elif c then d else e end`
    Conditional(Vec<(Self, Self)>, Box<Self>),
    /// A comparison: `a == b`, or `a != b`.
    Compare {
        sides: Box<(Self, Self)>,
        expects_equal: bool,
    },
    /// A logical term: `a or b`, or `a and b`. If the first side has the truth value `decisive`, the result is
    /// `decisive`, and the bridge does not evaluate the second side.
    Logic {
        sides: Box<(Self, Self)>,
        decisive: bool,
    },
    /// The logical negation of the input: `not`
    Not,
    /// A text that contains values of expressions: `"a \\(.b)"`. If one of these values is absent, the whole text is
    /// absent, because a text without the value would be invented data.
    Interpolation(Vec<Self>),
    /// A term that jaq interprets.
    Interpreted(Arc<Program>),
}

impl Plan {
    /// Evaluates the compiled plan on `input`.
    pub(super) fn read<'a>(
        &'a self,
        input: &LocatedValue<'a>,
    ) -> Result<LocatedValue<'a>, EvalError> {
        match self {
            Self::Input => input.copied(),
            Self::Path(from, steps) => from.read(input)?.walk(steps),
            Self::Pipe(first, then) => then.read(&first.read(input)?),
            Self::Alternative(first, other) => {
                alternative(first.read(input)?, || other.read(input))
            }
            Self::Literal(value) => Ok(input.with(Presence::Present(Cow::Borrowed(value)))),
            Self::Object(members) => object(members, input),
            Self::Call(call) => call.read(input),
            Self::BinaryCall(call, expressions) => binary_call(*call, expressions, input),
            Self::Split(split) => split.read(input),
            Self::Conditional(branches, otherwise) => conditional(branches, otherwise, input),
            Self::Compare {
                sides,
                expects_equal,
            } => compare(sides, *expects_equal, input),
            Self::Logic { sides, decisive } => logic(sides, *decisive, input),
            Self::Not => Ok(input.made(Value::Bool(!is_true(input.value())))),
            Self::Interpolation(parts) => interpolation(parts, input),
            Self::Interpreted(program) => program.run(input),
        }
    }
}

impl Plan {
    /// Returns whether jaq interprets a part of the plan.
    pub(super) fn is_interpreted(&self) -> bool {
        match self {
            Self::Input | Self::Literal(_) | Self::Not | Self::Split(_) | Self::Call(_) => false,
            Self::Interpreted(_) => true,
            Self::Path(from, _) => from.is_interpreted(),
            Self::Pipe(one, other) | Self::Alternative(one, other) => {
                one.is_interpreted() || other.is_interpreted()
            }
            Self::Object(members) => members.iter().any(|(_, member)| member.is_interpreted()),
            Self::Conditional(branches, otherwise) => {
                let mut plans = branches
                    .iter()
                    .flat_map(|(condition, result)| [condition, result]);
                otherwise.is_interpreted() || plans.any(Self::is_interpreted)
            }
            Self::BinaryCall(_, sides)
            | Self::Compare { sides, .. }
            | Self::Logic { sides, .. } => sides.0.is_interpreted() || sides.1.is_interpreted(),
            Self::Interpolation(parts) => parts.iter().any(Self::is_interpreted),
        }
    }

    /// Returns the constants that can be the result of the plan.
    pub(super) fn constants(&self) -> Vec<Value> {
        match self {
            Self::Literal(value) => vec![value.clone()],
            Self::Pipe(_, then) => then.constants(),
            Self::Alternative(first, other) => [first.constants(), other.constants()].concat(),
            Self::Conditional(branches, otherwise) => {
                let results = branches.iter().flat_map(|(_, result)| result.constants());
                results.chain(otherwise.constants()).collect()
            }
            Self::Call(call) => call.constants(),
            Self::Input
            | Self::Path(..)
            | Self::Object(_)
            | Self::BinaryCall(..)
            | Self::Compare { .. }
            | Self::Logic { .. }
            | Self::Not
            | Self::Interpolation(_)
            | Self::Split(_)
            | Self::Interpreted(_) => Vec::new(),
        }
    }

    /// Adds every place that the plan can read in an event to `places`, as a JSON Pointer.
    pub(super) fn add_places(&self, places: &mut Vec<String>) {
        self.places_from(&[Vec::new()], places);
    }

    /// Adds to `places` every place that the plan can read if its input comes from one of the places in `from`. Returns
    /// the places from which the result of the plan can come.
    fn places_from(&self, from: &[Vec<PathStep>], places: &mut Vec<String>) -> Vec<Vec<PathStep>> {
        match self {
            Self::Input => from.to_vec(),
            Self::Path(inner, steps) => {
                let from = inner.places_from(from, places);
                let extended = |path: Vec<PathStep>| [path, steps.clone()].concat();
                let paths: Vec<_> = from.into_iter().map(extended).collect();
                places.extend(paths.iter().map(|path| pointer(path.iter())));
                paths
            }
            Self::Pipe(first, then) => {
                let from = first.places_from(from, places);
                then.places_from(&from, places)
            }
            Self::Alternative(first, other) => {
                let first = first.places_from(from, places);
                [first, other.places_from(from, places)].concat()
            }
            Self::Conditional(branches, otherwise) => {
                let mut paths = otherwise.places_from(from, places);
                for (condition, result) in branches {
                    condition.places_from(from, places);
                    paths.extend(result.places_from(from, places));
                }
                paths
            }
            Self::BinaryCall(_, sides)
            | Self::Compare { sides, .. }
            | Self::Logic { sides, .. } => {
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
            Self::Interpolation(parts) => {
                for part in parts {
                    part.places_from(from, places);
                }
                Vec::new()
            }
            Self::Literal(_)
            | Self::Not
            | Self::Call(_)
            | Self::Split(_)
            | Self::Interpreted(_) => Vec::new(),
        }
    }

    /// Returns the maximum number of copies of the input in the result of the plan.
    ///
    /// Objects and texts can copy the input several times. The number of copies in a pipe is the product of the numbers
    /// for the two sides of the pipe.
    pub(super) fn copies(&self) -> usize {
        match self {
            Self::Input
            | Self::Literal(_)
            | Self::Call(_)
            | Self::BinaryCall(..)
            | Self::Split(_)
            | Self::Compare { .. }
            | Self::Logic { .. }
            | Self::Not
            | Self::Interpreted(_) => 1,
            Self::Path(from, _) => from.copies(),
            Self::Pipe(first, then) => first.copies().saturating_mul(then.copies()),
            Self::Alternative(first, other) => first.copies().max(other.copies()),
            Self::Object(members) => {
                let copies = members.iter().map(|(_, member)| member.copies());
                copies.fold(0, usize::saturating_add).max(1)
            }
            Self::Conditional(branches, otherwise) => {
                let results = branches.iter().map(|(_, result)| result.copies());
                results.fold(otherwise.copies(), usize::max)
            }
            Self::Interpolation(parts) => {
                let copies = parts.iter().map(Self::copies);
                copies.fold(0, usize::saturating_add).max(1)
            }
        }
    }
}

// Each kind of term has a function of its own, to keep the stack frame of the recursive `Plan::read` small.

fn binary_call<'a>(
    call: BinaryCall,
    (first, second): &'a (Plan, Plan),
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    call.read(&first.read(input)?, &second.read(input)?)
}

fn compare<'a>(
    (left, right): &'a (Plan, Plan),
    expects_equal: bool,
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let (left, right) = (left.read(input)?, right.read(input)?);
    let steps = left.value().map_or(1, budget::value_steps);
    input.charge(steps)?;
    let is_equal = same(left.value(), right.value());
    Ok(input.made(Value::Bool(is_equal == expects_equal)))
}

fn logic<'a>(
    (left, right): &'a (Plan, Plan),
    decisive: bool,
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let mut result = is_true(left.read(input)?.value());
    if result != decisive {
        result = is_true(right.read(input)?.value());
    }
    Ok(input.made(Value::Bool(result)))
}

fn conditional<'a>(
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

fn interpolation<'a>(
    parts: &'a [Plan],
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let mut text = Some(String::new());
    for plan in parts {
        let located = plan.read(input)?;
        let Some(value) = located.value() else {
            text = None;
            continue;
        };
        // The loop continues after an absent part, so that the bridge reports an error in a later part.
        match (text_part(value), &mut text) {
            (Ok(part), Some(text)) => {
                located.charge(budget::text_steps(&part))?;
                text.push_str(&part);
            }
            (Ok(_part), None) => {}
            (Err(error), _) => return Err(located.error("text", error)),
        }
    }
    let presence = text.map_or(Presence::Absent, |text| {
        Presence::Present(Cow::Owned(Value::String(text)))
    });
    Ok(input.with(presence))
}

fn alternative<'a>(
    first: LocatedValue<'a>,
    other: impl FnOnce() -> Result<LocatedValue<'a>, EvalError>,
) -> Result<LocatedValue<'a>, EvalError> {
    if is_true(first.value()) {
        return Ok(first);
    }
    let is_null = first.value().is_some_and(Value::is_null);
    let other = other()?;
    match &other.presence {
        Presence::Absent if is_null => Ok(first),
        Presence::Absent | Presence::Present(_) => Ok(other),
    }
}

fn object<'a>(
    members: &'a [(String, Plan)],
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let mut object = Map::new();
    for (key, plan) in members {
        let member = plan.read(input)?.into_value()?;
        object.extend(member.map(|member| (key.clone(), member)));
    }
    input.charge(budget::OBJECT_STEPS)?;
    if object.is_empty() && !members.is_empty() {
        return Ok(input.with(Presence::Absent));
    }
    Ok(input.made(Value::Object(object)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::tests::FieldResult::{Absent, Cleared, Refused, Set};
    use crate::mapping::tests::{CANARY, FieldResult, check};

    #[test]
    fn paths_keep_absent_null_and_values_apart() {
        let open = |expression: &str, v: Value, expected: &FieldResult| {
            check("metadata.k", expression, Some(v), expected);
        };
        open(".v", json!("x"), &Set(json!("x")));
        open(".v.a.b", json!({"a": {"b": 1}}), &Set(json!(1)));
        open(".v.\"x y\"", json!({"x y": 1}), &Set(json!(1)));
        open(
            ".v[\"x/y\"].z",
            json!({"x/y": {"z": true}}),
            &Set(json!(true)),
        );
        open(".v[1].a", json!([0, {"a": 2}]), &Set(json!(2)));
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
        let open = |expression: &str, v: Value, expected: &FieldResult| {
            check("metadata.k", expression, Some(v), expected);
        };
        open(".v | .a | .b", json!({"a": {"b": 1}}), &Set(json!(1)));
        open(".v.a // .v.b", json!({"b": 1}), &Set(json!(1)));
        open(".v.a // .v.b", json!({"a": null, "b": 1}), &Set(json!(1)));
        open(".v.a // .v.b", json!({"a": false, "b": 1}), &Set(json!(1)));
        open(".v.a // .v.b", json!({"a": 0, "b": 1}), &Set(json!(0)));
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
            &Set(json!({"a": "y", "b": 1})),
        );
        open(".v | {x, y}", json!({"x": 1}), &Set(json!({"x": 1})));
        open(".v | {x, y}", json!({"z": 1}), &Absent);
        open(".v | {x} | .x", json!({"x": 1}), &Set(json!(1)));
        open("\"a\\u0062\\\"\"", json!(1), &Set(json!("ab\"")));
        open("-1.5", json!(1), &Set(json!(-1.5)));
        open("null", json!(1), &Cleared);
        open("true", json!(1), &Set(json!(true)));
        open(".v # from the CRM\n | .a", json!({"a": 1}), &Set(json!(1)));
    }
}
