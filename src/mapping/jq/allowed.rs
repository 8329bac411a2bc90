//! The functions of jq that an expression is allowed to call, in one table.

use jaq_core::load::parse::{BinaryOp, Term};
use serde_json::Value;

use super::super::call::{input_in_parentheses, without_quotes};
use super::super::function::FUNCTIONS;
use super::super::syntax::constant;

/// The kind of argument that a jq function takes in its parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentKind {
    Nothing,
    /// The argument is an expression.
    Filter,
    /// The argument is an expression, or several expressions that are separated by `,`.
    Stream,
    /// The argument is a constant text.
    Text,
}

/// The jq functions that an expression is allowed to call. A function has one row for each kind of argument that it
/// takes.
pub(super) static ALLOWED: [(&str, ArgumentKind); 26] = [
    ("add", ArgumentKind::Nothing),
    ("all", ArgumentKind::Filter),
    ("all", ArgumentKind::Nothing),
    ("any", ArgumentKind::Filter),
    ("any", ArgumentKind::Nothing),
    ("empty", ArgumentKind::Nothing),
    ("false", ArgumentKind::Nothing),
    ("first", ArgumentKind::Nothing),
    ("first", ArgumentKind::Stream),
    ("from_entries", ArgumentKind::Nothing),
    ("has", ArgumentKind::Text),
    ("join", ArgumentKind::Text),
    ("keys", ArgumentKind::Nothing),
    ("last", ArgumentKind::Nothing),
    ("length", ArgumentKind::Nothing),
    ("map", ArgumentKind::Filter),
    ("not", ArgumentKind::Nothing),
    ("null", ArgumentKind::Nothing),
    ("reverse", ArgumentKind::Nothing),
    ("select", ArgumentKind::Filter),
    ("sort_by", ArgumentKind::Filter),
    ("split", ArgumentKind::Text),
    ("to_entries", ArgumentKind::Nothing),
    ("true", ArgumentKind::Nothing),
    ("unique", ArgumentKind::Nothing),
    ("with_entries", ArgumentKind::Filter),
];

/// Lists every term and function that an expression is allowed to contain, for error messages.
pub(super) fn allowed() -> String {
    let functions: Vec<_> = FUNCTIONS.iter().map(|known| known.usage).collect();
    let mut names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
    names.dedup();
    format!(
        "an expression is made of paths such as `.a.b[0]`, `|`, `//`, `==`, `and`, `or`, `if`, constants, objects, \
         \"\\(…)\" and the functions {}; an interpreted expression, which is slower, can also contain `.[]`, `.[0:5]`, \
         `[…]`, `as $x`, `<`, `+`, `-`, `*`, `?`, `try` and jq's {}; the expressions in [body] and `when` can also \
         contain header(\"x-topic\")",
        functions.join(", "),
        names.join(", ")
    )
}

/// Returns the reason why the argument of a jq function must be a constant text.
pub(super) fn constant_text(name: &str, argument: &Term<&str>) -> String {
    if let Term::BinOp(first, BinaryOp::Comma, _) = argument
        && let Some(text) = constant(first)
    {
        return one_text(name, &text);
    }
    without_quotes(name, argument).unwrap_or_else(|| format!("`{name}` takes a constant text"))
}

fn one_text(name: &str, text: &str) -> String {
    let text = Value::from(text);
    format!("`{name}` has one argument: write {name}({text})")
}

/// Returns the reason why a jq function has a wrong number of arguments. Most functions only read their input.
pub(super) fn wrong_number(name: &str, arguments: &[Term<&str>]) -> String {
    let takes_text = ALLOWED.contains(&(name, ArgumentKind::Text));
    if takes_text && arguments.is_empty() {
        return format!("`{name}` is written with a text, such as {name}(\", \")");
    }
    if takes_text
        && arguments.len() > 1
        && let Some(text) = arguments.first().and_then(constant)
    {
        return one_text(name, &text);
    }
    if name == "empty" && !arguments.is_empty() {
        return "compare with null, such as .a == null; `empty` takes no argument".to_owned();
    }
    let is_constant = matches!(name, "true" | "false" | "null" | "empty");
    let takes_input = |(known, kind): &(&str, ArgumentKind)| {
        *known != name || matches!(kind, ArgumentKind::Nothing | ArgumentKind::Text)
    };
    let correction = (!is_constant && ALLOWED.iter().all(takes_input))
        .then(|| input_in_parentheses(name, arguments, name));
    correction
        .flatten()
        .unwrap_or_else(|| format!("`{name}` takes a different number of arguments"))
}
