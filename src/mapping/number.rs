//! JSON numbers that are not whole numbers of 64 bits. The bridge reads such a number as a 64-bit float, as most
//! software does (RFC 8259, December 2017, section 6).

use serde_json::{Number, Value};

/// The limit below which a 64-bit float represents every whole number exactly. A number at the limit is possibly a
/// greater whole number that the JSON parser has rounded down.
pub(super) const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The number of significant decimal digits that a 64-bit float keeps exactly: `DBL_DIG` of IEEE 754-2019 binary64.
pub(super) const FLOAT_DIGITS_MAX: u32 = 15;

/// The error text for a number with decimals or an exponent, where only a whole number is allowed.
const DECIMALS: &str = "The number is written with decimals or with an exponent, such as 901.0. The function whole converts such a number if it is whole, and moment(\"s\") converts a number that is a time in seconds.";
/// The error text for an amount with a fraction, where only a whole number is allowed.
const FRACTION: &str = "The value is a number with decimals, not a whole number. For an amount of money, minor_units(.amount; .currency) makes the whole number of cents or other minor units.";
/// The error text for a number whose digits a 64-bit float possibly does not keep.
pub(super) const TOO_MANY_DIGITS: &str = "The number has more digits than a JSON number keeps, or it is greater than 64 bits. Send the number as text.";

/// Returns the reason why a number is not a whole number of 64 bits. Returns `None` for every other value.
pub(super) fn not_whole(value: &Value) -> Option<&'static str> {
    let Value::Number(number) = value else {
        return None;
    };
    let is_large = |number: f64| number.abs() >= EXACT_MAX;
    number.is_f64().then(|| match number.as_f64() {
        Some(number) if is_large(number) => TOO_MANY_DIGITS,
        Some(_) | None => DECIMALS,
    })
}

/// As [`not_whole`], for a field that can be an amount of money.
pub(super) fn not_whole_amount(value: &Value) -> Option<&'static str> {
    let reason = not_whole(value)?;
    let has_fraction = value.as_f64().is_some_and(|number| number.fract() != 0.0);
    Some(if has_fraction { FRACTION } else { reason })
}

/// Describes a text in place of a whole number. Returns the name of the function that converts the text, if a function
/// does.
pub(super) fn advice_for_text(text: &str) -> &'static str {
    let is_digit = |c: char| c.is_ascii_digit();
    let unsigned = text.trim().trim_start_matches('-');
    if text.trim().parse::<i64>().is_ok() {
        "The value is a text; the function whole makes a whole number of it."
    } else if unsigned.starts_with(is_digit) && unsigned.chars().all(|c| is_digit(c) || c == '.') {
        FRACTION
    } else {
        "The value is not a whole number of 64 bits."
    }
}

/// Returns whether a JSON value contains a number whose digits can differ from the digits that the source wrote, at any
/// depth.
///
/// A number with at most 15 significant digits keeps its digits. The bridge cannot know whether the source wrote more
/// digits than the 16 or 17 that it reads.
pub(super) fn has_lost_digits(value: &Value) -> bool {
    match value {
        Value::Number(number) => !keeps_digits(number),
        Value::Array(items) => items.iter().any(has_lost_digits),
        Value::Object(members) => members.values().any(has_lost_digits),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Returns whether the JSON parser has possibly rounded a number. A whole number below 2^53 with a decimal point counts
/// as not rounded.
pub(super) fn is_rounded(number: &Number) -> bool {
    let is_whole = |number: f64| number.abs() < EXACT_MAX && number.fract() == 0.0;
    !keeps_digits(number) && !number.as_f64().is_some_and(is_whole)
}

fn keeps_digits(number: &Number) -> bool {
    if !number.is_f64() {
        return true;
    }
    let is_small = number
        .as_f64()
        .is_some_and(|number| number.abs() < EXACT_MAX);
    let digits = u32::try_from(significant_digits(&number.to_string()));
    is_small && digits.is_ok_and(|digits| digits <= FLOAT_DIGITS_MAX)
}

/// Counts the digits of a decimal number from the first to the last that is not zero.
fn significant_digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').trim_end_matches('0').len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// FAULTS N322
    #[test]
    fn a_number_keeps_its_digits_or_is_found() {
        for text in [
            "0",
            "-1",
            "1.5",
            "-0.0",
            "100.0",
            "340.10",
            "0.1",
            "1e2",
            "1.5e-7",
            "123456789012.345",
            "9007199254740993",
            "18446744073709551615",
            "-9223372036854775808",
            "900719925474099.0",
        ] {
            assert!(!has_lost_digits(&number(text)), "{text}");
        }
        for text in [
            "12345678901234567890123",
            "-12345678901234567890123",
            "18446744073709551616",
            "-9223372036854775809",
            "1e22",
            "0.1234567890123456",
            "0.30000000000000004",
            "1234567890123456.7",
            "9007199254740993.0",
        ] {
            assert!(has_lost_digits(&number(text)), "{text}");
        }
        assert!(has_lost_digits(&json!({"a": [1, {"b": 1e22}]})));
        assert!(!has_lost_digits(
            &json!({"a": [1, "1e22", null, true, 1.5]})
        ));
    }

    #[test]
    fn the_reason_names_the_form_of_the_number() {
        for (text, reason) in [
            ("901.0", Some(DECIMALS)),
            ("9e2", Some(DECIMALS)),
            ("1.5", Some(DECIMALS)),
            ("12345678901234567890123", Some(TOO_MANY_DIGITS)),
            ("901", None),
            ("\"901.0\"", None),
            ("null", None),
        ] {
            assert_eq!(not_whole(&number(text)), reason, "{text}");
        }
    }
}
