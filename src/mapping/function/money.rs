//! The function `minor_units` of the mapping language: amounts of money.

use iso_currency::Currency;
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use super::super::error::ValueError;
use super::super::number::FLOAT_DIGITS_MAX;
use super::Conversion;

/// Converts an amount of money to the minor units of its currency: `"340.00"` US dollars are 34000.
///
/// The function `minor_units` does not round. The function refuses an amount with more decimals than the currency has,
/// unless the extra decimals are zeros.
pub(super) fn minor_units(amount: &Value, currency: &Value) -> Conversion {
    let exponent = currency
        .as_str()
        .and_then(currency_of)
        .and_then(|currency| currency.exponent())
        .ok_or_else(|| {
            ValueError::of_second("The currency is not an ISO 4217 code that has minor units.")
        })?;
    let amount = decimal(amount)?.normalize();
    let missing = u32::from(exponent)
        .checked_sub(amount.scale())
        .ok_or_else(|| ValueError::new("The amount has more decimals than its currency."))?;
    10_i128
        .checked_pow(missing)
        .and_then(|factor| amount.mantissa().checked_mul(factor))
        .and_then(|units| i64::try_from(units).ok())
        .map(Value::from)
        .ok_or_else(|| ValueError::new("The amount does not fit into a whole number of 64 bits."))
}

/// Returns the ISO 4217 code of a currency in upper case. A code in lower case is the same code: Stripe and Braintree
/// write `usd`.
pub(in crate::mapping) fn code(text: &str) -> Option<&'static str> {
    currency_of(text).map(|currency| currency.code())
}

fn currency_of(text: &str) -> Option<Currency> {
    Currency::from_code(&text.to_ascii_uppercase())
}

fn decimal(amount: &Value) -> Result<Decimal, ValueError> {
    match amount {
        Value::String(text) => from_text(text),
        Value::Number(number) => from_number(number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(ValueError::new(
            "The amount is neither a text nor a number.",
        )),
    }
}

/// Parses an amount of money: digits with an optional minus sign and decimals. The function refuses `1,234`, because
/// the meaning of the comma depends on the country.
fn from_text(text: &str) -> Result<Decimal, ValueError> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let are_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let decimal = (are_digits(whole) && are_digits(decimals))
        .then(|| Decimal::from_str_exact(text).ok())
        .flatten();
    decimal.ok_or_else(|| {
        ValueError::new(
            "The amount is not written as digits with an optional minus sign and decimals.",
        )
    })
}

/// Converts a JSON number to an amount of money. A whole number stays exact. For a fraction, the function uses the
/// shortest decimal text of the number.
///
/// The function refuses a fraction with more than 15 significant digits, because a 64-bit float does not keep more
/// digits.
fn from_number(number: &Number) -> Result<Decimal, ValueError> {
    if let Some(whole) = number.as_i128() {
        return Decimal::try_from_i128_with_scale(whole, 0)
            .ok()
            .ok_or_else(inexact);
    }
    let text = number.to_string();
    let decimal = Decimal::from_str_exact(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .ok()
        .ok_or_else(inexact)?
        .normalize();
    let is_held = decimal.mantissa().unsigned_abs() < FLOAT_MAX;
    is_held.then_some(decimal).ok_or_else(inexact)
}

/// The first number with more digits than a 64-bit float keeps.
const FLOAT_MAX: u128 = 10_u128.pow(FLOAT_DIGITS_MAX);

fn inexact() -> ValueError {
    ValueError::new("The amount has more digits than a JSON number holds; send it as text.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::error::Argument;

    #[test]
    fn an_amount_is_scaled_by_the_exponent_of_its_currency() {
        for (amount, currency, expected) in [
            (json!("340.00"), "USD", Some(34_000)),
            (json!("340"), "JPY", Some(340)),
            (json!("1.234"), "KWD", Some(1_234)),
            (json!("1.2340"), "KWD", Some(1_234)),
            (json!("10.00"), "usd", Some(1_000)),
            (json!("10"), "Jpy", Some(10)),
            (json!("-0.01"), "USD", Some(-1)),
            (json!(0), "USD", Some(0)),
            (json!(-3), "USD", Some(-300)),
            (json!(0.29), "USD", Some(29)),
            (json!(-1.5), "USD", Some(-150)),
            (json!(1e3), "USD", Some(100_000)),
            (json!("92233720368547758.07"), "USD", Some(i64::MAX)),
            (json!("92233720368547758.08"), "USD", None),
            (json!("340.5"), "JPY", None),
            (json!("0.001"), "USD", None),
            (json!("1."), "USD", None),
            (json!(".5"), "USD", None),
            (json!("--1"), "USD", None),
            (json!("1,2"), "USD", None),
            (json!(u64::MAX), "USD", None),
            (json!(true), "USD", None),
        ] {
            let units = minor_units(&amount, &json!(currency)).ok();
            assert_eq!(units, expected.map(Value::from), "{amount} {currency}");
        }
    }

    #[test]
    fn a_number_holds_fifteen_digits() {
        let units = |amount: Value| minor_units(&amount, &json!("USD")).ok();
        assert_eq!(
            units(json!(9_999_999_999_999.99)),
            Some(json!(999_999_999_999_999_i64))
        );
        assert_eq!(units(json!(10_000_000_000_000.01)), None);
        assert_eq!(
            units(json!(999_999_999_999_999.0)),
            Some(json!(99_999_999_999_999_900_i64))
        );
        assert_eq!(units(json!(1e15)), None);
        assert_eq!(units(json!(1e-7)), None);
    }

    #[test]
    fn an_error_names_the_argument() {
        let argument =
            |amount: Value, currency: Value| minor_units(&amount, &currency).unwrap_err().argument;
        assert_eq!(argument(json!("x"), json!("USD")), Argument::First);
        assert_eq!(argument(json!("1"), json!("XXX")), Argument::Second);
        assert_eq!(argument(json!("1"), json!(7)), Argument::Second);
    }
}
