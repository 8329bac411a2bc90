//! The number of bridges that divide the limits of a brake between them.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::time::Timestamp;

/// The time after which a smaller number counts. After an outage of the database, the leases of all bridges have ended, and each
/// bridge sees the others only when they have extended their leases.
const FEWER_AFTER: Duration = Duration::from_secs(15);

/// The time after the first look in which a larger number counts at once. Bridges that start together see each other only when
/// all of them have registered, and have counted few events until then.
const START: Duration = Duration::from_secs(15);

/// The number of bridges with the same store, as one of them sees it.
///
/// After the start of the bridge, a larger number counts only after it has lasted for the window of the brake: the bridge has
/// counted the events of the window as one of fewer bridges, and an update of the bridges starts one more for a moment.
#[derive(Debug, Default)]
pub(super) struct Bridges {
    counted: Option<NonZeroUsize>,
    first_look: Option<Timestamp>,
    /// A number that differs, the nearest to the counted number since the time when it first differed in this direction.
    other: Option<(NonZeroUsize, Timestamp)>,
}

impl Bridges {
    /// Records the present number.
    pub(super) fn set(&mut self, present: NonZeroUsize, now: Timestamp) {
        let is_start = now.since(*self.first_look.get_or_insert(now)) < START;
        let mut counted = *self.counted.get_or_insert(present);
        if is_start && present > counted {
            counted = present;
            self.counted = Some(present);
        }
        let is_more = present > counted;
        let other = self
            .other
            .filter(|(other, _)| (*other > counted) == is_more);
        let (other, since) = other.unwrap_or((present, now));
        let nearest = if is_more {
            other.min(present)
        } else {
            other.max(present)
        };
        self.other = (present != counted).then_some((nearest, since));
    }

    /// Returns the number that has divided the limits lately.
    pub(super) fn lately(&self) -> NonZeroUsize {
        self.counted.unwrap_or(NonZeroUsize::MIN)
    }

    /// Returns the number that divides the limits now.
    pub(super) fn counted(&mut self, now: Timestamp, window: Duration) -> NonZeroUsize {
        let counted = self.lately();
        let Some((other, since)) = self.other else {
            return counted;
        };
        let after = if other > counted { window } else { FEWER_AFTER };
        if now.since(since) < after {
            return counted;
        }
        (self.counted, self.other) = (Some(other), None);
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1405
    #[test]
    fn bridges_that_start_together_count_each_other_at_once() {
        let window = Duration::from_mins(15);
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let of = |number| NonZeroUsize::new(number).unwrap();
        let mut bridges = Bridges::default();
        bridges.set(of(1), at(100));
        bridges.set(of(3), at(102));
        assert_eq!(bridges.counted(at(102), window), of(3));
        bridges.set(of(4), at(114));
        assert_eq!(bridges.counted(at(114), window), of(4));
        bridges.set(of(5), at(115));
        assert_eq!(bridges.counted(at(115), window), of(4), "after the start");
        assert_eq!(bridges.counted(at(1_015), window), of(5));
    }

    /// FAULTS N1335
    #[test]
    fn a_bridge_more_counts_after_the_window_and_a_bridge_less_after_a_quarter_of_a_minute() {
        let window = Duration::from_mins(15);
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let of = |number| NonZeroUsize::new(number).unwrap();
        let mut bridges = Bridges::default();
        assert_eq!(bridges.counted(at(0), window), of(1));
        bridges.set(of(2), at(0));
        assert_eq!(bridges.counted(at(0), window), of(2), "at the start");
        bridges.set(of(4), at(60));
        bridges.set(of(3), at(61));
        assert_eq!(bridges.counted(at(959), window), of(2));
        assert_eq!(bridges.counted(at(960), window), of(3));
        // After an outage of the database, the bridge sees itself alone, and then the others.
        bridges.set(of(1), at(1_000));
        assert_eq!(bridges.counted(at(1_014), window), of(3));
        bridges.set(of(3), at(1_014));
        assert_eq!(bridges.counted(at(2_000), window), of(3));
        bridges.set(of(1), at(2_000));
        bridges.set(of(2), at(2_001));
        assert_eq!(bridges.counted(at(2_015), window), of(2));
        assert_eq!(bridges.counted(at(9_000), window), of(2));
    }
}
