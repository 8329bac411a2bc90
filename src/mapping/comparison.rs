//! Compares JSON values in mapping expressions: cleared values, true values, equality, and the order of numbers.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::error::ValueError;
use super::number::{TOO_MANY_DIGITS, is_rounded};

/// Returns whether a value is null or a text of white space only. Such a value means that the source has cleared the
/// field.
pub(super) fn is_cleared(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.chars().all(char::is_whitespace),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Returns false for null and false, and true for every other value, as in jq.
pub(super) const fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_true) => *is_true,
        Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => true,
    }
}

/// Returns whether two JSON values are equal. `1` equals `1.0`.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => number_order(left, right).is_eq(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, l)| right.get(key).is_some_and(|r| same(l, r)))
        }
        (left, right) => left == right,
    }
}

/// Returns whether one value is a text and the other a number or a truth value: they are never equal, also not `"0"` and
/// `0`.
pub(super) const fn differ_in_kind(left: &Value, right: &Value) -> bool {
    matches!(
        (left, right),
        (Value::String(_), Value::Number(_) | Value::Bool(_))
            | (Value::Number(_) | Value::Bool(_), Value::String(_))
    )
}

/// Compares two numbers: exactly if both are whole numbers of 64 bits, otherwise as floating-point numbers.
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

/// Converts a JSON value to a part of an interpolated text, such as `"a \(.b)"`.
///
/// A number whose digits the JSON parser possibly did not keep is an error: two different long ids could become the same
/// text.
pub(super) fn text_part(value: &Value) -> Result<Cow<'_, str>, ValueError> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(number) if is_rounded(number) => Err(ValueError::new(TOO_MANY_DIGITS)),
        Value::Bool(_) | Value::Number(_) => Ok(Cow::Owned(value.to_string())),
        Value::Null => Err(ValueError::new(
            r#"A part of the text is null. `[.a, .b] | join(" ")` leaves out what is null. Inside the brackets, `//` puts another text in its place; the text around it stays. A time or an id needs its own value."#,
        )),
        Value::Array(_) | Value::Object(_) => Err(ValueError::new(
            "A part of the text is an array or an object.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_null_and_blank_texts_are_cleared() {
        for (value, expected) in [
            (json!(null), true),
            (json!(""), true),
            (json!(" \t\n"), true),
            (json!(" a "), false),
            (json!(false), false),
            (json!(0), false),
            (json!([]), false),
            (json!({}), false),
        ] {
            assert_eq!(is_cleared(&value), expected, "{value}");
        }
    }

    #[test]
    fn all_but_null_and_false_is_true() {
        for (value, expected) in [
            (json!(null), false),
            (json!(false), false),
            (json!(true), true),
            (json!(0), true),
            (json!(""), true),
            (json!([]), true),
            (json!({}), true),
        ] {
            assert_eq!(is_true(&value), expected, "{value}");
        }
    }

    #[test]
    fn values_are_equal_by_content() {
        for (left, right, expected) in [
            (json!(null), json!(null), true),
            (json!(1), json!(1.0), true),
            (json!(1), json!(2), false),
            (json!(1), json!("1"), false),
            (json!("a"), json!("a"), true),
            (json!("a"), json!("b"), false),
            (json!(true), json!(false), false),
            (json!(null), json!(false), false),
            (json!([1, 2]), json!([1.0, 2]), true),
            (json!([1, 2]), json!([1, 3]), false),
            (json!([1]), json!([1, 2]), false),
            (json!([1, 2]), json!([1]), false),
            (json!([]), json!({}), false),
            (json!({"a": 1}), json!({"a": 1.0}), true),
            (json!({"a": 1}), json!({"a": 2}), false),
            (json!({"a": 1}), json!({"b": 1}), false),
            (json!({"a": 1}), json!({"a": 1, "b": 1}), false),
            (json!({"a": 1, "b": 1}), json!({"a": 1}), false),
            (json!({"a": null}), json!({"b": null}), false),
        ] {
            assert_eq!(same(&left, &right), expected, "{left} {right}");
        }
    }

    #[test]
    fn whole_numbers_are_compared_exactly() {
        let number = |text: &str| -> Number { serde_json::from_str(text).unwrap() };
        for (left, right, expected) in [
            ("1", "2", Ordering::Less),
            ("2", "1", Ordering::Greater),
            ("1", "1.0", Ordering::Equal),
            ("-1", "1", Ordering::Less),
            ("0.5", "1", Ordering::Less),
            ("1.5", "1.25", Ordering::Greater),
            // After a conversion to floating point, the two whole numbers would be equal.
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            (
                "18446744073709551615",
                "18446744073709551614",
                Ordering::Greater,
            ),
            ("18446744073709551615", "-1", Ordering::Greater),
            (
                "-9223372036854775808",
                "18446744073709551615",
                Ordering::Less,
            ),
        ] {
            let order = number_order(&number(left), &number(right));
            assert_eq!(order, expected, "{left} {right}");
        }
    }

    /// FAULTS I36
    #[test]
    fn two_long_ids_never_become_one_text() {
        for text in [
            "12345678901234567890123",
            "12345678901234567890124",
            "-1e300",
        ] {
            let number: Value = serde_json::from_str(text).unwrap();
            assert!(text_part(&number).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_truth_values_and_numbers_can_be_a_part_of_a_text() {
        for (value, expected) in [
            (json!("a b"), Some("a b")),
            (json!(""), Some("")),
            (json!(true), Some("true")),
            (json!(1.5), Some("1.5")),
            (json!(u64::MAX), Some("18446744073709551615")),
            (json!(i64::MIN), Some("-9223372036854775808")),
            (json!(9_007_199_254_740_991.0), Some("9007199254740991.0")),
            (json!(9_007_199_254_740_992.0), None),
            (json!(0.123_456_789_012_345), Some("0.123456789012345")),
            (json!(0.123_456_789_012_345_67), None),
            (json!(null), None),
            (json!([]), None),
            (json!({}), None),
        ] {
            assert_eq!(text_part(&value).ok().as_deref(), expected, "{value}");
        }
    }
}
