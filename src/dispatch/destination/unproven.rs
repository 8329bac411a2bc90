//! Failed requests in a row without a proven cause. With one customer, or with none that works, nothing shows whether the
//! customer or Imprint is the cause, so the state of the destination stays flowing. Operators see the failures.

use std::sync::PoisonError;
use std::time::Duration;

use super::Destination;
use crate::time::Timestamp;

/// The number of failures in a row from which operators see them. A single failed request is repeated soon.
const SHOWN_FROM: u64 = 3;
/// The shortest time between two records of the log.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Requests that failed in a row, and no answer has shown their cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnprovenFailures {
    /// The time of the first failure.
    pub since: Timestamp,
    /// The number of failed requests.
    pub requests: u64,
    /// The result of the last request, in one word.
    pub outcome: &'static str,
    /// The cause of the last failure in one word, such as `connect`.
    pub cause: String,
}

/// The failures, and the time of the last record of the log.
#[derive(Debug, Default)]
pub(super) struct UnprovenRow {
    failures: Option<UnprovenFailures>,
    logged_at: Option<Timestamp>,
}

impl UnprovenRow {
    /// Records the result of a request. Without a failure, the row begins again. Returns the failures if the log must have
    /// them now.
    fn record(
        &mut self,
        failure: Option<(&'static str, &str)>,
        now: Timestamp,
    ) -> Option<UnprovenFailures> {
        let Some((outcome, cause)) = failure else {
            self.failures = None;
            return None;
        };
        let before = self.failures.take();
        let (since, requests) = before.map_or((now, 0), |before| (before.since, before.requests));
        self.failures = Some(UnprovenFailures {
            since,
            requests: requests.saturating_add(1),
            outcome,
            cause: cause.to_owned(),
        });
        let shown = self.shown()?;
        let is_new = |at: Timestamp| now.since(at) >= LOG_EVERY;
        self.logged_at.is_none_or(is_new).then(|| {
            self.logged_at = Some(now);
            shown
        })
    }

    fn shown(&self) -> Option<UnprovenFailures> {
        let failures = self.failures.as_ref();
        failures.filter(|it| it.requests >= SHOWN_FROM).cloned()
    }
}

impl Destination {
    /// Records the result of a request, with the outcome and the cause of a failure without a proven cause. Returns the
    /// failures in a row if the log must have them now.
    pub fn record_result(
        &self,
        failure: Option<(&'static str, &str)>,
        now: Timestamp,
    ) -> Option<UnprovenFailures> {
        let row = self.unproven.lock();
        row.unwrap_or_else(PoisonError::into_inner)
            .record(failure, now)
    }

    /// Returns the failures in a row without a proven cause, if they are more than a few.
    pub fn unproven_failures(&self) -> Option<UnprovenFailures> {
        let row = self.unproven.lock();
        row.unwrap_or_else(PoisonError::into_inner).shown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1130
    #[test]
    fn failures_in_a_row_are_shown_and_logged_once_a_minute() {
        let mut row = UnprovenRow::default();
        let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000);
        let failed = Some(("unavailable", "connect"));
        assert_eq!(row.record(failed, at(0)), None);
        assert_eq!(row.record(failed, at(1)), None);
        assert_eq!(row.shown(), None);
        let logged = row.record(failed, at(3)).unwrap();
        assert_eq!((logged.since, logged.requests), (at(0), 3));
        assert_eq!(row.record(failed, at(62)), None);
        assert_eq!(row.record(failed, at(63)).unwrap().requests, 5);
        assert_eq!(row.record(None, at(64)), None);
        assert_eq!(row.shown(), None);
        // A customer that fails beside others that work does not fill the log.
        for second in 65..68 {
            assert_eq!(row.record(failed, at(second)), None);
        }
        assert_eq!(row.shown().unwrap().since, at(65));
    }
}
