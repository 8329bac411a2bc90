//! The signing time of a request: its header, its unit, and its maximum distance from the bridge's clock.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};

use super::super::{Denial, required};
use super::HeaderItems;
use crate::time::Timestamp;

/// The header of the signing time, the format of the time, and the tolerance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningTime {
    pub header: HeaderName,
    /// The part of the header that is the signing time.
    pub header_items: HeaderItems,
    pub unit: TimeUnit,
    /// The maximum distance of the signing time from the bridge's clock, in both directions.
    pub tolerance: Duration,
}

/// The unit of a signing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// The signing time is the number of seconds since 1970, in digits only.
    Seconds,
    /// The signing time is the number of milliseconds since 1970, in digits only.
    Milliseconds,
    /// The signing time is text in the format of RFC 3339.
    Rfc3339,
}

impl SigningTime {
    /// Returns the text of the signing time, if the time is within the tolerance.
    pub(super) fn read<'a>(
        &'a self,
        headers: &'a HeaderMap,
        wall: Timestamp,
    ) -> Result<&'a str, Denial> {
        let header = self.header.as_str();
        let mut items = self.header_items.items(required(headers, header)?);
        let (Some(text), None) = (items.next(), items.next()) else {
            let detail = format!("the header {header} does not have exactly one signing time");
            return Err(Denial::malformed(detail));
        };
        let signed_at = self.unit.parse(text).ok_or_else(|| {
            let detail = format!(
                "the signing time in the header {header} is not in auth.timestamp_unit \"{}\"{}",
                self.unit.as_str(),
                self.other_unit(text, wall)
            );
            Denial::malformed(detail)
        })?;
        let now = self.unit.round(wall);
        let apart_millis = signed_at.abs_diff(now);
        let tolerance_millis = u64::try_from(self.tolerance.as_millis()).unwrap_or(u64::MAX);
        if apart_millis > tolerance_millis {
            let apart = signed_at.saturating_sub(now);
            let mut denial = Denial::stale(header, apart, tolerance_millis);
            denial.detail.push_str(&self.other_unit(text, wall));
            return Err(denial);
        }
        Ok(text)
    }

    /// Names another unit in which the signing time is within the tolerance, as the end of a sentence.
    fn other_unit(&self, text: &str, wall: Timestamp) -> String {
        let tolerance = u64::try_from(self.tolerance.as_millis()).unwrap_or(u64::MAX);
        let fits = |unit: &TimeUnit| {
            let signed_at = unit.parse(text);
            *unit != self.unit
                && signed_at.is_some_and(|at| at.abs_diff(unit.round(wall)) <= tolerance)
        };
        let unit = TimeUnit::ALL.into_iter().find(fits);
        unit.map_or_else(String::new, |unit| {
            format!(
                "; the time is right if auth.timestamp_unit is \"{}\"",
                unit.as_str()
            )
        })
    }
}

impl TimeUnit {
    const ALL: [Self; 3] = [Self::Seconds, Self::Milliseconds, Self::Rfc3339];

    /// Returns the value of the setting `auth.timestamp_unit`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Rfc3339 => "rfc3339",
        }
    }

    /// Returns the unit of a text that is a time of this century.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let times = 946_684_800_000..4_102_444_800_000;
        let is_time = |unit: &Self| unit.parse(text).is_some_and(|at| times.contains(&at));
        Self::ALL.into_iter().find(is_time)
    }

    /// Parses a signing time to milliseconds since 1970.
    fn parse(self, text: &str) -> Option<i64> {
        match self {
            Self::Seconds => whole(text).map(|seconds| seconds.saturating_mul(1000)),
            Self::Milliseconds => whole(text),
            Self::Rfc3339 => Timestamp::parse_rfc3339(text).map(Timestamp::as_millis),
        }
    }

    /// Rounds the bridge's current time down to the unit of the signing time.
    const fn round(self, at: Timestamp) -> i64 {
        let millis = at.as_millis();
        match self {
            Self::Seconds => millis.saturating_sub(millis.rem_euclid(1000)),
            Self::Milliseconds | Self::Rfc3339 => millis,
        }
    }

    pub(super) fn write(self, at: Timestamp) -> String {
        match self {
            Self::Seconds => at.as_millis().div_euclid(1000).to_string(),
            Self::Milliseconds => at.as_millis().to_string(),
            Self::Rfc3339 => at.to_rfc3339(),
        }
    }
}

/// Parses digits without a leading zero. A zero at the end of the signed text before the time could otherwise become
/// the first digit of the time, and the signature would still match.
fn whole(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}
