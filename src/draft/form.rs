//! The form of a value, such as an email address or a time.

use serde_json::Value;

use super::path::Leaf;
use crate::time::Timestamp;

/// The range of whole numbers that can be seconds since 1970: the years 2001 to 2286.
const SECONDS: std::ops::Range<i64> = 1_000_000_000..10_000_000_000;
/// The factor between the ranges of seconds, milliseconds and microseconds.
const THOUSAND: i64 = 1_000;
/// The lowest number of digits in a telephone number.
const PHONE_DIGITS_MIN: usize = 7;
/// The highest number of digits in a telephone number (E.164).
const PHONE_DIGITS_MAX: usize = 15;

/// The form of a time, with the function that turns it into RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    Rfc3339,
    /// A text that the function `utc` reads.
    Utc,
    Seconds,
    Millis,
    Micros,
    /// The text of a whole number of seconds.
    SecondsText,
    /// The text of a whole number of milliseconds.
    MillisText,
    /// A date without a time.
    Date,
}

impl TimeForm {
    /// Returns the form that all values of a leaf have, the form whose function reads all of them, or the form of most
    /// values.
    pub(super) fn of(leaf: &Leaf) -> Option<Self> {
        let mut forms = leaf.present().map(Self::of_value);
        let first = forms.next()?;
        let all = first.and_then(|first| forms.try_fold(first, |form, other| form.with(other?)));
        let of_most = |form: &Option<Self>| leaf.mostly(|value| Self::of_value(value) == *form);
        all.or_else(|| {
            leaf.present()
                .map(Self::of_value)
                .find(|form| form.is_some() && of_most(form))
                .flatten()
        })
    }

    fn with(self, other: Self) -> Option<Self> {
        let is_either = |one, two| [self, other] == [one, two] || [other, self] == [one, two];
        if self == other {
            Some(self)
        } else if is_either(Self::Rfc3339, Self::Utc) {
            Some(Self::Utc)
        } else if is_either(Self::Seconds, Self::SecondsText) {
            Some(Self::SecondsText)
        } else if is_either(Self::Millis, Self::MillisText) {
            Some(Self::MillisText)
        } else {
            None
        }
    }

    pub(super) fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::of_text(text),
            Value::Number(number) => {
                // A number of seconds can have decimals, such as 1739473687.25.
                let text = number.to_string();
                let whole = text
                    .split_once('.')
                    .map_or(text.as_str(), |(whole, _)| whole);
                Self::of_number(whole.parse().ok()?)
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn of_number(number: i64) -> Option<Self> {
        let scaled = |factor: i64| SECONDS.contains(&number.checked_div(factor).unwrap_or(0));
        if scaled(1) {
            Some(Self::Seconds)
        } else if scaled(THOUSAND) {
            Some(Self::Millis)
        } else if scaled(THOUSAND * THOUSAND) {
            Some(Self::Micros)
        } else {
            None
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(number) = text.parse() {
            return match Self::of_number(number)? {
                Self::Seconds => Some(Self::SecondsText),
                Self::Millis => Some(Self::MillisText),
                Self::Micros
                | Self::Rfc3339
                | Self::Utc
                | Self::SecondsText
                | Self::MillisText
                | Self::Date => None,
            };
        }
        if Timestamp::parse_rfc3339(text).is_some() {
            return Some(Self::Rfc3339);
        }
        if text.starts_with("/Date(") {
            return Some(Self::Utc);
        }
        let date = text.get(..10)?;
        let bytes = date.bytes().enumerate();
        let mut bytes = bytes.map(|(at, byte)| {
            if at == 4 || at == 7 {
                byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        });
        if !bytes.all(|fits| fits) {
            return None;
        }
        let rest = text.get(10..)?;
        if rest.is_empty() {
            return Some(Self::Date);
        }
        let has_offset = rest.contains(['+', 'Z']) || rest.ends_with("UTC") || rest.contains('-');
        (rest.starts_with(['T', ' ']) && has_offset).then_some(Self::Utc)
    }

    /// Returns the expression that reads the time at a path as RFC 3339. Returns `None` for a date.
    pub(super) fn expression(self, path: &str) -> Option<String> {
        match self {
            Self::Rfc3339 => Some(path.to_owned()),
            Self::Utc => Some(format!("{path} | utc")),
            Self::Seconds => Some(format!("{path} | moment(\"s\")")),
            Self::Millis => Some(format!("{path} | moment(\"ms\")")),
            Self::Micros => Some(format!("{path} | moment(\"us\")")),
            Self::SecondsText => Some(format!("{path} | whole | moment(\"s\")")),
            Self::MillisText => Some(format!("{path} | whole | moment(\"ms\")")),
            Self::Date => None,
        }
    }
}

/// Returns whether all values of a leaf satisfy the condition. A leaf without values satisfies every condition.
pub(super) fn all(leaf: &Leaf, condition: impl Fn(&Value) -> bool) -> bool {
    leaf.present().all(condition)
}

/// Returns whether a leaf has no value, or at least one value that satisfies the condition. A wrong value in a sample of an
/// invalid event does not hide the member.
pub(super) fn any(leaf: &Leaf, condition: impl Fn(&Value) -> bool) -> bool {
    !leaf.has_value() || leaf.present().any(condition)
}

/// Returns whether a value is a text that contains a JSON object or a JSON list.
pub(super) fn is_json_text(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

pub(super) fn is_email(value: &Value) -> bool {
    let parts = value.as_str().and_then(|text| text.trim().split_once('@'));
    parts.is_some_and(|(local, domain)| {
        let is_plain = |text: &str| !text.is_empty() && !text.contains(['@', ' ', '<', ',', ';']);
        is_plain(local) && is_plain(domain) && domain.contains('.')
    })
}

pub(super) fn is_phone(value: &Value) -> bool {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return false;
        }
    };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let has_letters = text.chars().any(char::is_alphabetic);
    (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits)
        && !has_letters
        && !text.contains(':')
        && !matches!(
            TimeForm::of_text(&text),
            Some(TimeForm::Date | TimeForm::Utc)
        )
}

/// The number of digits of an American telephone number with its area code.
const AMERICAN_DIGITS: usize = 10;

/// Returns whether a telephone number has enough digits for an area code.
pub(super) fn has_area_code(value: &Value) -> bool {
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    let count = match value {
        Value::String(text) => digits(text),
        Value::Number(number) => digits(&number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => 0,
    };
    count >= AMERICAN_DIGITS
}

/// Returns whether a value is a text, also an empty one.
pub(super) fn is_text(value: &Value) -> bool {
    value.is_string()
}

/// Returns whether a value is a text without line breaks that can be a word, a name or a code.
pub(super) fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        let is_word_char = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
        (1..=64).contains(&text.len()) && text.chars().all(is_word_char)
    })
}

/// Returns whether a value can be an id: a whole number, or a text without white space.
pub(super) fn is_id(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::String(text) => {
            let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
            (1..=128).contains(&text.len()) && text.chars().all(is_visible)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Returns whether a value is a language tag, such as `en-US`.
pub(super) fn is_language(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        let mut parts = text.split(['-', '_']);
        let language = parts.next().unwrap_or_default();
        language.len() == 2 && language.bytes().all(|byte| byte.is_ascii_alphabetic())
    })
}

/// Returns whether a value is a whole number, or the text of a whole number.
pub(super) fn is_whole(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64(),
        Value::String(text) => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Returns whether a value is an amount of money: a number, or the text of a decimal number.
pub(super) fn is_amount(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => {
            let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
            has_digit
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-')
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Returns whether a value is a currency code.
pub(super) fn is_currency(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// Returns whether a value is a date with a time of the day, such as `2025-02-13 19:08:07`.
pub(super) fn is_local_time(value: &Value) -> bool {
    let date = value.as_str().and_then(|text| text.get(..10));
    date.is_some_and(|date| TimeForm::of_text(date) == Some(TimeForm::Date))
        && value.as_str().is_some_and(|text| text.contains(':'))
}
