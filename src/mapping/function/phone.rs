//! Phone numbers.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};
use serde_json::Value;

use super::{Answer, ValueError};

/// The longest text that is looked at; the longest number is 15 digits, and people put all sorts of things between.
const TEXT_CHARS_MAX: usize = 40;

/// A region that has numbers of its own, by its ISO 3166 alpha-2 code in upper case.
pub(crate) fn region(code: &str) -> Option<Region> {
    let region = Region::from_code(code).ok()?;
    let is_known = code.bytes().all(|b| b.is_ascii_uppercase())
        && PHONE_NUMBER_UTIL
            .get_country_code_for_region(region)
            .is_some();
    is_known.then_some(region)
}

/// The number in E.164. Without a region only numbers that start with `+` are taken: ten digits could be anyone's.
///
/// Letters and extensions are refused, because E.164 has neither and dropping them would make another number.
pub(super) fn e164(text: &str, region: Option<Region>) -> Answer {
    let text = text.trim();
    let is_plain = text.len() <= TEXT_CHARS_MAX
        && text.chars().enumerate().all(|(at, c)| {
            c.is_ascii_digit() || " -.()/\u{a0}".contains(c) || (at == 0 && c == '+')
        });
    if !is_plain {
        return Err(ValueError::new(
            "The text has more in it than one phone number's digits, spaces and punctuation.",
        ));
    }
    if region.is_none() && !text.starts_with('+') {
        return Err(ValueError::new(
            "A phone number without + could be of any country; e164(\"US\") would say which.",
        ));
    }
    PhoneNumber::parse(text, region)
        .ok()
        .filter(PhoneNumber::is_valid)
        .map(|number| Value::from(number.format_as(PhoneNumberFormat::E164).into_owned()))
        .ok_or_else(|| ValueError::new("The text is not a valid phone number."))
}
