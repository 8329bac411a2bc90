//! Money.

use iso_currency::Currency;
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use super::{Answer, ValueError};

/// As many significant digits survive the way through a JSON number, which most writers and readers take for a
/// 64-bit float.
const FLOAT_DIGITS_MAX: u32 = 15;

/// The amount in the currency's minor units: `"340.00"` US dollars are 34000.
///
/// Nothing is rounded: more decimals than the currency has are refused, unless they are zeros.
pub(super) fn minor_units(amount: &Value, currency: &Value) -> Answer {
    let exponent = currency
        .as_str()
        .and_then(Currency::from_code)
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
        .ok_or_else(|| ValueError::new("The amount is greater than Imprint's integers."))
}

fn decimal(amount: &Value) -> Result<Decimal, ValueError> {
    match amount {
        Value::String(text) => plain(text),
        Value::Number(number) => exact(number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(ValueError::new(
            "The amount is neither a text nor a number.",
        )),
    }
}

/// Digits, with a sign and decimals at most: `1,234` is one amount here and another there.
fn plain(text: &str) -> Result<Decimal, ValueError> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let are_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let decimal = (are_digits(whole) && are_digits(decimals))
        .then(|| Decimal::from_str_exact(text).ok())
        .flatten();
    decimal.ok_or_else(|| {
        ValueError::new("The amount is not written as digits with at most a sign and decimals.")
    })
}

/// A whole number as it is; one with a fraction by its shortest decimal text, as long as a float still holds it.
fn exact(number: &Number) -> Result<Decimal, ValueError> {
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
    let is_held = decimal.mantissa().unsigned_abs() < 10_u128.pow(FLOAT_DIGITS_MAX);
    is_held.then_some(decimal).ok_or_else(inexact)
}

fn inexact() -> ValueError {
    ValueError::new(
        "The amount has more digits than a JSON number holds; it should be sent as text.",
    )
}
