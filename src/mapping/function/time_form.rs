//! The forms of a time that the bridge does not read, each with the text that the author of a mapping must write.

use serde_json::Value;

use super::super::number;
use super::calendar::{self, EpochUnit};
use crate::time::rfc3339;

const OTHER_SPELLING: &str =
    "The value is not an RFC 3339 time; the functions utc and moment make one.";
const NUMBER: &str = "The value is a number, not an RFC 3339 time; if the number counts the time since 1970, the function moment makes one.";
const DIGITS_OF_A_DATE: &str = "The value is a number. If its 8 digits are a date, `text | \"\\(.[0:4])-\\(.[4:6])-\\(.[6:8])\"` writes it with hyphens; if it counts the time since 1970, the function moment makes a time of it.";
const FOUR_DIGITS: &str = "The value is a number of 4 digits. A year alone is no date and no time, so the source must send the whole date.";
const NO_OFFSET: &str = "The time has no offset from UTC. If the expression cuts the offset off, such as with [0:19], read the whole text. If the source writes its times in UTC without an offset, append \"Z\", as in \"\\(.time)Z\" | utc.";
const NO_SECONDS: &str = "The time has no seconds. The source must send them; to a time in UTC without an offset, append \":00Z\", as in \"\\(.time):00Z\" | utc.";
const DATE: &str = "The text is a date without a time of day. If the expression cuts the time off, such as with the function date, leave this out. If the source has only the date, and the start of the day in UTC is right, append \"T00:00:00Z\", as in \"\\(.date)T00:00:00Z\".";
const RFC_2822: &str = "The text is a time of RFC 2822, which no function reads. The source must send RFC 3339, such as 2025-02-13T14:08:07-05:00.";
/// The error text for a number that counts further than the calendar.
pub(super) const OUT_OF_RANGE: &str = "The number is outside the range of the calendar.";
const NOT_A_TEXT: &str = "The value is not a text with a time, such as 2025-02-13T14:08:07-05:00.";
const NOT_A_TIME: &str = "The text has no form of a time that the bridge reads. The source must send RFC 3339, such as 2025-02-13T14:08:07-05:00.";
const IMPOSSIBLE: &str = "The text has the form of a time, but its date, its time of day or its offset from UTC does not exist.";

const TWO_OFFSETS: &str = "The text has two offsets from UTC. If the expression appends one, such as \"Z\", the time of the source already has an offset: use the time without the text that the expression appends.";
const ONLY_OFFSET: &str = "The text has an offset from UTC without a time. If the expression appends the offset, the time of the source is empty.";
const DATE_WITH_OFFSET: &str = "The text is a date with an offset from UTC, without a time of day. If the expression appends the offset, and the start of the day in UTC is right, append \"T00:00:00Z\" instead.";
const NUMBER_WITH_OFFSET: &str = "The text is a number with an offset from UTC. If the expression appends the offset and the number counts the time since 1970, use the function moment without the appended text.";

/// The text before the seconds of a time.
const DATE_AND_MINUTES_LEN: usize = "0000-00-00T00:00".len();

/// Describes a value that is not an RFC 3339 time: the form of the value, and what the author of the mapping must write.
/// Every function that the text names accepts the value.
pub(in crate::mapping) fn advice(value: &Value) -> &'static str {
    match value {
        Value::String(text) => known_form(text).unwrap_or(NOT_A_TIME),
        Value::Number(number) if number.is_i64() => {
            of_digits(&number.to_string()).unwrap_or(NUMBER)
        }
        Value::Number(_) if is_moment(value) => NUMBER,
        Value::Number(_) => number::not_whole(value).unwrap_or(OUT_OF_RANGE),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => NOT_A_TEXT,
    }
}

/// As [`advice`], for a text.
pub(crate) fn advice_for_text(text: &str) -> &'static str {
    known_form(text).unwrap_or(NOT_A_TIME)
}

/// As [`advice`], for a text whose form is known. A text in another form has no advice.
pub(super) fn known_form(text: &str) -> Option<&'static str> {
    let is_time = |text: &str| calendar::moment_of(text).is_some();
    if is_time(text) {
        Some(OTHER_SPELLING)
    } else if calendar::whole(text).is_some() || is_moment(&Value::from(text)) {
        Some(of_digits(text).unwrap_or(NUMBER))
    } else if is_time(&format!("{text}Z")) {
        Some(NO_OFFSET)
    } else if rfc3339::date(text).is_some() {
        Some(DATE)
    } else if with_seconds(text).is_some_and(|text| is_time(&text) || is_time(&format!("{text}Z")))
    {
        Some(NO_SECONDS)
    } else if jiff::fmt::rfc2822::parse(text.trim()).is_ok() {
        Some(RFC_2822)
    } else {
        wrong_offset(text).or_else(|| has_form(text).then_some(IMPOSSIBLE))
    }
}

/// Describes a number that is possibly a date without hyphens, such as 19700506, or a year.
fn of_digits(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let part = |from: usize, to: usize| text.get(from..to);
    match (digits, text.len()) {
        (true, 4) => Some(FOUR_DIGITS),
        (true, 8) => {
            let date = format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?);
            rfc3339::date(&date).map(|_date| DIGITS_OF_A_DATE)
        }
        _other => None,
    }
}

/// Returns whether a text has digits in all places of RFC 3339, also for a day such as 30 February.
fn has_form(text: &str) -> bool {
    let digits = |text: &str| text.replace(|sign: char| sign.is_ascii_digit(), "0");
    let (time, fraction) = match text.split_once('.') {
        Some((time, rest)) => (
            time.to_owned(),
            rest.trim_start_matches(|sign: char| sign.is_ascii_digit()),
        ),
        None => match text.split_at_checked("0000-00-00T00:00:00".len()) {
            Some((time, offset)) => (time.to_owned(), offset),
            None => (text.to_owned(), ""),
        },
    };
    let is_time = ["0000-00-00", "0000-00-00T00:00:00", "0000-00-00 00:00:00"];
    let offsets = ["", "Z", "z", "+00:00", "-00:00"];
    is_time.contains(&digits(&time).as_str()) && offsets.contains(&digits(fraction).as_str())
}

/// Describes a text that ends in an offset which does not fit the text before it. An expression such as `"\(.time)Z"`
/// appends the offset also to a value that is no time without an offset.
fn wrong_offset(text: &str) -> Option<&'static str> {
    let before = without_offset(text)?;
    if before.trim().is_empty() {
        Some(ONLY_OFFSET)
    } else if calendar::moment_of(before).is_some() {
        Some(TWO_OFFSETS)
    } else if rfc3339::date(before).is_some() {
        Some(DATE_WITH_OFFSET)
    } else if calendar::whole(before).is_some() {
        Some(NUMBER_WITH_OFFSET)
    } else {
        None
    }
}

/// Returns the text before an offset from UTC, such as `Z` or `-05:00`, at its end.
fn without_offset(text: &str) -> Option<&str> {
    if let Some(before) = text.strip_suffix(['Z', 'z']) {
        return Some(before);
    }
    let start = text.len().checked_sub("+00:00".len())?;
    let (before, offset) = text.split_at_checked(start)?;
    let is_offset = match offset.as_bytes() {
        [b'+' | b'-', hours @ .., b':', _, _] => hours.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_offset.then_some(before)
}

/// Returns whether the function `moment` reads the value, which can have decimals.
fn is_moment(value: &Value) -> bool {
    EpochUnit::Seconds.with_decimals(value).is_some()
}

fn with_seconds(text: &str) -> Option<String> {
    let (minutes, offset) = text.split_at_checked(DATE_AND_MINUTES_LEN)?;
    Some(format!("{minutes}:00{offset}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::calendar::{date, microseconds, utc};
    use super::*;

    /// Returns values, each with its advice and with the text that corrects it.
    fn forms() -> Vec<(Value, &'static str, &'static str)> {
        vec![
            (json!("2025-02-13 19:08:07 UTC"), OTHER_SPELLING, ""),
            (json!("2025-02-13T14:08:07-0500"), OTHER_SPELLING, ""),
            (json!("/Date(1739473687250)/"), OTHER_SPELLING, ""),
            (json!("2025-02-13T19:08:07"), NO_OFFSET, "Z"),
            (json!("2025-02-13 19:08:07.250"), NO_OFFSET, "Z"),
            (json!("2025-02-13T19:08"), NO_SECONDS, ":00Z"),
            (json!("2025-02-13 19:08+01:00"), NO_SECONDS, ""),
            (json!("2025-02-13"), DATE, "T00:00:00Z"),
            (json!("Fri, 14 Feb 2025 16:03:00 -0500"), RFC_2822, ""),
            (json!("14 Feb 2025 16:03:00 GMT"), RFC_2822, ""),
            (json!("1739473687"), NUMBER, ""),
            // FAULTS N1205
            (json!("19700506"), DIGITS_OF_A_DATE, ""),
            (json!(19_700_506), DIGITS_OF_A_DATE, ""),
            (json!("19701340"), NUMBER, ""),
            (json!("1970"), FOUR_DIGITS, ""),
            (json!(1970), FOUR_DIGITS, ""),
            (json!(1_739_473_687), NUMBER, ""),
            (json!(1_739_473_687.25), NUMBER, ""),
            (json!("1739473687.250"), NUMBER, ""),
            (json!("02/13/2025 2:08 PM"), NOT_A_TIME, ""),
            (json!("13 Feb, 2025 14:08"), NOT_A_TIME, ""),
            // FAULTS N1051
            (json!("2025-02-30T19:08:07Z"), IMPOSSIBLE, ""),
            (json!("2026-02-30T14:08:07-05:00"), IMPOSSIBLE, ""),
            (json!("2026-02-30T14:08:07.250+01:00"), IMPOSSIBLE, ""),
            (json!("2026-11-31"), IMPOSSIBLE, ""),
            (json!("2026-13-01 14:08:07"), IMPOSSIBLE, ""),
            (json!("2026-02-30T14:08:07 EST"), NOT_A_TIME, ""),
            (json!("2025-02-13T19:08:07ZZ"), TWO_OFFSETS, ""),
            (json!("2025-02-13T14:08:07-05:00Z"), TWO_OFFSETS, ""),
            (json!("2025-02-13T19:08:07Z+01:00"), TWO_OFFSETS, ""),
            (json!("2025-02-13Z"), DATE_WITH_OFFSET, ""),
            (json!("1739473687Z"), NUMBER_WITH_OFFSET, ""),
            (json!("Z"), ONLY_OFFSET, ""),
            (json!("  +00:00"), ONLY_OFFSET, ""),
            (json!(["2025-02-13"]), NOT_A_TEXT, ""),
            (json!(u64::MAX), OUT_OF_RANGE, ""),
        ]
    }

    /// FAULTS N396, N917: the advice of every reader is true for each form of a time, and the advised function accepts the
    /// value.
    #[test]
    fn the_advice_is_true_for_each_form() {
        for (value, expected, corrected) in forms() {
            assert_eq!(advice(&value), expected, "{value}");
            let Some(text) = value.as_str() else { continue };
            assert_eq!(microseconds(text), None, "{text}");
            assert_eq!(advice_for_text(text), expected, "{text}");
            let moment = EpochUnit::Seconds.moment(&value);
            match utc(text) {
                Ok(_time) => assert_eq!((expected, moment.is_ok()), (OTHER_SPELLING, true)),
                Err(error) => assert_eq!(error.detail, expected, "utc of {text}"),
            }
            match moment {
                Ok(_time) => {
                    let advised = [OTHER_SPELLING, NUMBER, DIGITS_OF_A_DATE, FOUR_DIGITS];
                    assert!(advised.contains(&expected), "{text}");
                }
                Err(error) => assert_eq!(error.detail, expected, "moment of {text}"),
            }
            if !corrected.is_empty() {
                assert!(utc(&format!("{text}{corrected}")).is_ok(), "{text}");
            }
            if let Err(error) = date(text)
                && expected != NOT_A_TIME
                && !text.starts_with("/Date")
            {
                assert_eq!(error.detail, expected, "date of {text}");
            }
        }
    }
}
