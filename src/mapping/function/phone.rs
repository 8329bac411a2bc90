//! The function `e164` of the mapping language: phone numbers.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};
use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;

/// The maximum length of a phone number text. A phone number has at most 15 digits, but the text can also contain
/// spaces and punctuation.
const TEXT_CHARS_MAX: usize = 40;

/// Returns the phone region of an upper-case ISO 3166 alpha-2 code, if the region has phone numbers of its own.
pub(crate) fn region(code: &str) -> Option<Region> {
    let region = Region::from_code(code).ok()?;
    let is_known = code.bytes().all(|b| b.is_ascii_uppercase())
        && PHONE_NUMBER_UTIL
            .get_country_code_for_region(region)
            .is_some();
    is_known.then_some(region)
}

/// Converts a phone number to E.164. Without a region the phone number must start with `+`, because the same ten digits
/// can be a valid number in many countries.
///
/// The function `e164` refuses a number with letters or an extension. An E.164 number contains only digits after the
/// `+`, and dropping the letters or the extension would give a different number.
pub(super) fn e164(text: &str, region: Option<Region>) -> Conversion {
    let text = text.trim();
    let is_plain = text.len() <= TEXT_CHARS_MAX
        && text.chars().enumerate().all(|(at, c)| {
            c.is_ascii_digit() || " -.()/\u{a0}".contains(c) || (at == 0 && c == '+')
        });
    if !is_plain {
        return Err(ValueError::new(
            "The text has characters other than the digits, spaces and punctuation of one phone number.",
        ));
    }
    if region.is_none() && !text.starts_with('+') {
        return Err(ValueError::new(
            "A phone number without + can be of any country; e164(\"US\") names one.",
        ));
    }
    PhoneNumber::parse(text, region)
        .ok()
        .filter(PhoneNumber::is_valid)
        .map(|number| Value::from(number.format_as(PhoneNumberFormat::E164).into_owned()))
        .ok_or_else(|| ValueError::new("The text is not a valid phone number."))
}
