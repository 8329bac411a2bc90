//! How many requests may leave now: one token bucket for everything that goes to Imprint with our key.
//!
//! Pure: `now` is an argument. In any second at most the rate and its burst, a tenth of the rate, go out.

use std::time::Duration;

use crate::time::Timestamp;

/// The part of the rate that may go out at once after a silence.
const BURST_SHARE: f64 = 0.1;

/// A rate of requests, in requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as concurrency allows.
    Unlimited,
    /// At most this many a second.
    PerSecond(f64),
}

impl Rate {
    /// This part of it.
    #[must_use]
    pub fn share(self, part: f64) -> Self {
        match self {
            Self::Unlimited => Self::Unlimited,
            Self::PerSecond(rate) => Self::PerSecond(rate * part),
        }
    }
}

/// The bucket.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: Rate,
    tokens: f64,
    filled: Timestamp,
}

impl Pace {
    /// A bucket with one token in it, so that a start is not a burst.
    pub const fn new(rate: Rate, now: Timestamp) -> Self {
        Self {
            rate,
            tokens: 1.0,
            filled: now,
        }
    }

    /// Takes up to `wanted` tokens and says how many it got.
    pub fn take(&mut self, wanted: usize, now: Timestamp) -> usize {
        let Rate::PerSecond(rate) = self.rate else {
            return wanted;
        };
        self.fill(rate, now);
        let mut taken = 0;
        while taken < wanted && self.tokens >= 1.0 {
            self.tokens -= 1.0;
            taken += 1;
        }
        taken
    }

    /// Gives back a token that was not used.
    pub fn give_back(&mut self, unused: usize) {
        if let Rate::PerSecond(rate) = self.rate {
            let unused = f64::from(u32::try_from(unused).unwrap_or(u32::MAX));
            self.tokens = (self.tokens + unused).min(burst(rate));
        }
    }

    /// How long it takes until there is one more token.
    pub fn interval(&self) -> Duration {
        match self.rate {
            Rate::Unlimited => Duration::ZERO,
            Rate::PerSecond(rate) => Duration::from_secs_f64(1.0 / rate),
        }
    }

    /// When the next token is there.
    pub fn next(&self) -> Timestamp {
        match self.rate {
            Rate::Unlimited => self.filled,
            Rate::PerSecond(rate) => {
                let missing = (1.0 - self.tokens).max(0.0);
                // A millisecond more: timestamps are whole milliseconds, and a wake-up too early finds nothing.
                self.filled
                    .after(Duration::from_secs_f64(missing / rate) + Duration::from_millis(1))
            }
        }
    }

    fn fill(&mut self, rate: f64, now: Timestamp) {
        let elapsed = now.since(self.filled).as_secs_f64();
        self.tokens = elapsed.mul_add(rate, self.tokens).min(burst(rate));
        self.filled = now.max(self.filled);
    }
}

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

    #[test]
    fn after_a_silence_a_tenth_of_the_rate_goes_out_at_once() {
        let mut pace = Pace::new(Rate::PerSecond(100.0), at(0));
        assert_eq!(pace.take(50, at(0)), 1);
        assert_eq!(pace.take(50, at(60_000)), 10);
        assert_eq!(pace.take(50, at(60_000)), 0);
        assert_eq!(pace.next(), at(60_011));
        pace.give_back(3);
        assert_eq!(pace.take(50, at(60_000)), 3);
    }

    #[test]
    fn a_slow_rate_still_sends() {
        let mut pace = Pace::new(Rate::PerSecond(0.5), at(0));
        assert_eq!(pace.take(1, at(0)), 1);
        assert_eq!(pace.take(1, at(1_999)), 0);
        assert_eq!(pace.take(1, pace.next()), 1);
    }

    #[test]
    fn without_a_rate_everything_goes() {
        assert_eq!(Pace::new(Rate::Unlimited, at(0)).take(7, at(0)), 7);
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_the_rate_and_a_tenth(
            rate in 1_u32..500,
            steps in prop::collection::vec((0_i64..300, 0_usize..60), 1..200),
        ) {
            let mut pace = Pace::new(Rate::PerSecond(f64::from(rate)), at(0));
            let mut now = 0;
            let mut sent: Vec<i64> = Vec::new();
            for (pause, wanted) in steps {
                now += pause;
                sent.extend(std::iter::repeat_n(now, pace.take(wanted, at(now))));
                let last_second = sent.iter().filter(|moment| **moment > now - 1000).count();
                let most = f64::from(rate) + burst(f64::from(rate));
                prop_assert!(f64::from(u32::try_from(last_second).unwrap()) <= most.ceil());
            }
        }
    }
}
