//! The compiled form of a mapping expression, and its evaluation on an event.
//!
//! A plan is a tree without loops, so an evaluation visits each node of the plan at most once. An evaluation borrows
//! values from the event, and allocates memory only for new values. New values take steps from the budget of the event.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::budget;
use super::compared::{ComparedKind, ComparedLetters};
use super::comparison::{is_true, same, text_part};
use super::error::EvalError;
use super::function::{BinaryCall, FunctionCall};
use super::jq::Program;
use super::located::{Assumed, LocatedValue, PathStep, Presence};
use super::split::Split;

mod reads;
mod verbatim;

/// A compiled expression of the mapping language.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// The input of the plan: `.`
    Input,
    /// A path that starts at the result of the inner plan: `.a.b[0]`
    Path(Box<Self>, Vec<PathStep>),
    /// A pipe: `a | b`
    Pipe(Box<Self>, Box<Self>),
    /// An alternative: `a // b` returns `b` if `a` is null or false, or if a condition reads `a` as null or false. If
    /// neither `a` nor `b` has a value and one of the two is null, the result is null, because the event clears the
    /// field. If `a` has an error, the plan fails (jq would hide the error).
    Alternative(Box<Self>, Box<Self>),
    /// A constant: `"text"`, `7`, `true`, `null`
    Literal(Value),
    /// An absent value that a condition reads as the given value: a constant beside a value of the event in `and`, `or`.
    Assumed(Assumed),
    /// An object: `{a: .x}` leaves out absent members. An object is absent if all its members are absent. Constant
    /// members do not count.
    Object(Vec<(String, Self)>),
    /// A header of the request: `header("x-topic")`
    Header(String),
    /// A call of a mapping function on the input of the plan.
    Call(FunctionCall),
    /// A call of a mapping function on the values of two expressions.
    BinaryCall(BinaryCall, Box<(Self, Self)>),
    /// A selection of pieces of a text: `split(" ") | first`
    Split(Split),
    /// A conditional: `if a then b elif c then d else e end`
    Conditional(Vec<(Self, Self)>, Box<Self>),
    /// A comparison: `a == b`, or `a != b`. If one side is absent, the comparison is absent.
    Compare {
        sides: Box<(Self, Self)>,
        expects_equal: bool,
    },
    /// A logical term: `a or b`, or `a and b`. If the first side has the truth value `decisive`, the result is
    /// `decisive`. The result is absent if every side that the bridge evaluates is absent.
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
            Self::Assumed(assumed) => Ok(input.absent(*assumed)),
            Self::Object(members) => object(members, input),
            Self::Header(name) => Ok(input.header(name)),
            Self::Call(call) => call.read(input),
            Self::BinaryCall(call, expressions) => binary_call(*call, expressions, input),
            Self::Split(split) => split.read(input),
            Self::Conditional(branches, otherwise) => conditional(branches, otherwise, input),
            Self::Compare {
                sides,
                expects_equal,
            } => compare(sides, *expects_equal, input),
            Self::Logic { sides, decisive } => logic(sides, *decisive, input),
            Self::Not => Ok(input.truth(!input.is_true(), input.is_absent())),
            Self::Interpolation(parts) => interpolation(parts, input),
            Self::Interpreted(program) => program.run(input),
        }
    }
}

impl Plan {
    /// Returns whether jaq interprets a part of the plan.
    pub(super) fn is_interpreted(&self) -> bool {
        match self {
            Self::Input
            | Self::Literal(_)
            | Self::Assumed(_)
            | Self::Header(_)
            | Self::Not
            | Self::Split(_)
            | Self::Call(_) => false,
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
            | Self::Header(_)
            | Self::Path(..)
            | Self::Assumed(_)
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

    /// Returns whether the plan gives the same value for every event.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Object(members) => members.iter().all(|(_, member)| member.is_constant()),
            Self::Interpolation(parts) => parts.iter().all(Self::is_constant),
            Self::Input
            | Self::Assumed(_)
            | Self::Path(..)
            | Self::Pipe(..)
            | Self::Alternative(..)
            | Self::Header(_)
            | Self::Call(_)
            | Self::BinaryCall(..)
            | Self::Split(_)
            | Self::Conditional(..)
            | Self::Compare { .. }
            | Self::Logic { .. }
            | Self::Not
            | Self::Interpreted(_) => false,
        }
    }

    /// Returns whether a condition with a constant plan is true, or `None` if the plan is not constant. Every constant
    /// object or text counts as true.
    pub(super) fn constant_truth(&self) -> Option<bool> {
        let is_false = matches!(self, Self::Literal(value) if !is_true(value));
        self.is_constant().then_some(!is_false)
    }

    /// Returns the maximum number of copies of the input in the result of the plan.
    ///
    /// Objects and texts can copy the input several times. The number of copies in a pipe is the product of the numbers
    /// for the two sides of the pipe.
    pub(super) fn copies(&self) -> usize {
        match self {
            Self::Input
            | Self::Literal(_)
            | Self::Assumed(_)
            | Self::Header(_)
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
    sides: &'a (Plan, Plan),
    expects_equal: bool,
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let (left, right) = (sides.0.read(input)?, sides.1.read(input)?);
    input.charge(budget::value_steps(left.compared()))?;
    let result = same(left.compared(), right.compared()) == expects_equal;
    if let Some(log) = input.log()
        && let Some(compared) = compared_kind(sides, &left, &right)
    {
        log.note_kinds(compared);
    }
    Ok(input.truth(result, left.is_absent() || right.is_absent()))
}

/// Returns the comparison of the side that is no constant with the other side.
fn compared_kind(
    (plan, other_plan): &(Plan, Plan),
    left: &LocatedValue<'_>,
    right: &LocatedValue<'_>,
) -> Option<ComparedKind> {
    let (value, other) = match plan.is_constant() {
        true => (right, left),
        false => (left, right),
    };
    let compared = ComparedKind::of(value.pointer(), value.compared(), other.compared())?;
    // Two members of an event can differ in upper and lower case on purpose.
    let has_constant = plan.is_constant() || other_plan.is_constant();
    Some(match has_constant {
        true => compared,
        false => ComparedKind {
            letters: ComparedLetters::Different,
            ..compared
        },
    })
}

fn logic<'a>(
    (left, right): &'a (Plan, Plan),
    decisive: bool,
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let left = left.read(input)?;
    if left.is_true() != decisive {
        let right = right.read(input)?;
        let is_absent = left.is_absent() && right.is_absent();
        return Ok(input.truth(right.is_true(), is_absent));
    }
    // jq does not evaluate the second side here, so an error of the second side does not count.
    let is_absent = left.is_absent()
        && match right.read(input) {
            Ok(right) => right.is_absent(),
            Err(error) if error.rule == budget::RULE => return Err(error),
            Err(_uncounted) => true,
        };
    Ok(input.truth(decisive, is_absent))
}

fn conditional<'a>(
    branches: &'a [(Plan, Plan)],
    otherwise: &'a Plan,
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    for (condition, result) in branches {
        if condition.read(input)?.is_true() {
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
    // The text has the place of its first absent part, or of its first part that is not constant.
    let mut place = None;
    for plan in parts {
        let located = plan.read(input)?;
        let is_first_absent = located.is_absent() && text.is_some();
        if is_first_absent || (place.is_none() && !plan.is_constant()) {
            place = Some(located.absent(Assumed::Null));
        }
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
    Ok(place
        .as_ref()
        .unwrap_or(input)
        .with(Presence::of(text.map(Value::String))))
}

fn alternative<'a>(
    first: LocatedValue<'a>,
    other: impl FnOnce() -> Result<LocatedValue<'a>, EvalError>,
) -> Result<LocatedValue<'a>, EvalError> {
    if first.is_true() {
        return Ok(first);
    }
    let is_null = first.value().is_some_and(Value::is_null);
    let other = other()?;
    match &other.presence {
        Presence::Absent(Assumed::Null | Assumed::Hidden) if is_null => Ok(first),
        Presence::Absent(_) | Presence::Present(_) => Ok(other),
    }
}

fn object<'a>(
    members: &'a [(String, Plan)],
    input: &LocatedValue<'a>,
) -> Result<LocatedValue<'a>, EvalError> {
    let mut object = Map::new();
    let (mut reads_event, mut has_value) = (false, false);
    for (key, plan) in members {
        let member = plan.read(input)?.into_value()?;
        if !plan.is_constant() {
            reads_event = true;
            has_value |= member.is_some();
        }
        object.extend(member.map(|member| (key.clone(), member)));
    }
    input.charge(budget::OBJECT_STEPS)?;
    if reads_event && !has_value {
        return Ok(input.absent(Assumed::Null));
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
        open(".v.a", json!({"a": null}), &Cleared);
        // A null container says nothing about its members and items.
        open(".v.a.b", json!({"a": null}), &Absent);
        open(".v | .a | .b", json!({"a": null}), &Absent);
        open(".v[0].b", Value::Null, &Absent);
        open("{a: .v} | .a.b", Value::Null, &Absent);
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
        open("{a: .v.x, b: 1}", json!({}), &Absent);
        open("{a: .v.x, b: {c: \"d\"}}", json!({}), &Absent);
        open(
            "{a: .v.x, b: 1}",
            json!({"x": null}),
            &Set(json!({"a": null, "b": 1})),
        );
        open("{b: 1}", json!({}), &Set(json!({"b": 1})));
        open("\"a\\u0062\\\"\"", json!(1), &Set(json!("ab\"")));
        open("-1.5", json!(1), &Set(json!(-1.5)));
        open("null", json!(1), &Cleared);
        open("true", json!(1), &Set(json!(true)));
        open(".v # from the CRM\n | .a", json!({"a": 1}), &Set(json!(1)));
    }

    /// FAULTS N320: a comparison, `not`, `and` or `or` of absent values states nothing, but a condition reads the result
    /// that null would have.
    #[test]
    fn an_operator_on_absent_values_states_nothing() {
        let truths = [("true", true), ("false", false)];
        for (term, assumed) in [
            (".v.x == \"gold\"", false),
            ("\"gold\" == .v.x", false),
            (".v.x == null", true),
            (".v.x == .v.one", false),
            (".v.x != \"gold\"", true),
            (".v.x != null", false),
            (".v.x | not", true),
            (".v.x == null | not", false),
            ("(.v.x == \"a\") == (.v.y == \"b\")", true),
            (".v.x and .v.y", false),
            (".v.x or .v.y", false),
            (".v.x == null or .v.y", true),
            (".v.x == null and .v.y == null", true),
            (".v.x and true", false),
            ("false or .v.x", false),
            ("true and .v.x == null", true),
        ] {
            let v = json!({"one": 1});
            check("metadata.k", term, Some(v.clone()), &Absent);
            let condition = format!("if {term} then true else false end");
            check(
                "metadata.k",
                &condition,
                Some(v.clone()),
                &Set(json!(assumed)),
            );
            let branch = truths.map(|(text, _)| text);
            let condition = format!(
                "if ({term}) | not then {} else {} end",
                branch[1], branch[0]
            );
            check("metadata.k", &condition, Some(v), &Set(json!(assumed)));
        }
        for (term, expected) in [
            (".v.one and .v.x", false),
            (".v.x and .v.one", false),
            (".v.no or .v.x", false),
            (".v.x or .v.one", true),
            (".v.x == null or .v.one", true),
            (".v.null == null", true),
            (".v.null | not", true),
            (".v.null == \"gold\"", false),
        ] {
            let v = json!({"one": 1, "no": false, "null": null});
            check("metadata.k", term, Some(v), &Set(json!(expected)));
        }
        // An error of a side that jq does not evaluate does not count.
        check(
            "metadata.k",
            ".v.x and .v.one.a",
            Some(json!({"one": 1})),
            &Absent,
        );
    }
}
