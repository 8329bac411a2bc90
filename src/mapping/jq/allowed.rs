//! The functions of jq's that the fence lets pass, one table.

use super::super::function::FUNCTIONS;

/// What a function of jq's takes in its parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    Nothing,
    /// An expression.
    Filter,
    /// An expression in which `,` may stand.
    Stream,
    /// A constant text.
    Text,
}

/// The functions of jq's that are let through, each with one way to call it.
pub(super) static ALLOWED: [(&str, Arguments); 26] = [
    ("add", Arguments::Nothing),
    ("all", Arguments::Filter),
    ("all", Arguments::Nothing),
    ("any", Arguments::Filter),
    ("any", Arguments::Nothing),
    ("empty", Arguments::Nothing),
    ("false", Arguments::Nothing),
    ("first", Arguments::Nothing),
    ("first", Arguments::Stream),
    ("from_entries", Arguments::Nothing),
    ("has", Arguments::Text),
    ("join", Arguments::Text),
    ("keys", Arguments::Nothing),
    ("last", Arguments::Nothing),
    ("length", Arguments::Nothing),
    ("map", Arguments::Filter),
    ("not", Arguments::Nothing),
    ("null", Arguments::Nothing),
    ("reverse", Arguments::Nothing),
    ("select", Arguments::Filter),
    ("sort_by", Arguments::Filter),
    ("split", Arguments::Text),
    ("to_entries", Arguments::Nothing),
    ("true", Arguments::Nothing),
    ("unique", Arguments::Nothing),
    ("with_entries", Arguments::Filter),
];

/// What may stand in an expression, for whoever wrote something else.
pub(in crate::mapping) fn allowed() -> String {
    let functions: Vec<_> = FUNCTIONS.iter().map(|known| known.usage).collect();
    let mut names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
    names.dedup();
    format!(
        "an expression is made of paths such as `.a.b[0]`, `|`, `//`, `==`, `and`, `or`, `if`, constants, objects, \
         \"\\(…)\" and the functions {}; more slowly also of `.[]`, `.[0:5]`, `[…]`, `as $x`, `<`, `+`, `-`, `*`, `?`, \
         `try` and jq's {}",
        functions.join(", "),
        names.join(", ")
    )
}
