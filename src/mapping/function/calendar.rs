//! The functions `date`, `moment`, `months_since` and `utc` of the mapping language: dates and times.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::Value;

use super::super::error::ValueError;
use super::{Conversion, time_form};
use crate::time::rfc3339;

/// Converts a date or an RFC 3339 time to `YYYY-MM-DD`. The result is the date that the text contains: the function
/// does not convert the time to UTC.
///
/// The function reads Microsoft's `/Date(…)/` only if the time is midnight in UTC, and without an offset. The date of
/// another time depends on the time zone, which `/Date(…)/` does not contain.
pub(super) fn date(text: &str) -> Conversion {
    if let Some(date) = rfc3339::date(text) {
        return Ok(Value::from(date.to_string()));
    }
    let moment = wire_date(text)
        .ok_or_else(|| ValueError::new(time_form::known_form(text).unwrap_or(NOT_A_DATE)))?;
    let time = TimeZone::UTC.to_datetime(moment);
    let has_offset = text
        .get("/Date(-".len()..)
        .is_some_and(|rest| rest.contains(['+', '-']));
    if has_offset || time.time() != Time::midnight() {
        return Err(ValueError::new(
            "The time is not midnight in UTC, so its date depends on the time zone; the function utc makes a time.",
        ));
    }
    Ok(Value::from(time.date().to_string()))
}

/// Converts a time to RFC 3339 text in UTC. The time is RFC 3339 text, a spelling that [`rfc3339::loose_date_time`]
/// reads, or Microsoft's `/Date(…)/`.
pub(super) fn utc(text: &str) -> Conversion {
    moment_of(text)
        .map(|moment| Value::from(moment.to_string()))
        .ok_or_else(|| ValueError::new(time_form::advice_for_text(text)))
}

/// The difference of two clocks of one system is less than this. The time of a new customer can be later than the time of the first
/// event by as much.
const CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(1);

/// Counts the whole months from `from` to `to`, 0 if `from` is later by less than a second. If `to` is the time of the event, the bridge can map the event again
/// later and gets the same number.
///
/// Two times are moments on one time line, so their offsets do not matter. A date has no time zone: if one of the two
/// values is a date, the function counts from date to date, as the values write the dates.
pub(super) fn months_since(from: &Value, to: &Value) -> Conversion {
    let start = MonthMark::read(from).ok_or_else(|| ValueError::new(not_a_date(from)))?;
    let end = MonthMark::read(to).ok_or_else(|| ValueError::of_second(not_a_date(to)))?;
    let (start, end) = match (start.moment, end.moment) {
        (Some(start), Some(end)) => (start, end),
        (None, _) | (_, None) => (start.date, end.date),
    };
    let early = start.duration_since(end);
    if early.is_positive() && early < CLOCK_DIFFERENCE {
        return Ok(Value::from(0));
    }
    if early.is_positive() {
        return Err(ValueError::new(
            "The date is after the moment that months are counted to, so one of the two is wrong.",
        ));
    }
    start
        .until((Unit::Month, end))
        .map(|span| Value::from(span.get_months()))
        .ok()
        .ok_or_else(|| ValueError::new("The date is too far from the moment."))
}

/// The start or the end of the months that [`months_since`] counts.
struct MonthMark {
    /// The start of the date that the value contains, without a time zone.
    date: DateTime,
    /// The time in UTC, if the value is not only a date.
    moment: Option<DateTime>,
}

impl MonthMark {
    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        let moment = rfc3339::date_time(text);
        Some(Self {
            date: rfc3339::date(text)?.into(),
            moment: moment.map(|moment| TimeZone::UTC.to_datetime(moment)),
        })
    }
}

/// Reads a time with an offset, or Microsoft's `/Date(…)/`.
pub(super) fn moment_of(text: &str) -> Option<Timestamp> {
    rfc3339::loose_date_time(text).or_else(|| wire_date(text))
}

/// Reads `/Date(1739473687250)/` and `/Date(1739473687250+0100)/`: milliseconds since the Unix epoch. The offset tells
/// only that the writer used local time; its value has no effect on the moment.
///
/// The format is from Microsoft's page "Stand-Alone JSON Serialization" (.NET Framework, 2017). Dynamics 365 and Xero
/// use the format.
fn wire_date(text: &str) -> Option<Timestamp> {
    let inner = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let number = match inner.rfind(['+', '-']).filter(|at| *at > 0) {
        None => inner,
        Some(at) => {
            let (number, offset) = inner.split_at_checked(at)?;
            let has_digits = offset.bytes().skip(1).all(|byte| byte.is_ascii_digit());
            (has_digits && offset.len() == "+0000".len()).then_some(number)?
        }
    };
    Timestamp::from_millisecond(whole(number)?).ok()
}

/// Reads digits with an optional minus sign.
pub(super) fn whole(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_: &i64| !text.starts_with('+'))
}

/// The unit of a number that counts the time since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum EpochUnit {
    Seconds,
    Milliseconds,
    Microseconds,
}

impl EpochUnit {
    pub(in crate::mapping) fn parse(name: &str) -> Option<Self> {
        match name {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Milliseconds),
            "us" => Some(Self::Microseconds),
            _other => None,
        }
    }

    /// Converts a number of time units since the Unix epoch to an RFC 3339 text in UTC. An RFC 3339 text stays
    /// unchanged. Another text that [`utc`] reads becomes an RFC 3339 text in UTC.
    pub(super) fn moment(self, value: &Value) -> Conversion {
        let refused = || ValueError::new(time_form::advice(value));
        if let Some(text) = value.as_str() {
            if rfc3339::date_time(text).is_some() {
                return Ok(Value::from(text));
            }
            if let Some(moment) = moment_of(text) {
                return Ok(Value::from(moment.to_string()));
            }
        }
        let number = value.as_i64().or_else(|| value.as_str().and_then(whole));
        let moment = match (number, self) {
            (Some(number), Self::Seconds) => Timestamp::from_second(number),
            (Some(number), Self::Milliseconds) => Timestamp::from_millisecond(number),
            (Some(number), Self::Microseconds) => Timestamp::from_microsecond(number),
            (None, unit) => {
                let number = unit.with_decimals(value).ok_or_else(refused)?;
                Timestamp::from_microsecond(number)
            }
        };
        moment
            .map(|moment| Value::from(moment.to_string()))
            .ok()
            .ok_or_else(|| ValueError::new(self.out_of_range()))
    }

    /// Returns the error text for a number that counts further than the calendar: probably in a smaller unit.
    pub(super) const fn out_of_range(self) -> &'static str {
        match self {
            Self::Seconds => {
                "The number is outside the range of the calendar if it counts seconds. If it counts milliseconds, write moment(\"ms\")."
            }
            Self::Milliseconds => {
                "The number is outside the range of the calendar if it counts milliseconds. If it counts microseconds, write moment(\"us\")."
            }
            Self::Microseconds => time_form::OUT_OF_RANGE,
        }
    }

    /// Reads a number with decimals, such as 1739473687.25 seconds, or its text. Returns microseconds; further decimals are
    /// cut off. A 64-bit float keeps the microseconds of every time of this century.
    ///
    /// The number must count from 1970 to the year 2001 or later. A smaller number with decimals is more probably another
    /// form of a time, such as the days of a spreadsheet.
    pub(super) fn with_decimals(self, value: &Value) -> Option<i64> {
        let text = match value {
            Value::Number(number) if number.is_f64() => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => return None,
        };
        let (count, decimals) = text.split_once('.')?;
        let (count_digits_min, digits) = match self {
            Self::Seconds => (10, 6),
            Self::Milliseconds => (13, 3),
            Self::Microseconds => return None,
        };
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if count.len() < count_digits_min || !are_digits(count) || !are_digits(decimals) {
            return None;
        }
        let decimals: String = decimals
            .chars()
            .chain("000000".chars())
            .take(digits)
            .collect();
        whole(&format!("{count}{decimals}"))
    }
}

/// Converts an RFC 3339 time to microseconds since the Unix epoch. The function cuts off fractions of a microsecond.
pub(crate) fn microseconds(text: &str) -> Option<i64> {
    rfc3339::date_time(text).map(Timestamp::as_microsecond)
}

const NOT_A_DATE: &str =
    "The value is neither a date as YYYY-MM-DD nor a time with an offset from UTC.";

fn not_a_date(value: &Value) -> &'static str {
    let text = value.as_str();
    text.and_then(time_form::known_form).unwrap_or(NOT_A_DATE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::error::Argument;

    fn value(result: Conversion) -> Option<Value> {
        result.ok()
    }

    /// FAULTS N325
    #[test]
    fn months_are_whole() {
        for (from, to, expected) in [
            ("2024-01-10", "2025-02-13T19:08:07Z", Some(13)),
            ("2024-01-14", "2025-02-13", Some(12)),
            ("2025-02-13", "2025-02-13", Some(0)),
            ("2025-02-14", "2025-02-13", None),
            ("2024-02-29", "2025-02-28", Some(11)),
            // Two times are moments: the offsets do not matter, and the time of day counts.
            ("2025-03-02T03:00:00Z", "2025-03-01T19:05:00-08:00", Some(0)),
            ("2025-03-02T03:00:00Z", "2025-03-01T18:55:00-08:00", None),
            // FAULTS N1565: the two times come from different clocks.
            (
                "2025-03-01T10:00:00.412Z",
                "2025-03-01T10:00:00.398Z",
                Some(0),
            ),
            ("2025-03-01T10:00:00.999Z", "2025-03-01T10:00:00Z", Some(0)),
            ("2025-03-01T10:00:01Z", "2025-03-01T10:00:00Z", None),
            ("2025-03-02", "2025-03-01", None),
            ("2025-01-31T23:30:00-05:00", "2025-03-01T04:30:00Z", Some(1)),
            ("2025-01-10T12:00:00Z", "2025-02-10T11:59:59Z", Some(0)),
            ("2025-01-10T12:00:00Z", "2025-02-10T12:00:00Z", Some(1)),
            // A date has no time zone.
            ("2025-03-01", "2025-03-01T00:30:00+09:00", Some(0)),
            ("2025-03-01T23:30:00-08:00", "2025-04-01", Some(1)),
        ] {
            let months = value(months_since(&json!(from), &json!(to)));
            assert_eq!(months, expected.map(Value::from), "{from} to {to}");
        }
    }

    #[test]
    fn an_error_names_the_argument_without_a_date() {
        let argument = |from: Value, to: Value| months_since(&from, &to).unwrap_err().argument;
        assert_eq!(argument(json!("x"), json!("x")), Argument::First);
        assert_eq!(argument(json!(7), json!("2025-02-13")), Argument::First);
        assert_eq!(argument(json!("2025-02-13"), json!("x")), Argument::Second);
    }

    #[test]
    fn a_number_is_a_moment_in_the_named_unit() {
        for (unit, number, expected) in [
            ("s", json!(1), Some("1970-01-01T00:00:01Z")),
            ("ms", json!(1_500), Some("1970-01-01T00:00:01.5Z")),
            ("us", json!("-1"), Some("1969-12-31T23:59:59.999999Z")),
            (
                "s",
                json!("1970-01-01t00:00:01Z"),
                Some("1970-01-01t00:00:01Z"),
            ),
            ("s", json!("+1"), None),
            ("s", json!(1.5), None),
            ("s", json!(i64::MAX), None),
            ("s", json!(true), None),
        ] {
            let moment = value(EpochUnit::parse(unit).unwrap().moment(&number));
            assert_eq!(moment, expected.map(Value::from), "{unit} {number}");
        }
        assert_eq!(EpochUnit::parse("minutes"), None);
    }

    #[test]
    fn other_spellings_of_a_time_become_utc() {
        for (text, expected) in [
            ("2025-02-13T14:08:07-05:00", Some("2025-02-13T19:08:07Z")),
            (
                "2025-02-13T19:08:07.250+0000",
                Some("2025-02-13T19:08:07.25Z"),
            ),
            ("2025-02-13 20:08:07+01", Some("2025-02-13T19:08:07Z")),
            ("/Date(1739473687250)/", Some("2025-02-13T19:08:07.25Z")),
            (
                "/Date(1739473687250+0100)/",
                Some("2025-02-13T19:08:07.25Z"),
            ),
            ("/Date(-1000-0800)/", Some("1969-12-31T23:59:59Z")),
            ("/Date(-62135596800000)/", Some("0001-01-01T00:00:00Z")),
            ("/Date()/", None),
            ("/Date(+5)/", None),
            ("/Date(5+01)/", None),
            ("/Date(5+01:0)/", None),
            ("/Date(1e3)/", None),
            ("/Date(9223372036854775807)/", None),
            ("2025-02-13", None),
            ("2025-02-13T19:08:07", None),
            ("1739473687", None),
        ] {
            assert_eq!(value(utc(text)), expected.map(Value::from), "{text}");
            if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains('+') {
                let moment = EpochUnit::Seconds.moment(&json!(text));
                assert_eq!(value(moment), expected.map(Value::from), "{text}");
            }
        }
    }

    #[test]
    fn a_moment_counts_microseconds() {
        assert_eq!(microseconds("1970-01-01T00:00:00.0000019Z"), Some(1));
        assert_eq!(microseconds("1970-01-01"), None);
        assert_eq!(
            value(date("2024-01-10T23:00:00-08:00")),
            Some(json!("2024-01-10"))
        );
        assert_eq!(value(date("10.01.2024")), None);
    }
}
