//! The function `e164` of the mapping language: phone numbers.

use std::cell::Cell;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberFormat, Region,
    ValidationError,
};
use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;
use super::marks::{is_hyphen, is_invisible, is_space};

/// The maximum length of a phone number text. A phone number has at most 15 digits, but the text can also contain
/// spaces and punctuation.
const TEXT_CHARS_MAX: usize = 40;

thread_local! {
    /// Whether `e164` has accepted a number that is not in the numbering tables. The variable is thread-local, because
    /// jaq passes no context to the functions that it calls.
    static HAS_UNLISTED: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether `e164` has accepted a number that is not in the numbering tables, since the last call of this
/// function on this thread.
pub(in crate::mapping) fn take_unlisted() -> bool {
    HAS_UNLISTED.take()
}

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
///
/// The tables of valid numbers are those of libphonenumber 9.0.42. A number of the North American Numbering Plan that
/// the tables do not have yet passes, because new area codes come into service every year.
pub(super) fn e164(text: &str, region: Option<Region>) -> Conversion {
    let digits = digits(text).ok_or_else(|| ValueError::new(other_characters(text)))?;
    if region.is_none() && !digits.starts_with('+') {
        let reason = if digits.starts_with(INTERNATIONAL_PREFIX) {
            PREFIX_WITHOUT_REGION
        } else {
            "A phone number without + can be of any country; e164(\"US\") names one."
        };
        return Err(ValueError::new(reason));
    }
    let invalid = || {
        let reason = match has_two_numbers(text) {
            true => TWO_NUMBERS.to_owned(),
            false => invalid_number(&digits, region),
        };
        ValueError::new(reason)
    };
    let number = PhoneNumber::parse(&digits, region).map_err(|_invalid| invalid())?;
    let made = number.format_as(PhoneNumberFormat::E164);
    if !number.is_valid() {
        if !is_unlisted(&made) {
            return Err(invalid());
        }
        HAS_UNLISTED.set(true);
    }
    Ok(Value::from(made.into_owned()))
}

/// Describes a text with characters that no phone number has.
fn other_characters(text: &str) -> &'static str {
    let has_letters = text.chars().any(|c| c == '#' || c.is_alphabetic());
    let digits = text.chars().filter(char::is_ascii_digit).count();
    if text.trim_start().to_ascii_lowercase().starts_with("tel:") {
        "The text begins with tel:, which is no part of a phone number; `split(\":\") | last` before e164 takes the part after it."
    } else if text.trim_start().starts_with(['{', '[']) {
        "The text contains JSON, and no function reads JSON inside a text: read another value of the event, or the sender must post this JSON itself."
    } else if has_two_numbers(text) {
        TWO_NUMBERS
    } else if has_letters && digits < SUBSCRIBER_DIGITS_MIN {
        "The text has letters and too few digits for a phone number, so it is probably a note, or a number written with letters. If the source sends such texts, on_invalid = \"skip\" for this field leaves out only this field."
    } else if has_letters {
        "The text has letters or #, such as those of an extension. An E.164 number has only digits, so the function split must cut off an extension."
    } else {
        "The text has characters other than the digits, spaces and punctuation of one phone number."
    }
}

/// Returns whether a text has two or more phone numbers, such as `415 555 2671 / 415 555 2672` or `+14155552671, home
/// +14155552672`.
fn has_two_numbers(text: &str) -> bool {
    let is_between =
        |c: char| matches!(c, '/' | '\u{ff0f}' | '+') || !(c.is_ascii_digit() || is_punctuation(c));
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).count();
    let parts = text.split(is_between).map(digits);
    parts
        .filter(|digits| *digits >= SUBSCRIBER_DIGITS_MIN)
        .count()
        > 1
}

/// Returns whether the digits are a valid number of another country after the prefix 00.
fn is_number_after_prefix(digits: &str) -> bool {
    let rest = digits.strip_prefix(INTERNATIONAL_PREFIX);
    let number = rest.map(|rest| PhoneNumber::parse(format!("+{rest}"), None));
    number.is_some_and(|number| number.is_ok_and(|number| number.is_valid()))
}

/// Describes digits that are no valid phone number: the country, and the probable cause.
fn invalid_number(digits: &str, region: Option<Region>) -> String {
    let Some(region) = region.filter(|_| !digits.starts_with('+')) else {
        let number = digits.trim_start_matches('+');
        let cause = if digits.len() > E164_DIGITS_MAX + 1 {
            TOO_MANY_DIGITS
        } else if is_impossible_in_north_america(number) && number.starts_with('1') {
            NORTH_AMERICA
        } else if is_north_american(number) {
            " The digits are a number of +1 without the 1. If that is meant, the source must write +1 in the place of +."
        } else {
            ""
        };
        return format!("The text is not a valid phone number of the country code after +.{cause}");
    };
    let is_of_plan = PHONE_NUMBER_UTIL.get_country_code_for_region(region) == Some(1);
    let parsed = PhoneNumber::parse(digits, Some(region));
    let possible = parsed.map(|number| number.is_possible_with_reason());
    let cause = match possible {
        Ok(_) | Err(_) if is_number_after_prefix(digits) => {
            return format!(
                "The text begins with 00, which is no international prefix in {region}, the region in e164(\"{region}\"). {WRITE_PLUS}"
            );
        }
        Ok(_) | Err(_) if digits.len() > E164_DIGITS_MAX => TOO_MANY_DIGITS,
        Ok(Ok(NumberLengthType::IsPossibleLocalOnly) | Err(ValidationError::TooShort))
        | Err(ParseError::TooShortNsn | ParseError::NotANumber(_)) => {
            " The number is too short, perhaps because it has no area code."
        }
        Ok(Err(ValidationError::TooLong)) | Err(ParseError::TooLongNsn) => {
            " The number is too long."
        }
        Ok(_) | Err(_) if is_of_plan && is_impossible_in_north_america(digits) => NORTH_AMERICA,
        Ok(_) | Err(_) => "",
    };
    format!(
        "The text is not a valid phone number of {region}, the region in e164(\"{region}\").{cause} A number of another country begins with + and its country code."
    )
}

/// Returns whether digits have the length of a number of +1, with or without the 1, but not its form.
fn is_impossible_in_north_america(digits: &str) -> bool {
    let national = match digits.len() {
        11 => digits.strip_prefix('1').unwrap_or_default(),
        _other => digits,
    };
    let bytes = national.as_bytes();
    let is_low = |digit: Option<&u8>| digit.is_some_and(|digit| *digit < b'2');
    bytes.len() == 10 && (is_low(bytes.first()) || is_low(bytes.get(3)))
}

/// Returns whether ten digits are a valid number after +1.
fn is_north_american(digits: &str) -> bool {
    let number = PhoneNumber::parse(format!("+1{digits}"), None);
    digits.len() == 10 && number.is_ok_and(|number| number.is_valid())
}

/// The form of a number of the North American Numbering Plan.
const NORTH_AMERICA: &str =
    " In a number of +1, the area code and the three digits after it begin with 2 to 9.";
/// A text with letters and fewer digits is no number with an extension.
const SUBSCRIBER_DIGITS_MIN: usize = 7;
/// The prefix of an international call in most countries.
const INTERNATIONAL_PREFIX: &str = "00";
const PREFIX_WITHOUT_REGION: &str = "The text begins with the international prefix 00, and without a region the function reads only +. Write + instead of 00, such as if .phone[0:2] == \"00\" then \"+\\(.phone[2:])\" else .phone end before e164.";
const WRITE_PLUS: &str = "Write + instead of 00, such as if .phone[0:2] == \"00\" then \"+\\(.phone[2:])\" else .phone end before e164.";
/// The cause that a text has two numbers.
const TWO_NUMBERS: &str = "The text has more than one phone number, and Imprint's field takes one. The function split takes the first, such as split(\",\") | first before e164; write the sign between the numbers into split.";
/// The cause that a text has more digits than one number.
const TOO_MANY_DIGITS: &str =
    " The text has more digits than one phone number, perhaps because it has two.";
/// The maximum number of digits in an E.164 number (ITU-T E.164, 2010, section 6.1).
const E164_DIGITS_MAX: usize = 15;

/// Returns the digits of a phone number, after a `+` if the text has one before the first digit. Returns `None` if the
/// text has any other characters than those of one phone number.
fn digits(text: &str) -> Option<String> {
    let visible = || text.trim().chars().filter(|c| !is_invisible(*c));
    if visible().count() > TEXT_CHARS_MAX {
        return None;
    }
    let mut digits = String::with_capacity(TEXT_CHARS_MAX);
    for character in visible() {
        match character {
            '0'..='9' => digits.push(character),
            '+' | '\u{ff0b}' if digits.is_empty() => digits.push('+'),
            other if is_punctuation(other) => {}
            _other => return None,
        }
    }
    Some(digits)
}

/// Returns whether people write a character between the digits of one phone number: the set `VALID_PUNCTUATION` of
/// libphonenumber 9.0 (2025) without letters and tildes, and the other spaces, hyphens and dots of Unicode.
const fn is_punctuation(character: char) -> bool {
    is_space(character)
        || is_hyphen(character)
        || matches!(
            character,
            '.' | '\u{b7}'
                | '\u{2022}'
                | '\u{2027}'
                | '\u{ff0e}'
                | '/'
                | '\u{ff0f}'
                | '('
                | ')'
                | '['
                | ']'
                | '\u{ff08}'
                | '\u{ff09}'
                | '\u{ff3b}'
                | '\u{ff3d}'
        )
}

/// Returns whether an E.164 number can be in service under the North American Numbering Plan: `+1 NXX NXX XXXX`, where
/// N is 2 to 9.
///
/// The area codes N11, N9X, 37X, 96X, 555 and 950 are never assigned, and neither is an exchange code N11 (North
/// American Numbering Plan Administrator, "About area codes", and Central Office Code Assignment Guidelines, 2024).
fn is_unlisted(e164: &str) -> bool {
    let Some([a, b, c, d, e, f, _, _, _, _]) = e164
        .strip_prefix("+1")
        .and_then(|digits| <&[u8; 10]>::try_from(digits.as_bytes()).ok())
    else {
        return false;
    };
    let area = (a, b, c);
    let is_area = *a >= b'2'
        && *b != b'9'
        && (*b, *c) != (b'1', b'1')
        && !matches!(area, (b'3', b'7', _) | (b'9', b'6', _))
        && !matches!(area, (b'5', b'5', b'5') | (b'9', b'5', b'0'));
    is_area && *d >= b'2' && (*e, *f) != (b'1', b'1')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> Option<String> {
        let number = e164(text, region("US")).ok()?;
        number.as_str().map(str::to_owned)
    }

    #[test]
    fn invisible_characters_and_punctuation_are_dropped() {
        for text in [
            "(415) 555-2671",
            "\u{202a}(415) 555\u{2011}2671\u{202c}",
            "\u{feff}415\u{a0}555\u{202f}2671\u{200b}",
            "415\u{2013}555\u{2014}2671",
            "415\u{2212}555\u{ff0d}2671",
            "415\u{b7}555\u{2022}2671",
            "\u{ff08}415\u{ff09}555-2671",
            "415\t555\t2671",
            "[415] 555/2671",
            "(+1) 415-555-2671",
            "+(1) 415-555-2671",
            "\u{200e}+1 415 555 2671",
            "\u{ff0b}1 415 555 2671",
            "+ 1 415 555 2671",
            "011 1 415 555 2671",
        ] {
            assert_eq!(us(text).as_deref(), Some("+14155552671"), "{text:?}");
        }
        assert_eq!(us("+44 (0)20 7946 0000").as_deref(), Some("+442079460000"));
        for text in [
            "1+415 555 2671",
            "++1 415 555 2671",
            "415+555 2671",
            "415 555\n2671",
            "415 555 2671,",
            "tel:+14155552671",
            "415 555 2671 ext. 5",
            "415*555*2671",
            "415_555_2671",
            "415555267\u{661}",
            "\u{200b}",
            "+",
            "()",
            &"4 ".repeat(TEXT_CHARS_MAX),
        ] {
            assert_eq!(us(text), None, "{text:?}");
        }
    }

    /// FAULTS N923
    #[test]
    fn an_error_names_the_region_and_the_cause() {
        for (text, code, expected) in [
            (
                "0044 20 7946 0958",
                Some("US"),
                "begins with 00, which is no international prefix in US, the region in e164(\"US\"). Write + instead of 00",
            ),
            (
                "555-0143",
                Some("US"),
                "too short, perhaps because it has no area code",
            ),
            ("5", Some("US"), "too short"),
            (
                "4155550123 4155550199",
                Some("US"),
                "perhaps because it has two",
            ),
            ("41555501231", Some("US"), "too long"),
            (
                "020 7946 0958",
                Some("US"),
                "A number of another country begins with +",
            ),
            ("+999 123456", Some("US"), "country code after +"),
            (
                "+1 4155550123 4155550199",
                None,
                "perhaps because it has two",
            ),
            ("415 555 2671 x12", Some("US"), "an extension"),
            ("415 555 2671 #12", Some("US"), "an extension"),
            ("415*555*2671", Some("US"), "characters other than"),
        ] {
            let error = e164(text, code.and_then(region)).unwrap_err();
            assert!(error.detail.contains(expected), "{text}: {}", error.detail);
        }
    }

    /// FAULTS N1263: a text with two numbers, or with the prefix 00, has another cause than a missing country or an extension.
    #[test]
    fn an_error_names_two_numbers_or_the_prefix_00() {
        let two = Some("more than one phone number");
        for (text, code, expected) in [
            ("415 555 2671 / 415 555 2672", Some("US"), two),
            ("415-555-2671, 415-555-2672", Some("US"), two),
            ("415 555 2671 or 650 555 1234", Some("US"), two),
            ("+1 415 555 2671; +1 650 555 1234", Some("US"), two),
            ("+14155552671+14155552672", None, two),
            ("home 4155552671 cell 4155552672", Some("US"), two),
            ("0044 20 7946 0958", None, Some("Write + instead of 00")),
            ("415 555 2671 x1234", Some("US"), Some("an extension")),
            ("0044 20 7946 095", Some("GB"), Some("phone number of GB")),
            ("000-000-0000", Some("US"), Some("phone number of US")),
            ("415 555 2671", None, Some("e164(\"US\") names one")),
            ("[415] 555/2671", Some("US"), None),
            ("0044 20 7946 0958", Some("GB"), None),
        ] {
            let error = e164(text, code.and_then(region)).err();
            let detail = error.map(|error| error.detail).unwrap_or_default();
            assert_eq!(detail.is_empty(), expected.is_none(), "{text}: {detail}");
            assert!(
                detail.contains(expected.unwrap_or_default()),
                "{text}: {detail}"
            );
        }
    }

    /// FAULTS N1205: a number of North America with an impossible form, without its 1, and after `tel:`.
    #[test]
    fn an_error_names_the_form_of_a_north_american_number() {
        for (text, code, expected) in [
            ("(415) 123-4567", Some("US"), "begin with 2 to 9."),
            ("012 345 6789", Some("US"), "begin with 2 to 9."),
            ("1 (415) 123-4567", Some("CA"), "begin with 2 to 9."),
            ("+1 415 123 4567", None, "begin with 2 to 9."),
            ("+4155552671", None, "a number of +1 without the 1"),
            ("tel:+14155552671", None, "begins with tel:"),
            (
                "1-800-FLOWERS",
                Some("US"),
                "or a number written with letters",
            ),
        ] {
            let error = e164(text, code.and_then(region)).unwrap_err();
            assert!(error.detail.contains(expected), "{text}: {}", error.detail);
        }
        assert!(e164("+1 4155552671", None).is_ok());
    }

    #[test]
    fn a_long_text_is_no_phone_number() {
        let padded = |length: usize| format!("415{}5552671", " ".repeat(length - 10));
        let longest = us(&padded(TEXT_CHARS_MAX));
        assert_eq!(longest.as_deref(), Some("+14155552671"));
        assert_eq!(us(&padded(TEXT_CHARS_MAX + 1)), None);
    }

    #[test]
    fn a_possible_number_that_no_table_has_is_accepted_and_found() {
        take_unlisted();
        assert_eq!(us("415 555 2671").as_deref(), Some("+14155552671"));
        assert!(!take_unlisted());
        for text in ["222 262 0100", "+1 745 262 0100"] {
            assert!(us(text).is_some(), "{text}");
            assert!(take_unlisted(), "{text}");
        }
        assert!(e164("+1 222 262 0100", None).is_ok());
        assert!(take_unlisted());
        for text in [
            "(555) 555-2671",
            "950 262 0100",
            "911 262 0100",
            "393 262 0100",
            "375 262 0100",
            "967 262 0100",
            "122 262 0100",
            "022 262 0100",
            "222 162 0100",
            "222 062 0100",
            "222 911 0100",
            "222 262 010",
            "222 262 01000",
            "262 0100",
            "+999 123456",
        ] {
            assert_eq!(us(text), None, "{text}");
        }
        assert!(!take_unlisted());
    }
}
