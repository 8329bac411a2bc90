//! Time: the only module that reads the clock.
//!
//! Pure modules take `now` as an argument, so that a test can repeat any moment. Schedules follow the monotonic clock:
//! if somebody sets the wall clock back by an hour, no retry is an hour late. If the bridge compares a time with the
//! time of another system (signatures, event times), it uses the wall clock.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

pub mod rfc3339;

/// The time for which [`cost`] repeats the work that it measures.
const COST_SPAN: Duration = Duration::from_millis(20);

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds from the Unix epoch to this moment.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns this moment plus `span`; an overflow returns the largest moment.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// Returns the time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses a moment from RFC 3339 text.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        rfc3339::date_time(text).map(|moment| Self(moment.as_millisecond()))
    }

    /// Returns this moment as RFC 3339 text in UTC, with milliseconds.
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| self.0.to_string(), |moment| format!("{moment:.3}"))
    }
}

/// The clock that gives `now`: the machine's clock, or a manual clock that a test advances.
#[derive(Clone, Debug)]
pub struct Clock(ClockKind);

#[derive(Clone, Debug)]
enum ClockKind {
    Machine {
        start: Instant,
        start_wall: i64,
        /// The shared clock to which the clock was set.
        shared: Option<Arc<SharedClock>>,
    },
    /// The channel has the current time. When a test advances the clock, the channel wakes the sleeping tasks of all
    /// runtimes.
    Manual(Arc<watch::Sender<i64>>),
}

/// A smaller difference to the shared clock does not count: a request to the shared clock can take as long.
const FOLLOW_MIN: Duration = Duration::from_secs(1);

/// A clock that several processes share, as the time that it showed at the start of the monotonic time, in milliseconds since
/// 1970. The machine can stand still for a time, and somebody can set the shared clock, so these times change.
#[derive(Debug)]
struct SharedClock {
    /// For schedules. This time never goes back: a task that waits until a moment would wait longer.
    schedule: AtomicI64,
    /// For comparisons with the times in events.
    wall: AtomicI64,
}

impl Clock {
    /// Returns the machine's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn machine() -> Self {
        Self(ClockKind::Machine {
            start: Instant::now(),
            start_wall: wall_millis(),
            shared: None,
        })
    }

    /// Returns a manual clock that shows `start` until [`Clock::advance`] moves the clock.
    pub fn manual(start: Timestamp) -> Self {
        Self(ClockKind::Manual(Arc::new(watch::Sender::new(start.0))))
    }

    /// Returns the current time for schedules: the wall clock at the start plus the monotonic time since then.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            ClockKind::Machine {
                start,
                start_wall,
                shared,
            } => {
                let elapsed = Instant::now().saturating_duration_since(*start);
                let shared = shared.as_ref().map(|shared| &shared.schedule);
                let start_wall = shared.map_or(*start_wall, |at| at.load(Ordering::Relaxed));
                Timestamp(start_wall.saturating_add(millis(elapsed)))
            }
            ClockKind::Manual(now) => Timestamp(*now.borrow()),
        }
    }

    /// Returns the machine's clock, set to the time of a shared clock. [`Clock::wall`] stays. A manual clock stays as it is.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn set_to(&self, now: Timestamp) -> Self {
        match &self.0 {
            ClockKind::Machine { .. } => Self(ClockKind::Machine {
                start: Instant::now(),
                start_wall: now.0,
                shared: Some(Arc::new(SharedClock {
                    schedule: AtomicI64::new(now.0),
                    wall: AtomicI64::new(now.0),
                })),
            }),
            ClockKind::Manual(_) => self.clone(),
        }
    }

    /// Sets a clock that was set to a shared clock to the present time of the shared clock. Returns the difference, if it is
    /// long enough to count. [`Clock::now`] goes forward only.
    pub fn follow(&self, shared_now: Timestamp) -> Option<Duration> {
        let ClockKind::Machine {
            shared: Some(shared),
            ..
        } = &self.0
        else {
            return None;
        };
        let at_start = shared_now.0.saturating_sub(millis(self.monotonic()));
        let before = shared.wall.load(Ordering::Relaxed);
        let difference = Duration::from_millis(at_start.abs_diff(before));
        if difference < FOLLOW_MIN {
            return None;
        }
        shared.wall.store(at_start, Ordering::Relaxed);
        shared.schedule.fetch_max(at_start, Ordering::Relaxed);
        Some(difference)
    }

    /// Returns the monotonic time since an arbitrary moment, to measure how long something takes.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            ClockKind::Machine { start, .. } => Instant::now().saturating_duration_since(*start),
            ClockKind::Manual(now) => {
                Duration::from_millis(u64::try_from(*now.borrow()).unwrap_or(0))
            }
        }
    }

    /// Returns the time of the machine's wall clock, for signatures.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            ClockKind::Machine { .. } => Timestamp(wall_millis()),
            ClockKind::Manual(now) => Timestamp(*now.borrow()),
        }
    }

    /// Returns the time with which the times in events and answers are compared: the wall clock, or the shared clock if the
    /// clock was set to one. So processes on machines with different wall clocks decide the same about an event.
    pub fn shared_wall(&self) -> Timestamp {
        match &self.0 {
            ClockKind::Machine {
                shared: Some(shared),
                ..
            } => {
                let start_wall = shared.wall.load(Ordering::Relaxed);
                Timestamp(start_wall.saturating_add(millis(self.monotonic())))
            }
            ClockKind::Machine { .. } | ClockKind::Manual(_) => self.wall(),
        }
    }

    /// Moves a manual clock forward; has no effect on the machine's clock.
    pub fn advance(&self, span: Duration) {
        if let ClockKind::Manual(now) = &self.0 {
            now.send_modify(|now| *now = now.saturating_add(millis(span)));
        }
    }

    /// Resolves when this clock has advanced by `span`; a manual clock advances only through [`Clock::advance`].
    ///
    /// Use `sleep` for a wait that is part of a policy, such as a backoff. A deadline of real IO uses the timer of the
    /// runtime.
    pub fn sleep(&self, span: Duration) -> impl Future<Output = ()> + use<> {
        let timer = match &self.0 {
            ClockKind::Machine { .. } => Timer::Machine(tokio::time::sleep(span)),
            ClockKind::Manual(now) => {
                let until = now.borrow().saturating_add(millis(span));
                Timer::Manual(now.subscribe(), until)
            }
        };
        timer.wait()
    }

    /// Resolves when this clock shows `until`, like [`Clock::sleep`].
    ///
    /// If a test advances a manual clock while the caller computes its next step, a wait that starts at the new time
    /// would end too late, or never.
    pub fn sleep_until(&self, until: Timestamp) -> impl Future<Output = ()> + use<> {
        let timer = match &self.0 {
            ClockKind::Machine { .. } => {
                Timer::Machine(tokio::time::sleep(until.since(self.now())))
            }
            ClockKind::Manual(now) => Timer::Manual(now.subscribe(), until.0),
        };
        timer.wait()
    }
}

/// The timer of one [`Clock::sleep`] or [`Clock::sleep_until`].
enum Timer {
    Machine(tokio::time::Sleep),
    Manual(watch::Receiver<i64>, i64),
}

impl Timer {
    async fn wait(self) {
        match self {
            Self::Machine(sleep) => sleep.await,
            Self::Manual(mut now, until) => {
                if now.wait_for(|now| *now >= until).await.is_err() {
                    // The test has dropped the manual clock, so nothing can advance the clock any more.
                    pending::<()>().await;
                }
            }
        }
    }
}

/// Measures the average duration of one run of `work` over about 20 ms.
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
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_advanced() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        assert_eq!(clock.now(), Timestamp::from_millis(5));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), clock.wall());
        assert_eq!(
            clock.now().since(Timestamp::from_millis(5)),
            Duration::from_secs(2)
        );
    }

    #[tokio::test]
    async fn a_sleep_ends_when_the_manual_clock_was_advanced_far_enough() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        let mut sleep = Box::pin(clock.sleep(Duration::from_hours(1)));
        clock.advance(Duration::from_mins(59));
        assert_eq!(sleep.as_mut().now_or_never(), None);
        clock.advance(Duration::from_mins(1));
        sleep.await;
        clock.sleep(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn a_sleep_until_a_moment_does_not_depend_on_its_start() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        let until = clock.now().after(Duration::from_secs(1));
        let mut early = Box::pin(clock.sleep_until(until));
        assert_eq!(early.as_mut().now_or_never(), None);
        clock.advance(Duration::from_secs(1));
        early.await;
        clock.sleep_until(until).await;
    }

    /// FAULTS N1234
    #[test]
    fn times_of_events_are_compared_with_the_shared_clock() {
        let machine = Clock::machine();
        let hour = Duration::from_hours(1);
        assert!(machine.shared_wall().since(machine.wall()) < hour);
        let shared = machine.wall().after(hour);
        let set = machine.set_to(shared);
        assert!(set.shared_wall() >= shared);
        assert!(set.wall() < shared, "signatures");
    }

    /// FAULTS N1155: the machine stood still for an hour, or somebody set the shared clock forward or back by an hour.
    #[test]
    fn a_clock_follows_the_shared_clock() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
        let start = Timestamp::from_millis(1_000_000_000);
        assert_eq!(Clock::machine().follow(start), None);
        let set = Clock::machine().set_to(start);
        let clone = set.clone();
        assert_eq!(set.follow(set.shared_wall()), None);
        let later = start.after(hour);
        assert!(set.follow(later).is_some_and(|ahead| ahead + second > hour));
        for clock in [&set, &clone] {
            assert!(clock.now() >= later && clock.shared_wall() >= later);
        }
        assert!(set.follow(start).is_some());
        assert!(set.now() >= later, "a schedule never goes back");
        assert!(set.shared_wall() < start.after(hour / 2));
    }

    #[test]
    fn a_moment_prints_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_millis(1_739_473_687_000).to_rfc3339(),
            "2025-02-13T19:08:07.000Z"
        );
    }
}
