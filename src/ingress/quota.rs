//! The quotas of one source: how many events per second the source can send, and how many bytes its unfinished events
//! can take in the store.
//!
//! Without quotas, one source could fill the store and delay the events of every other source.
//!
//! The event listener checks the quotas in memory. A request counts as at least one event, even if the module `intake`
//! later rejects the request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Refusal;
use crate::outbox::{Disposition, NewEntry};
use crate::time::Timestamp;

/// The highest value of the setting for events per second: more events than any store accepts in a second.
pub const EVENTS_PER_SECOND_MAX: u32 = 1_000_000;
/// The highest value of the setting for the burst of events.
pub const EVENTS_BURST_MAX: u32 = 100_000_000;

/// The quotas of one source. The file `config/default.toml` contains the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    pub rate: RateLimit,
    pub stored_bytes: StorageLimit,
}

impl QuotaLimits {
    /// No limit on the rate and no limit on the bytes.
    pub const NONE: Self = Self {
        rate: RateLimit::Unlimited,
        stored_bytes: StorageLimit::Unlimited,
    };
}

/// The limit on the rate at which a source can send events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    Unlimited,
    /// `events` is the average number of events per second. `burst` is the maximum number of events at once after a
    /// pause.
    PerSecond {
        events: u32,
        burst: u32,
    },
}

/// The limit on the bytes of a source's events in the store. An event counts until the bridge has delivered or
/// otherwise finished it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageLimit {
    Unlimited,
    Bytes(u64),
}

/// The quotas of one source, and the part of each quota that the source uses.
#[derive(Debug)]
pub struct SourceQuota {
    stored_bytes: StorageLimit,
    rate: RateLimit,
    /// `None` if the rate is unlimited. A check holds the lock only for a moment, and never across an await.
    bucket: Option<Mutex<EventBucket>>,
    /// The bytes of the events that the listener is appending: the store has not yet confirmed these events.
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
            rate: limits.rate,
            bucket,
            appending: AtomicU64::new(0),
        }
    }

    /// Returns whether these are the limits of the quotas.
    pub fn has_limits(&self, limits: QuotaLimits) -> bool {
        self.rate == limits.rate && self.stored_bytes == limits.stored_bytes
    }

    /// Returns the number of requests with one event that the rate quota allows per minute, or `None` without a quota.
    pub(super) fn requests_per_minute(&self) -> Option<u64> {
        match self.rate {
            RateLimit::Unlimited => None,
            RateLimit::PerSecond { events, .. } => Some(u64::from(events) * 60),
        }
    }

    /// Takes one event from the rate quota for a request, before the module `intake` validates the request.
    pub(super) fn admit_request(&self, now: Timestamp) -> Result<(), Refusal> {
        self.bucket()
            .map_or(Ok(()), |mut bucket| bucket.take(1, now))
            .map_err(rate_refusal)
    }

    /// Takes all events of a request from the rate quota, and gives back the one event that [`Self::admit_request`]
    /// took.
    pub(super) fn admit_events(&self, events: usize, now: Timestamp) -> Result<(), Refusal> {
        let events = u32::try_from(events).unwrap_or(u32::MAX).max(1);
        self.bucket()
            .map_or(Ok(()), |mut bucket| {
                bucket.give_back(1);
                bucket.take(events, now)
            })
            .map_err(rate_refusal)
    }

    /// Reserves the bytes of a request's events until the append has ended. `stored` returns the bytes of the source's
    /// unfinished events in the store.
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
        // If the quota is exceeded, this function returns an error and drops the reservation, which gives the bytes
        // back.
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

/// Returns the number of bytes of an event that count against the storage quota.
fn stored_bytes(entry: &NewEntry) -> u64 {
    match entry.disposition {
        Disposition::Ignore(_) => 0,
        Disposition::Enqueue(_)
        | Disposition::Park(..)
        | Disposition::Hold(_)
        | Disposition::Invalid(_) => u64::try_from(entry.stored_bytes()).unwrap_or(u64::MAX),
    }
}

/// The bytes that one request reserves, from the check of the storage quota to the end of the append.
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

/// Returns the refusal of a source that must wait until its rate quota allows the request. The wait is rounded up to
/// whole seconds, because `Retry-After` has no fractions.
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
    /// The number of events that the source can send at once. The number is negative after a batch that was larger than
    /// the burst.
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

    /// Takes a token for each event, or returns the time until the bucket has enough tokens.
    ///
    /// A batch that is larger than the burst needs only a full bucket, and makes the number of tokens negative.
    /// Otherwise the source could never send the batch.
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
