//! The rate limit: one token bucket for all requests to Imprint with our API key. This module is pure: it does no IO
//! and reads no clock.
//!
//! In any second, dispatch sends at most the configured rate plus a burst of one tenth of the rate, and the requests whose tokens
//! a claim took and waited for the store.
//!
//! If several processes share the store, the bucket is in the store, and [`Pace`] has only the tokens in hand. The burst
//! is then a quarter of the rate.

use std::time::Duration;

use self::shared_tokens::SharedTokens;
use crate::outbox::{TokenGrant, TokenOrder};
use crate::time::Timestamp;

mod shared_tokens;

/// The share of the rate that dispatch can send at once after a pause.
const BURST_SHARE: f64 = 0.1;

/// The smallest share of the configured rate after several halvings.
const SHARE_MIN: f64 = 1.0 / 16.0;
/// The share of the configured rate by which a halved rate rises each second. The full rate is back after at most a
/// minute.
const SHARE_RISES: f64 = 1.0 / 60.0;

/// A rate of requests to Imprint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// The rate is unlimited: only the concurrency limits the requests.
    Unlimited,
    /// The bridge sends at most this number of requests per second.
    PerSecond(f64),
}

impl Rate {
    /// Returns the rate multiplied by `share`.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        match self {
            Self::Unlimited => Self::Unlimited,
            Self::PerSecond(rate) => Self::PerSecond(rate * share),
        }
    }
}

/// The rate of a token bucket, in requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PresentRate {
    pub configured: f64,
    /// The rate now. It is lower than the configured rate after Imprint has throttled the bridge.
    pub present: f64,
}

/// A token bucket for requests to Imprint.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: Rate,
    /// The present share of the rate. The share is lower than 1 after Imprint has throttled the bridge.
    share: f64,
    tokens: f64,
    filled_at: Timestamp,
    /// The tokens in hand if the bucket is in the store.
    shared: Option<SharedTokens>,
}

impl Pace {
    /// Creates a token bucket with one token, so that a start is not a burst of requests.
    pub const fn new(rate: Rate, now: Timestamp) -> Self {
        Self {
            rate,
            share: 1.0,
            tokens: 1.0,
            filled_at: now,
            shared: None,
        }
    }

    /// Uses the token bucket in the store from now on.
    pub fn share_bucket(&mut self) {
        if self.rate != Rate::Unlimited && self.shared.is_none() {
            self.shared = Some(SharedTokens::default());
        }
    }

    /// Returns whether the token bucket is in the store.
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Remembers that dispatch has requests to send for which no token was left.
    pub fn need(&mut self, requests: usize) {
        if let Some(shared) = &mut self.shared {
            shared.need(requests);
        }
    }

    /// Returns the time of the next order of tokens from the store. Returns `None` if none is needed.
    pub fn next_order(&self, now: Timestamp) -> Option<Timestamp> {
        self.shared.as_ref()?.next_order(now)
    }

    /// Returns the order of tokens that is due now.
    pub fn order(&self, now: Timestamp) -> Option<TokenOrder> {
        let Rate::PerSecond(configured) = self.rate else {
            return None;
        };
        let rate = configured * self.share_at(now);
        let wanted = self.shared.as_ref()?.order(rate, now)?;
        Some(TokenOrder {
            wanted,
            rate,
            burst: SharedTokens::burst(configured),
        })
    }

    /// Adds the tokens of an order that was sent and answered at these times.
    pub fn ordered(&mut self, order: TokenOrder, grant: TokenGrant, times: (Timestamp, Timestamp)) {
        if let Some(shared) = &mut self.shared {
            shared.ordered(grant.count, (grant.left, order.rate), times);
        }
    }

    /// Takes up to `wanted` tokens. Returns the number of taken tokens.
    pub fn take(&mut self, wanted: usize, now: Timestamp) -> usize {
        let Rate::PerSecond(rate) = self.rate else {
            return wanted;
        };
        self.fill(rate, now);
        if let Some(shared) = &mut self.shared {
            return shared.take(wanted, now);
        }
        let mut taken = 0;
        while taken < wanted && self.tokens >= 1.0 {
            self.tokens -= 1.0;
            taken += 1;
        }
        taken
    }

    /// Halves the rate after Imprint has throttled the bridge. The rate then rises again.
    pub fn halve(&mut self) {
        self.share = (self.share / 2.0).max(SHARE_MIN);
    }

    /// Takes one token, even if the bucket has no token: the bucket then stays empty for longer.
    pub const fn charge(&mut self) {
        match self.rate {
            Rate::Unlimited => {}
            Rate::PerSecond(_) => self.tokens -= 1.0,
        }
    }

    /// Returns unused tokens to the bucket.
    pub fn give_back(&mut self, unused: usize) {
        if let Some(shared) = &mut self.shared {
            return shared.give_back(unused);
        }
        if let Rate::PerSecond(rate) = self.rate {
            let unused = f64::from(u32::try_from(unused).unwrap_or(u32::MAX));
            self.tokens = (self.tokens + unused).min(burst(rate));
        }
    }

    /// Returns the configured and the present rate. Returns `None` if the rate is unlimited.
    pub fn present_rate(&self, now: Timestamp) -> Option<PresentRate> {
        let Rate::PerSecond(configured) = self.rate else {
            return None;
        };
        let present = configured * self.share_at(now);
        Some(PresentRate {
            configured,
            present,
        })
    }

    /// Returns the time between two tokens at the configured rate.
    pub fn interval(&self) -> Duration {
        match self.rate {
            Rate::Unlimited => Duration::ZERO,
            Rate::PerSecond(rate) => Duration::from_secs_f64(1.0 / rate),
        }
    }

    /// Returns the time when the token bucket has the next token.
    pub fn next(&self) -> Timestamp {
        match self.rate {
            Rate::PerSecond(_) if self.is_shared() => SharedTokens::next(self.filled_at),
            Rate::Unlimited => self.filled_at,
            Rate::PerSecond(rate) => {
                let missing = (1.0 - self.tokens).max(0.0);
                // Add one millisecond: timestamps are whole milliseconds, and a caller that wakes too early finds no
                // token.
                self.filled_at.after(
                    Duration::from_secs_f64(missing / (rate * self.share))
                        + Duration::from_millis(1),
                )
            }
        }
    }

    fn share_at(&self, now: Timestamp) -> f64 {
        let elapsed = now.since(self.filled_at).as_secs_f64();
        elapsed.mul_add(SHARE_RISES, self.share).min(1.0)
    }

    /// Adds the tokens for the time since the last call. If somebody has set the clock back, adds and removes nothing.
    fn fill(&mut self, rate: f64, now: Timestamp) {
        let elapsed = now.since(self.filled_at).as_secs_f64();
        let tokens = elapsed.mul_add(rate * self.share, self.tokens);
        self.tokens = tokens.min(burst(rate));
        self.share = self.share_at(now);
        self.filled_at = now.max(self.filled_at);
    }
}

/// Returns the maximum number of tokens in the bucket. The number is at least 1, because dispatch could otherwise never
/// send at a slow rate.
fn burst(rate: f64) -> f64 {
    (rate * BURST_SHARE).max(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn bucket(rate: f64) -> Pace {
        Pace::new(Rate::PerSecond(rate), at(0))
    }

    #[test]
    fn a_halved_rate_fills_the_bucket_half_as_fast() {
        let mut pace = bucket(10.0);
        assert_eq!(pace.take(1, at(0)), 1);
        pace.halve();
        assert_eq!(pace.take(1, at(150)), 0);
        assert_eq!(pace.take(1, at(250)), 1);
    }

    #[test]
    fn after_a_pause_a_tenth_of_the_rate_is_sent_at_once() {
        let mut pace = bucket(100.0);
        assert_eq!(pace.take(50, at(0)), 1);
        assert_eq!(pace.take(50, at(60_000)), 10);
        assert_eq!(pace.take(50, at(60_000)), 0);
        assert_eq!(pace.next(), at(60_011));
        pace.give_back(3);
        assert_eq!(pace.take(50, at(60_000)), 3);
    }

    #[test]
    fn no_more_tokens_are_taken_than_wanted() {
        let mut pace = bucket(100.0);
        assert_eq!(pace.take(0, at(60_000)), 0);
        assert_eq!(pace.take(3, at(60_000)), 3);
        assert_eq!(pace.take(50, at(60_000)), 7, "the others stay");
    }

    #[test]
    fn a_bucket_holds_at_most_its_burst() {
        for (rate, burst) in [(100.0, 10), (30.0, 3), (10.0, 1), (0.5, 1)] {
            let mut pace = bucket(rate);
            pace.give_back(1_000);
            assert_eq!(pace.take(50, at(0)), burst, "given back at {rate}");
            assert_eq!(pace.take(50, at(3_600_000)), burst, "filled at {rate}");
        }
    }

    #[test]
    fn tokens_come_at_the_rate() {
        let mut pace = bucket(4.0);
        assert_eq!(pace.take(1, at(0)), 1);
        assert_eq!(pace.next(), at(251));
        assert_eq!(pace.take(1, at(249)), 0);
        assert_eq!(pace.next(), at(251));
        assert_eq!(pace.take(1, at(250)), 1);
        pace.give_back(1);
        assert_eq!(pace.next(), at(251), "there is a token");
    }

    #[test]
    fn a_slow_rate_still_sends() {
        let mut pace = bucket(0.5);
        assert_eq!(pace.take(1, at(0)), 1);
        assert_eq!(pace.take(1, at(1_999)), 0);
        assert_eq!(pace.take(1, pace.next()), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_adds_nor_takes_tokens() {
        let mut pace = bucket(1.0);
        assert_eq!(pace.take(1, at(10_000)), 1);
        assert_eq!(pace.take(1, at(0)), 0);
        assert_eq!(pace.next(), at(11_001), "counted from the latest time");
        assert_eq!(pace.take(1, at(10_999)), 0);
        assert_eq!(pace.take(1, at(11_000)), 1);
    }

    #[test]
    fn without_a_rate_every_request_is_sent_at_once() {
        let mut pace = Pace::new(Rate::Unlimited, at(5));
        assert_eq!(pace.take(7, at(9)), 7);
        pace.give_back(7);
        assert_eq!((pace.next(), pace.interval()), (at(5), Duration::ZERO));
    }

    #[test]
    fn the_interval_is_the_time_between_two_tokens() {
        assert_eq!(bucket(4.0).interval(), Duration::from_millis(250));
        assert_eq!(bucket(0.5).interval(), Duration::from_secs(2));
    }

    #[test]
    fn a_share_of_a_rate_is_a_rate() {
        assert_eq!(Rate::PerSecond(20.0).share(0.2), Rate::PerSecond(4.0));
        assert_eq!(Rate::Unlimited.share(0.2), Rate::Unlimited);
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_the_rate_and_a_tenth(
            rate in 1_u32..500,
            steps in prop::collection::vec((0_i64..300, 0_usize..60), 1..200),
        ) {
            let mut pace = bucket(f64::from(rate));
            let mut now = 0;
            let mut sent: Vec<i64> = Vec::new();
            for (pause, wanted) in steps {
                now += pause;
                sent.extend(std::iter::repeat_n(now, pace.take(wanted, at(now))));
                let last_second = sent.iter().filter(|time| **time > now - 1000).count();
                let most = f64::from(rate) + burst(f64::from(rate));
                prop_assert!(f64::from(u32::try_from(last_second).unwrap()) <= most.ceil());
            }
        }
    }
}
