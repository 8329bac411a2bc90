//! Parses `Retry-After` headers (RFC 9110, section 10.2.3): a number of seconds or an HTTP date.

use std::time::Duration;

use crate::time::Timestamp;

/// The minimum wait after a `Retry-After` header. Without this minimum, a header with 0 seconds would cause retries
/// without a pause.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// The maximum wait after a `Retry-After` header. Without this maximum, one wrong header could stop all requests for
/// days.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Returns the longest wait of the `Retry-After` headers. The result is at least [`RETRY_AFTER_MIN`] and at most
/// [`RETRY_AFTER_MAX`].
///
/// Returns `None` if no `Retry-After` header can be parsed. For an HTTP date, the wait is the time from `wall` to the
/// date. `wall` is the time of day on this machine.
pub fn parse(headers: &[String], wall: Timestamp) -> Option<Duration> {
    let longest = headers
        .iter()
        .filter_map(|header| wait(header.trim(), wall))
        .max()?;
    Some(longest.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

fn wait(header: &str, wall: Timestamp) -> Option<Duration> {
    if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        // A number of seconds that does not fit into 64 bits is longer than the maximum wait.
        return Some(header.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs));
    }
    let date = jiff::fmt::rfc2822::parse(header).ok()?;
    Some(Timestamp::from_millis(date.timestamp().as_millisecond()).since(wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of day in the tests: Thursday, 2025-02-13T19:08:07Z.
    const WALL: Timestamp = Timestamp::from_millis(1_739_473_687_000);

    #[test]
    fn seconds_and_dates_are_clamped_and_garbage_is_ignored() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let digits = "9".repeat(400);
        let table: [(&[&str], Option<Duration>); 18] = [
            (&[], None),
            (&["5"], seconds(5)),
            (&[" 5 "], seconds(5)),
            (&["1"], seconds(1)),
            (&["0"], seconds(1)),
            (&["3600"], seconds(3600)),
            (&["3601"], seconds(3600)),
            (&["1000000000"], seconds(3600)),
            (&[&digits], seconds(3600)),
            (&["Thu, 13 Feb 2025 19:08:37 GMT"], seconds(30)),
            (&["Thu, 13 Feb 2025 21:08:37 GMT"], seconds(3600)),
            (&["Thu, 13 Feb 2020 19:08:37 GMT"], seconds(1)),
            (&["-1"], None),
            (&["1e9"], None),
            (&["soon"], None),
            (&["", "x"], None),
            (&["2", "7", "soon"], seconds(7)),
            (&["7", "2"], seconds(7)),
        ];
        for (headers, expected) in table {
            let headers: Vec<String> = headers.iter().map(|&header| header.to_owned()).collect();
            assert_eq!(parse(&headers, WALL), expected, "{headers:?}");
        }
    }
}
