//! The quotas of one source: the rate of its events, and the bytes of its events in the store. Without quotas, one source
//! could fill the store and delay the events of every other source.
//!
//! The quotas are checked in memory. A request costs at least one event of the rate, even if intake rejects the request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Refusal;
use crate::outbox::{Disposition, NewEntry};
use crate::time::Timestamp;

/// The most events per second that a quota can allow: more than any store accepts.
pub const EVENTS_PER_SECOND_MAX: u32 = 1_000_000;
/// The largest burst that a quota can allow.
pub const EVENTS_BURST_MAX: u32 = 100_000_000;

/// The quotas of one source. The file `config/default.toml` contains the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    pub rate: RateLimit,
    pub stored_bytes: StorageLimit,
}

impl QuotaLimits {
    /// No quota at all.
    pub const NONE: Self = Self {
        rate: RateLimit::Unlimited,
        stored_bytes: StorageLimit::Unlimited,
    };
}

/// The quota of the events that a source may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    Unlimited,
    /// The average number of events per second, and the most events at once after a pause.
    PerSecond {
        events: u32,
        burst: u32,
    },
}

/// The quota of the bytes that the events of a source may take in the store, until the events end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageLimit {
    Unlimited,
    Bytes(u64),
}

/// The quotas of one source, and how far the source has used the quotas.
#[derive(Debug)]
pub struct SourceQuota {
    stored_bytes: StorageLimit,
    /// `None` if the rate is unlimited. The lock is held for one check, and never across an await.
    bucket: Option<Mutex<EventBucket>>,
    /// The bytes of the events of all requests that wait for the answer of the store.
    appending: AtomicU64,
}

impl SourceQuota {
    /// Creates the quotas of a source that has sent nothing yet.
    pub fn new(limits: QuotaLimits, now: Timestamp) -> Self {
        let bucket = match limits.rate {
            RateLimit::Unlimited => None,
            RateLimit::PerSecond { events, burst } => {
                Some(Mutex::new(EventBucket::new(events, burst, now)))
            }
        };
        Self {
            stored_bytes: limits.stored_bytes,
            bucket,
            appending: AtomicU64::new(0),
        }
    }

    /// Charges a request with one event, before intake works on the request.
    pub(super) fn admit_request(&self, now: Timestamp) -> Result<(), Refusal> {
        self.bucket()
            .map_or(Ok(()), |mut bucket| bucket.take(1, now))
            .map_err(rate_refusal)
    }

    /// Charges a request with its events, in place of the one event that [`Self::admit_request`] charged.
    pub(super) fn admit_events(&self, events: usize, now: Timestamp) -> Result<(), Refusal> {
        let events = u32::try_from(events).unwrap_or(u32::MAX).max(1);
        self.bucket()
            .map_or(Ok(()), |mut bucket| {
                bucket.give_back(1);
                bucket.take(events, now)
            })
            .map_err(rate_refusal)
    }

    /// Reserves the bytes of a request's events until the store has answered. The caller passes the bytes of the source
    /// that are in the store.
    pub(super) fn reserve(
        &self,
        entries: &[NewEntry],
        stored: impl FnOnce() -> u64,
    ) -> Result<AppendingBytes<'_>, Refusal> {
        let StorageLimit::Bytes(max) = self.stored_bytes else {
            return Ok(AppendingBytes {
                appending: &self.appending,
                bytes: 0,
            });
        };
        let bytes = entries.iter().map(stored_bytes).sum();
        let earlier = self.appending.fetch_add(bytes, Ordering::Relaxed);
        // Dropping the reservation gives the bytes back.
        let reserved = AppendingBytes {
            appending: &self.appending,
            bytes,
        };
        let total = earlier.saturating_add(bytes).saturating_add(stored());
        if bytes > 0 && total > max {
            Err(Refusal::StorageQuota)
        } else {
            Ok(reserved)
        }
    }

    fn bucket(&self) -> Option<MutexGuard<'_, EventBucket>> {
        let bucket = self.bucket.as_ref()?;
        Some(bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the bytes that the store keeps of an event until the event ends.
fn stored_bytes(entry: &NewEntry) -> u64 {
    match entry.disposition {
        Disposition::Ignore => 0,
        Disposition::Enqueue(_) | Disposition::Park(..) | Disposition::Hold(_) => {
            u64::try_from(entry.event.len()).unwrap_or(u64::MAX)
        }
    }
}

/// The reserved bytes of one request, from the check of the quota to the answer of the store.
#[derive(Debug)]
pub(super) struct AppendingBytes<'a> {
    appending: &'a AtomicU64,
    bytes: u64,
}

impl Drop for AppendingBytes<'_> {
    fn drop(&mut self) {
        self.appending.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Returns the refusal of a source that must wait for its rate. `Retry-After` has whole seconds.
fn rate_refusal(wait: Duration) -> Refusal {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    Refusal::RateQuota {
        retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
    }
}

/// The token bucket of a source's events.
#[derive(Debug)]
struct EventBucket {
    per_second: f64,
    burst: f64,
    /// The number of events that the source may send now; negative after a batch that was larger than the burst.
    tokens: f64,
    filled_at: Timestamp,
}

impl EventBucket {
    fn new(events: u32, burst: u32, now: Timestamp) -> Self {
        let burst = f64::from(burst.max(1));
        Self {
            per_second: f64::from(events.max(1)),
            burst,
            tokens: burst,
            filled_at: now,
        }
    }

    /// Takes a token for each event, or returns the time until the tokens are there. A batch that is larger than the
    /// burst needs a full bucket and leaves a debt: otherwise the source could never send the batch.
    fn take(&mut self, events: u32, now: Timestamp) -> Result<(), Duration> {
        self.fill(now);
        let events = f64::from(events);
        let missing = events.min(self.burst) - self.tokens;
        if missing > 0.0 {
            return Err(Duration::try_from_secs_f64(missing / self.per_second).unwrap_or_default());
        }
        self.tokens -= events;
        Ok(())
    }

    fn give_back(&mut self, events: u32) {
        self.tokens = (self.tokens + f64::from(events)).min(self.burst);
    }

    fn fill(&mut self, now: Timestamp) {
        let elapsed = now.since(self.filled_at).as_secs_f64();
        self.tokens = self
            .burst
            .min(elapsed.mul_add(self.per_second, self.tokens));
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn quota(events: u32, burst: u32) -> SourceQuota {
        let limits = QuotaLimits {
            rate: RateLimit::PerSecond { events, burst },
            ..QuotaLimits::NONE
        };
        SourceQuota::new(limits, at(0))
    }

    fn refused(retry_after_seconds: u32) -> Result<(), Refusal> {
        Err(Refusal::RateQuota {
            retry_after_seconds,
        })
    }

    #[test]
    fn a_source_sends_its_burst_and_then_its_rate() {
        let quota = quota(2, 3);
        for _ in 0..3 {
            assert_eq!(quota.admit_request(at(0)), Ok(()));
        }
        assert_eq!(quota.admit_request(at(250)), refused(1));
        assert_eq!(quota.admit_request(at(500)), Ok(()));
        for _ in 0..3 {
            assert_eq!(quota.admit_request(at(60_000)), Ok(()));
        }
        assert_eq!(quota.admit_request(at(60_000)), refused(1));
    }

    /// A batch costs all of its events, and the event that its request was charged with counts only once.
    #[test]
    fn a_batch_costs_its_events() {
        let quota = quota(1, 10);
        assert_eq!(quota.admit_request(at(0)), Ok(()));
        assert_eq!(quota.admit_events(10, at(0)), Ok(()));
        assert_eq!(quota.admit_request(at(0)), refused(1));
        assert_eq!(quota.admit_request(at(5_000)), Ok(()));
        assert_eq!(quota.admit_events(10, at(5_000)), refused(5));
        assert_eq!(quota.admit_request(at(5_000)), Ok(()), "nothing was taken");
    }

    /// A batch that is larger than the burst waits for a full bucket, and the source pays for the batch afterwards.
    #[test]
    fn a_batch_that_is_larger_than_the_burst_leaves_a_debt() {
        let quota = quota(10, 20);
        assert_eq!(quota.admit_request(at(0)), Ok(()));
        assert_eq!(quota.admit_events(100, at(0)), Ok(()));
        assert_eq!(quota.admit_request(at(8_000)), refused(1));
        assert_eq!(quota.admit_request(at(8_100)), Ok(()));
        assert_eq!(quota.admit_events(100, at(8_100)), refused(2));
        assert_eq!(quota.admit_request(at(10_000)), Ok(()));
        assert_eq!(quota.admit_events(100, at(10_000)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_adds_nothing() {
        let quota = quota(1, 1);
        assert_eq!(quota.admit_request(at(10_000)), Ok(()));
        assert_eq!(quota.admit_request(at(0)), refused(1));
        assert_eq!(quota.admit_request(at(10_500)), refused(1));
        assert_eq!(quota.admit_request(at(11_000)), Ok(()));
    }

    #[test]
    fn without_a_rate_nothing_is_refused() {
        let quota = SourceQuota::new(QuotaLimits::NONE, at(0));
        for _ in 0..10_000 {
            assert_eq!(quota.admit_request(at(0)), Ok(()));
            assert_eq!(quota.admit_events(1000, at(0)), Ok(()));
        }
    }
}
