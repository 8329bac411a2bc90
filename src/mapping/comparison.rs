//! What values say: whether something is true, the same, or nothing at all.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::function::ValueError;

/// Whether a value says that there is none: null, or a text without anything but white space.
pub(super) fn is_cleared(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// What counts as true in jq: everything but null and false; what is absent does not.
pub(super) fn is_true(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(is_true)) => *is_true,
        Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => true,
    }
}

/// Whether two values are the same; absent is the same as null, and `1` the same as `1.0`.
pub(super) fn same(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left.unwrap_or(&Value::Null), right.unwrap_or(&Value::Null)) {
        (Value::Number(left), Value::Number(right)) => number_order(left, right).is_eq(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(Some(l), Some(r)))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, l)| right.get(key).is_some_and(|r| same(Some(l), Some(r))))
        }
        (left, right) => left == right,
    }
}

/// Which of two numbers is the greater one: exactly for whole numbers of 64 bits, as floating point for others.
pub(super) fn number_order(left: &Number, right: &Number) -> Ordering {
    let whole = |number: &Number| {
        let unsigned = number.as_u64().map(i128::from);
        unsigned.or_else(|| number.as_i64().map(i128::from))
    };
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return left.cmp(&right);
    }
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
        (_, _) => Ordering::Equal,
    }
}

/// A value as a part of a longer text.
pub(super) fn part(value: &Value) -> Result<Cow<'_, str>, ValueError> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Ok(Cow::Owned(value.to_string())),
        Value::Null => Err(ValueError::new(
            "A part of the text is null; `//` would say what stands for it.",
        )),
        Value::Array(_) | Value::Object(_) => Err(ValueError::new(
            "A part of the text is neither a text nor a number.",
        )),
    }
}
