//! The floors of the queues of due lanes: due times below which the replica knows of no free lane.
//!
//! Each claim leaves a dead entry in the index of due lanes. While a session holds an old snapshot, nothing can remove these
//! entries, and a claim that read the queues from their starts would read all of them. A claim therefore starts at the
//! floors, which follow the first free lanes.
//!
//! A lane can become free below a floor: another replica is lost, or its commit was late. So from time to time a claim
//! reads the queues from their starts. These full reads take at most one part in [`FULL_READ_SHARE`] of the time, and the
//! keeper wakes dispatch for them. The replica's own commits lower the floors at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::outbox::{LaneClass, codec};
use crate::time::Timestamp;

/// Full reads take at most one part in this number of the time.
const FULL_READ_SHARE: u32 = 20;

/// The floor of an empty queue is this much earlier than the present: for commits of other replicas that are in progress.
const COMMIT_MARGIN_MS: i64 = 1_000;

/// Returns the pause after a read that possibly reads all dead entries of an index.
pub(super) const fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(FULL_READ_SHARE - 1)
}

#[derive(Debug, Default)]
pub(super) struct DueFloors {
    /// The floors by the number of the queue. A queue without a floor is read from its start.
    floors: BTreeMap<u8, Timestamp>,
    /// The earliest due times that this replica has committed since the last read began.
    committed: BTreeMap<u8, Timestamp>,
    /// The time of the monotonic clock from which on a read is a full read.
    next_full: Duration,
    /// True if the next read must be a full read.
    is_asked: bool,
    /// True if the last read was not a full read.
    is_partial: bool,
}

/// A read of the queues.
#[derive(Debug)]
pub(super) struct FlooredRead {
    began: Duration,
    is_full: bool,
    floors: BTreeMap<u8, Timestamp>,
}

impl FlooredRead {
    /// Returns the due time, in milliseconds, from which on the read reads a queue.
    pub(super) fn floor(&self, class: LaneClass) -> i64 {
        let floor = self.floors.get(&codec::class_number(class));
        floor.map_or(i64::MIN, |floor| floor.as_millis())
    }
}

impl DueFloors {
    /// Begins a read of the queues at this time of the monotonic clock.
    pub(super) fn begin(&mut self, began: Duration) -> FlooredRead {
        if std::mem::take(&mut self.is_asked) {
            self.next_full = Duration::ZERO;
        }
        self.committed.clear();
        let is_full = began >= self.next_full;
        let floors = match is_full {
            true => BTreeMap::new(),
            false => self.floors.clone(),
        };
        FlooredRead {
            began,
            is_full,
            floors,
        }
    }

    /// Ends a read that found these first free lanes in the queues.
    pub(super) fn end(
        &mut self,
        read: &FlooredRead,
        first_due: impl Fn(u8) -> Option<Timestamp>,
        (now, ended): (Timestamp, Duration),
    ) {
        let empty = Timestamp::from_millis(now.as_millis().saturating_sub(COMMIT_MARGIN_MS));
        for class in LaneClass::all() {
            let queue = codec::class_number(class);
            let committed = self.committed.get(&queue).copied();
            let floor = first_due(queue)
                .into_iter()
                .chain(committed)
                .fold(empty, Ord::min);
            self.floors.insert(queue, floor);
        }
        if read.is_full {
            let pause = pause_after(ended.saturating_sub(read.began));
            self.next_full = ended.saturating_add(pause);
        }
        self.is_partial = !read.is_full;
    }

    /// Returns whether the last read possibly left out lanes, and the next read at this time is a full read.
    pub(super) fn wants_full_read(&self, now: Duration) -> bool {
        self.is_partial && now >= self.next_full
    }

    /// Lowers the floor of a queue, after this replica has committed a free lane with this due time.
    pub(super) fn lower(&mut self, class: LaneClass, due: Timestamp) {
        let queue = codec::class_number(class);
        for known in [&mut self.floors, &mut self.committed] {
            let floor = known.entry(queue).or_insert(due);
            *floor = due.min(*floor);
        }
    }

    /// Makes the next read a full read: lanes have possibly become free below the floors.
    pub(super) const fn ask(&mut self) {
        self.is_asked = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{Priority, Standing};

    const LIVE: LaneClass = LaneClass {
        priority: Priority::Live,
        standing: Standing::Well,
    };

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Runs a read that takes from one second to another, at 100,000 ms, and finds a first lane with this due time in each
    /// queue.
    fn read(floors: &mut DueFloors, (began, ended): (u64, u64), first: Option<i64>) {
        let read = floors.begin(second(began));
        floors.end(&read, |_| first.map(at), (at(100_000), second(ended)));
    }

    /// Returns where a read at this second starts in the live queue.
    fn floor(floors: &mut DueFloors, began: u64) -> i64 {
        floors.begin(second(began)).floor(LIVE)
    }

    #[test]
    fn a_read_starts_at_the_first_free_lane_or_shortly_before_the_present() {
        for (first, expected) in [
            (Some(7), 7),
            (Some(99_900), 99_000),
            (Some(200_000), 99_000),
            (None, 99_000),
        ] {
            let mut floors = DueFloors::default();
            assert_eq!(floor(&mut floors, 0), i64::MIN);
            read(&mut floors, (0, 1), first);
            assert_eq!(floor(&mut floors, 1), expected, "{first:?}");
        }
    }

    #[test]
    fn full_reads_take_a_twentieth_of_the_time() {
        let mut floors = DueFloors::default();
        read(&mut floors, (0, 2), None);
        assert!(!floors.wants_full_read(second(40)));
        read(&mut floors, (10, 11), Some(5));
        assert_eq!(floor(&mut floors, 39), 5);
        assert!(!floors.wants_full_read(second(39)));
        assert!(floors.wants_full_read(second(40)));
        assert_eq!(floor(&mut floors, 40), i64::MIN);
        read(&mut floors, (40, 41), None);
        assert!(!floors.wants_full_read(second(60)));
        assert_eq!(floor(&mut floors, 59), 99_000);
        assert_eq!(floor(&mut floors, 60), i64::MIN);
    }

    #[test]
    fn a_commit_lowers_the_floor_even_during_a_read() {
        let mut floors = DueFloors::default();
        read(&mut floors, (0, 1), None);
        floors.lower(LIVE, at(500));
        assert_eq!(floor(&mut floors, 2), 500);
        let during = floors.begin(second(3));
        floors.lower(LIVE, at(300));
        floors.end(&during, |_| None, (at(100_000), second(4)));
        assert_eq!(floor(&mut floors, 5), 300);
        read(&mut floors, (5, 5), None);
        assert_eq!(floor(&mut floors, 6), 99_000);
    }

    #[test]
    fn a_full_read_that_is_asked_for_comes_at_once() {
        let mut floors = DueFloors::default();
        read(&mut floors, (0, 1), None);
        let during = floors.begin(second(2));
        floors.ask();
        floors.end(&during, |_| None, (at(100_000), second(3)));
        // The read fails.
        assert_eq!(floor(&mut floors, 4), i64::MIN);
        read(&mut floors, (5, 6), None);
        assert_eq!(floor(&mut floors, 7), 99_000);
    }
}
