//! Reads times and dates in RFC 3339 text. No other module reads RFC 3339 text.
//!
//! The date library alone accepts more than RFC 3339: a space instead of `T`, a time without seconds, an offset without
//! a colon, a time zone in brackets. The functions in this module check the shape of the text first. The function
//! [`loose_date_time`] accepts some other spellings of a time that leave no doubt about the moment.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

/// The start of Unix time. To check whether an offset is valid, [`moment`] parses this time with the offset.
const EPOCH: &str = "1970-01-01T00:00:00";
const DATE: &str = "0000-00-00";
const DATE_AND_SECONDS: &str = "0000-00-00T00:00:00";
/// The maximum number of digits in the fraction of a second: nine digits express a nanosecond.
const FRACTION_DIGITS_MAX: usize = 9;

/// Reads a `date-time`: `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`, with `T` and `Z` in either case.
///
/// The second 60 is a leap second (RFC 3339, section 5.7). The result is one second after the second 59, so that a leap
/// second follows every fraction of the second 59. The date library ends about a day before the year 10000; the result
/// of a later time is the last moment that the library can represent.
pub fn date_time(text: &str) -> Option<Timestamp> {
    let (seconds, rest) = text.split_at_checked(DATE_AND_SECONDS.len())?;
    let offset = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = fraction.len() - offset.len();
            if !(1..=FRACTION_DIGITS_MAX).contains(&digits) {
                return None;
            }
            offset
        }
    };
    let is_offset =
        matches!(offset, "Z" | "z") || has_shape(offset, "+00:00") || has_shape(offset, "-00:00");
    if !has_shape(seconds, DATE_AND_SECONDS) || !is_offset {
        return None;
    }
    match seconds.strip_suffix(":60") {
        Some(minute) => moment(&format!("{minute}:59{rest}"), offset).map(|moment| {
            moment
                .saturating_add(SignedDuration::from_secs(1))
                .unwrap_or(Timestamp::MAX)
        }),
        None => moment(text, offset),
    }
}

/// Reads a `date-time`, also in the spellings of other standards and programs:
///
/// - an offset without a colon, `+0000`: the basic format of ISO 8601:2004, section 4.2.5.1, as Salesforce's REST API
///   (version 60.0, 2024) and Java's pattern `Z` write it;
/// - an offset of hours, `+00`, and a space instead of `T`: ISO 8601:2004, section 4.2.5.1, and the output of PostgreSQL
///   17 (2024), section 8.5.2;
/// - a space before the offset, and `UTC`: the output of `Time#to_s` in Ruby 3.3 (2023).
///
/// A text without an offset is no moment, because only its author knows the time zone.
pub fn loose_date_time(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_at_checked(DATE.len())?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = match time.strip_suffix("UTC") {
        Some(clock) => (clock, "Z"),
        None => time.split_at_checked(time.find(['+', '-', 'Z', 'z'])?)?,
    };
    let clock = clock.strip_suffix(' ').unwrap_or(clock);
    let offset = match offset.split_at_checked("+00".len()) {
        Some((hours, "")) => format!("{hours}:00"),
        Some((hours, minutes)) if !minutes.starts_with(':') => format!("{hours}:{minutes}"),
        Some(_) | None => offset.to_owned(),
    };
    date_time(&format!("{date}T{clock}{offset}"))
}

/// Returns the moment of a text with the right shape. `offset` is the end of the text.
///
/// If the date library cannot represent a valid moment, returns the last moment that the library can represent.
fn moment(text: &str, offset: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let seconds = text.get(..DATE_AND_SECONDS.len())?;
    let is_valid = seconds.parse::<DateTime>().is_ok()
        && format!("{EPOCH}{offset}").parse::<Timestamp>().is_ok();
    is_valid.then_some(Timestamp::MAX)
}

/// Reads a `full-date` (`YYYY-MM-DD`), or the date of a `date-time` as written, without converting its offset.
pub fn date(text: &str) -> Option<Date> {
    let (date, time) = text.split_at_checked(DATE.len())?;
    let is_date = time.is_empty() || date_time(text).is_some();
    (is_date && has_shape(date, DATE))
        .then(|| date.parse().ok())
        .flatten()
}

/// Returns whether `text` has the form of `shape`. A `0` in `shape` stands for any digit; the other characters must be
/// equal, ignoring case.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, expected)| {
            if expected == b'0' {
                byte.is_ascii_digit()
            } else {
                byte.eq_ignore_ascii_case(&expected)
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_time_is_a_moment() {
        for (text, microsecond) in [
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01t00:00:01z", 1_000_000),
            ("1970-01-01T00:00:00.5Z", 500_000),
            ("1970-01-01T00:00:00.123456789Z", 123_456),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T16:00:00-08:00", 0),
            ("1970-01-01T00:00:00-00:00", 0),
        ] {
            let moment = date_time(text).map(Timestamp::as_microsecond);
            assert_eq!(moment, Some(microsecond), "{text}");
        }
    }

    #[test]
    fn other_spellings_of_a_moment_are_read() {
        for text in [
            "2025-02-13T19:08:07Z",
            "2025-02-13T19:08:07.000+0000",
            "2025-02-13T19:08:07+00",
            "2025-02-13 19:08:07+00:00",
            "2025-02-13 14:08:07.000000-05",
            "2025-02-14t00:38:07+0530",
            "2025-02-13 19:08:07 +0000",
            "2025-02-13 19:08:07 UTC",
            "2025-02-13 19:08:07.0 -0000",
        ] {
            let moment = loose_date_time(text).map(Timestamp::as_second);
            assert_eq!(moment, Some(1_739_473_687), "{text}");
        }
        for text in [
            "2025-02-13T19:08:07",
            "2025-02-13 19:08:07",
            "2025-02-13",
            "2025-02-13T19:08:07+0",
            "2025-02-13T19:08:07+000",
            "2025-02-13T19:08:07+00000",
            "2025-02-13T19:08:07+9900",
            "2025-02-13T19:08:07+ 000",
            "2025-02-13T19:08+0000",
            "2025-02-13T19:08:07  UTC",
            "2025-02-13T19:08:07EST",
            "2025-02-13T19:08:07.+0000",
            "13.02.2025 19:08:07+00",
            "+0000",
            "",
        ] {
            assert_eq!(loose_date_time(text), None, "{text}");
        }
    }

    /// FAULTS C08
    #[test]
    fn a_leap_second_follows_the_second_before() {
        let moment = |text: &str| date_time(text).unwrap();
        let before = moment("2016-12-31T23:59:59.999Z");
        let leap = moment("2016-12-31T23:59:60Z");
        assert!(before < leap, "{before} {leap}");
        assert!(leap < moment("2016-12-31T23:59:60.5Z"));
        assert_eq!(leap, moment("2017-01-01T00:00:00Z"));
        assert_eq!(leap, moment("2016-12-31T18:59:60-05:00"));
        for text in [
            "2016-12-31T23:59:61Z",
            "2016-12-31T23:60:00Z",
            "2016-12-31T24:00:00Z",
        ] {
            assert_eq!(date_time(text), None, "{text}");
        }
    }

    /// FAULTS C08: systems without an end date send the last second of the year 9999.
    #[test]
    fn the_last_second_of_the_calendar_is_valid() {
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:60Z",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(date_time(text), Some(Timestamp::MAX), "{text}");
        }
        for text in [
            "9999-12-32T00:00:00Z",
            "9999-13-01T00:00:00Z",
            "9999-12-31T23:59:59+99:99",
        ] {
            assert_eq!(date_time(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_standard_does_not_allow_is_no_date_time() {
        for text in [
            "",
            "Z",
            "2025-02-13",
            "2025-02-13 19:08:07Z",
            "2025-02-13T19:08Z",
            "2025-02-13T19:08:07",
            "2025-02-13T19:08:07.Z",
            "2025-02-13T19:08:07.1234567890Z",
            "2025-02-13T19:08:07,5Z",
            "2025-02-13T19:08:07+0100",
            "2025-02-13T19:08:07+01",
            "2025-02-13T19:08:07Z[UTC]",
            "2025-02-13T19:08:07ZZ",
            "2025-02-30T19:08:07Z",
            "2025-02-13T25:08:07Z",
            "20250213T190807Z",
            "+002025-02-13T19:08:07Z",
            "٢٠٢٥-02-13T19:08:07Z",
            "1739473687",
        ] {
            assert_eq!(date_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_stands_alone_or_begins_a_date_time() {
        for (text, expected) in [
            ("2024-02-29", Some("2024-02-29")),
            ("2024-01-10T23:00:00-08:00", Some("2024-01-10")),
            ("2025-02-29", None),
            ("2024-01-10T23:00:00", None),
            ("2024-01-10Z", None),
            ("2024-01-1", None),
            ("2024/01/10", None),
            ("20240110", None),
            ("", None),
        ] {
            let date = date(text).map(|date| date.to_string());
            assert_eq!(date.as_deref(), expected, "{text}");
        }
    }
}
