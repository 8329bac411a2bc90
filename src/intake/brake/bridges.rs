//! The number of bridges that divide the limits of a brake between them.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::time::Timestamp;

/// The number of bridges with the same store, as one of them sees it.
///
/// A smaller number counts at once, and a larger number only after it has lasted for the window of the brake: the bridge has
/// counted the events of the window as one of fewer bridges, and an update of the bridges starts one more for a moment.
#[derive(Debug, Default)]
pub(super) struct Bridges {
    counted: Option<NonZeroUsize>,
    /// The smallest of the larger numbers, and the time of the first of them.
    more: Option<(NonZeroUsize, Timestamp)>,
}

impl Bridges {
    /// Records the present number.
    pub(super) fn set(&mut self, present: NonZeroUsize, now: Timestamp) {
        if self.counted.is_some_and(|counted| counted < present) {
            let (least, since) = self.more.unwrap_or((present, now));
            self.more = Some((least.min(present), since));
        } else {
            (self.counted, self.more) = (Some(present), None);
        }
    }

    /// Returns the number that divides the limits.
    pub(super) fn counted(&mut self, now: Timestamp, window: Duration) -> NonZeroUsize {
        if let Some((least, _)) = self.more.filter(|(_, since)| now.since(*since) >= window) {
            (self.counted, self.more) = (Some(least), None);
        }
        self.counted.unwrap_or(NonZeroUsize::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1335
    #[test]
    fn a_bridge_more_counts_after_the_window_and_a_bridge_less_at_once() {
        let window = Duration::from_mins(15);
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        let of = |number| NonZeroUsize::new(number).unwrap();
        let mut bridges = Bridges::default();
        assert_eq!(bridges.counted(at(0), window), of(1));
        bridges.set(of(2), at(0));
        assert_eq!(bridges.counted(at(0), window), of(2), "at the start");
        bridges.set(of(4), at(1));
        bridges.set(of(3), at(2));
        assert_eq!(bridges.counted(at(15), window), of(2));
        assert_eq!(bridges.counted(at(16), window), of(3));
        bridges.set(of(4), at(17));
        bridges.set(of(2), at(18));
        assert_eq!(bridges.counted(at(18), window), of(2));
        assert_eq!(bridges.counted(at(60), window), of(2));
    }
}
