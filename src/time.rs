//! The only place that reads the clock and chance.
//!
//! Everything else takes `now` and `jitter` as arguments, so that any moment can be replayed in a test.
//! Schedules follow the monotonic clock (a wall clock that is set back must not stall a retry for an hour);
//! what is compared with the outside world (signatures, event times) follows the wall clock.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// For how long work is run to find out what it costs.
const COST_SPAN: Duration = Duration::from_millis(20);

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and `span` more; the far future at most.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment of an RFC 3339 text.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        Some(Self(moment.as_millisecond()))
    }

    /// The moment as RFC 3339 text in UTC, with milliseconds.
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| self.0.to_string(), |moment| format!("{moment:.3}"))
    }
}

/// Where `now` comes from: the machine, or a test that moves it by hand.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Machine { start: Instant, start_wall: i64 },
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn machine() -> Self {
        Self(Kind::Machine {
            start: Instant::now(),
            start_wall: wall_millis(),
        })
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Kind::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    /// Now, for schedules: the wall clock of the start plus what the monotonic clock has counted since.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::Machine { start, start_wall } => {
                let elapsed = Instant::now().saturating_duration_since(*start);
                Timestamp(start_wall.saturating_add(millis(elapsed)))
            }
            Kind::Manual(now) => Timestamp(now.load(Ordering::SeqCst)),
        }
    }

    /// Now, as the outside world counts it: for signatures and for the times that events carry.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Kind::Machine { .. } => Timestamp(wall_millis()),
            Kind::Manual(now) => Timestamp(now.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock; the machine's clock moves by itself.
    pub fn advance(&self, span: Duration) {
        if let Kind::Manual(now) = &self.0 {
            now.fetch_add(millis(span), Ordering::SeqCst);
        }
    }
}

/// How long one run of `work` takes on average: as many runs as fit into a moment.
#[expect(clippy::disallowed_methods, reason = "this module reads the clock")]
pub fn cost(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut runs = 0_u32;
    while start.elapsed() < COST_SPAN || runs == 0 {
        work();
        runs = runs.saturating_add(1);
    }
    start.elapsed() / runs.max(1)
}

/// A number in `[0, 1)` from the system's source of chance; about a half if it has none to give.
pub fn jitter() -> f64 {
    f64::from(dice()) / (f64::from(u32::MAX) + 1.0)
}

/// Any number from the system's source of chance; the one in the middle if it has none to give.
///
/// Each thread asks for a number of them at a time: every request takes one, and asking is a system call.
pub fn dice() -> u32 {
    LEFT.with_borrow_mut(|left| {
        if left.is_empty() {
            let mut bytes = [0_u8; DICE * 4];
            if chance(&mut bytes).is_err() {
                return u32::MAX / 2;
            }
            let (numbers, _) = bytes.as_chunks();
            left.extend(numbers.iter().copied().map(u32::from_le_bytes));
        }
        left.pop().unwrap_or(u32::MAX / 2)
    })
}

/// How many numbers are asked for at a time.
const DICE: usize = 64;

thread_local! {
    static LEFT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Fills `bytes` from the system's source of chance.
///
/// # Errors
/// The system has no source of chance to read.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads it"
)]
pub fn chance(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads it"
)]
fn wall_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        assert_eq!(clock.now(), Timestamp::from_millis(5));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), clock.wall());
        assert_eq!(
            clock.now().since(Timestamp::from_millis(5)),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn a_moment_prints_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_millis(1_739_473_687_000).to_rfc3339(),
            "2025-02-13T19:08:07.000Z"
        );
    }

    #[test]
    fn jitter_stays_below_one() {
        assert!(
            (0..1000)
                .map(|_| jitter())
                .all(|jitter| (0.0..1.0).contains(&jitter))
        );
    }
}
