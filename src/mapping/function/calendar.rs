//! Dates and moments.

use jiff::{Timestamp, Unit};
use serde_json::Value;

use super::{Answer, ValueError};
use crate::time::rfc3339;

/// The date, as `YYYY-MM-DD`, of a date or of an RFC 3339 moment as its sender wrote it.
pub(super) fn date(text: &str) -> Answer {
    rfc3339::date(text)
        .map(|date| Value::from(date.to_string()))
        .ok_or_else(|| ValueError::new(NOT_A_DATE))
}

/// The whole months from a date to a moment, which gives an account's tenure as of the event and not as of today: an
/// event that is mapped again says the same again.
pub(super) fn months_since(date: &Value, at: &Value) -> Answer {
    let day_of = |value: &Value| value.as_str().and_then(rfc3339::date);
    let from = day_of(date).ok_or_else(|| ValueError::new(NOT_A_DATE))?;
    let to = day_of(at).ok_or_else(|| ValueError::of_second(NOT_A_DATE))?;
    if from > to {
        return Err(ValueError::new(
            "The date is after the moment to which months are counted.",
        ));
    }
    from.until((Unit::Month, to))
        .map(|span| Value::from(span.get_months()))
        .ok()
        .ok_or_else(|| ValueError::new("The date is too far from the moment."))
}

/// What a number that stands for a moment counts since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum EpochUnit {
    Seconds,
    Milliseconds,
    Microseconds,
}

impl EpochUnit {
    /// The unit of that name.
    pub(in crate::mapping) fn parse(name: &str) -> Option<Self> {
        match name {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Milliseconds),
            "us" => Some(Self::Microseconds),
            _other => None,
        }
    }

    /// The moment that a number stands for, as RFC 3339 in UTC; one that is written so already stays as it is.
    pub(super) fn moment(self, value: &Value) -> Answer {
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
            .ok_or_else(|| ValueError::new("The number stands for no moment of the calendar."))
    }
}

/// Microseconds from the Unix epoch to an RFC 3339 moment; finer fractions are cut.
pub(crate) fn microseconds(text: &str) -> Option<i64> {
    rfc3339::date_time(text).map(Timestamp::as_microsecond)
}

const NOT_A_DATE: &str = "The text is neither a date as YYYY-MM-DD nor an RFC 3339 moment.";
