//! The functions `date`, `moment` and `months_since` of the mapping language: dates and times.

use jiff::{Timestamp, Unit};
use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;
use crate::time::rfc3339;

/// Converts a date or an RFC 3339 time to `YYYY-MM-DD`. The result is the date that the text contains: the function
/// does not convert the time to UTC.
pub(super) fn date(text: &str) -> Conversion {
    rfc3339::date(text)
        .map(|date| Value::from(date.to_string()))
        .ok_or_else(|| ValueError::new(NOT_A_DATE))
}

/// Counts the whole months from the date `date` to the date or time `at`. If `at` is the time of the event, the bridge
/// can map the event again later and gets the same number.
pub(super) fn months_since(date: &Value, at: &Value) -> Conversion {
    let date_of = |value: &Value| value.as_str().and_then(rfc3339::date);
    let from = date_of(date).ok_or_else(|| ValueError::new(NOT_A_DATE))?;
    let to = date_of(at).ok_or_else(|| ValueError::of_second(NOT_A_DATE))?;
    if from > to {
        return Err(ValueError::new(
            "The date is after the moment that months are counted to.",
        ));
    }
    from.until((Unit::Month, to))
        .map(|span| Value::from(span.get_months()))
        .ok()
        .ok_or_else(|| ValueError::new("The date is too far from the moment."))
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

    /// Converts a number of time units since the Unix epoch to an RFC 3339 text in UTC. If the value is an RFC 3339
    /// text, returns the text unchanged.
    pub(super) fn moment(self, value: &Value) -> Conversion {
        let refused =
            || ValueError::new("The value is neither a whole number nor an RFC 3339 moment.");
        if let Some(text) = value.as_str()
            && rfc3339::date_time(text).is_some()
        {
            return Ok(Value::from(text));
        }
        let digits = |text: &str| text.parse().ok().filter(|_: &i64| !text.starts_with('+'));
        let number = value.as_i64().or_else(|| value.as_str().and_then(digits));
        let number = number.ok_or_else(refused)?;
        let moment = match self {
            Self::Seconds => Timestamp::from_second(number),
            Self::Milliseconds => Timestamp::from_millisecond(number),
            Self::Microseconds => Timestamp::from_microsecond(number),
        };
        moment
            .map(|moment| Value::from(moment.to_string()))
            .ok()
            .ok_or_else(|| ValueError::new("The number is outside the range of the calendar."))
    }
}

/// Converts an RFC 3339 time to microseconds since the Unix epoch. The function cuts off fractions of a microsecond.
pub(crate) fn microseconds(text: &str) -> Option<i64> {
    rfc3339::date_time(text).map(Timestamp::as_microsecond)
}

const NOT_A_DATE: &str = "The text is neither a date as YYYY-MM-DD nor an RFC 3339 moment.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::error::Argument;

    fn value(result: Conversion) -> Option<Value> {
        result.ok()
    }

    #[test]
    fn months_are_whole() {
        for (from, to, expected) in [
            ("2024-01-10", "2025-02-13T19:08:07Z", Some(13)),
            ("2024-01-14", "2025-02-13", Some(12)),
            ("2025-02-13", "2025-02-13", Some(0)),
            ("2025-02-14", "2025-02-13", None),
            ("2024-02-29", "2025-02-28", Some(11)),
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
