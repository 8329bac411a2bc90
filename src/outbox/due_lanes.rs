//! Selects the due lanes that a claim takes, by the same rules for every storage engine. This module is pure: it does
//! no IO and reads no clock.

use super::{ClaimBounds, LaneId, LaneShares, Pick, Priority, Standing, UntriedOrder};
use crate::time::Timestamp;

/// The queue of due lanes to which a lane belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneClass {
    /// The priority of the most urgent entry of the lane.
    pub(super) priority: Priority,
    pub(super) standing: Standing,
}

impl LaneClass {
    /// The queue of a lane whose stored queue number is damaged. A wrong queue only changes which lane comes first.
    pub(super) const DEFAULT: Self = Self::new(Priority::Low, Standing::Well);

    const fn new(priority: Priority, standing: Standing) -> Self {
        Self { priority, standing }
    }

    /// Returns the queues of lanes with this standing, in the order in which a claim takes lanes from the queues.
    const fn with(standing: Standing) -> [Self; 2] {
        [
            Self::new(Priority::Live, standing),
            Self::new(Priority::Low, standing),
        ]
    }

    /// Returns every queue of due lanes.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let standings = [Standing::Well, Standing::Untried, Standing::Failing];
        standings.into_iter().flat_map(Self::with)
    }
}

/// A lane that is due, or becomes due at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DueLane {
    pub(super) due: Timestamp,
    pub(super) lane: LaneId,
}

/// The unclaimed lanes of a storage engine, in the order of their due times.
pub(super) trait DueQueues {
    type Error;
    /// Returns the first unclaimed lanes of a queue in the order of their due times, even lanes that are not due yet.
    /// Returns at most `max` + 1 lanes.
    fn first_due(&self, class: LaneClass, max: usize) -> Result<Vec<DueLane>, Self::Error>;
    /// Returns the number of failures of a lane.
    fn failures(&self, lane: LaneId) -> Result<u32, Self::Error>;
    /// Returns the bounds of claims.
    fn bounds(&self) -> ClaimBounds;
}

/// The lanes that a claim takes.
#[derive(Debug)]
pub(super) struct PickedLanes {
    pub(super) lanes: Vec<LaneId>,
    pub(super) next_due: Option<Timestamp>,
    pub(super) is_failing_left: bool,
    pub(super) is_untried_left: bool,
}

/// The due lanes of some queues.
#[derive(Default)]
struct DueLanes {
    due: Vec<DueLane>,
    /// The earliest due time of the lanes that are due but not in `due`.
    left: Option<Timestamp>,
    /// The earliest due time of the lanes that are not due yet.
    later: Option<Timestamp>,
}

impl DueLanes {
    /// Keeps only the `room` lanes that have been due longest.
    fn oldest(mut self, room: usize) -> Self {
        let cut = self.due.split_off(room.min(self.due.len()));
        let left = cut.first().map(|due| due.due);
        self.left = self.left.into_iter().chain(left).min();
        self
    }

    /// Keeps only the `room` lanes that became due last.
    fn newest(mut self, room: usize) -> Self {
        let kept = self.due.split_off(self.due.len().saturating_sub(room));
        let left = self.due.first().map(|due| due.due);
        self.left = self.left.into_iter().chain(left).min();
        self.due = kept;
        self
    }

    /// Adds at most `room` lanes of two queues: the lanes that have been due longest, or the lanes that became due last.
    /// Returns the last added lane.
    fn merge(
        &mut self,
        one: Self,
        other: Self,
        (room, newest_first): (usize, bool),
    ) -> Option<DueLane> {
        let mut due = one.due;
        due.extend(other.due);
        due.sort_unstable();
        if newest_first {
            due.reverse();
        }
        let left = due.split_off(room.min(due.len()));
        let left = left.first().map(|due| due.due);
        let lefts = [self.left, one.left, other.left, left];
        self.left = lefts.into_iter().flatten().min();
        self.later = [self.later, one.later, other.later]
            .into_iter()
            .flatten()
            .min();
        let last = due.last().copied();
        self.due.extend(due);
        last
    }
}

impl Pick {
    /// Selects at most `max` lanes that are due at `now`.
    pub(super) fn select<Q: DueQueues>(
        self,
        queues: &Q,
        max: usize,
        now: Timestamp,
    ) -> Result<PickedLanes, Q::Error> {
        match self {
            Self::LongestDue(shares) => longest_due(queues, max, shares, now),
            Self::NotFailed => not_failed(queues, max, now),
            Self::LeastFailed(chance) => least_failed(queues, max, chance, now),
        }
    }
}

fn longest_due<Q: DueQueues>(
    queues: &Q,
    max: usize,
    shares: LaneShares,
    now: Timestamp,
) -> Result<PickedLanes, Q::Error> {
    let failing_max = shares.failing.max.min(max);
    let failing = due(queues, LaneClass::with(Standing::Failing), failing_max, now)?;
    let kept = shares.failing.kept.min(failing.due.len());
    let mut picked = DueLanes::default();
    let mut untried_max = shares.untried_max;
    let mut is_untried_left = false;
    let well_max = max.saturating_sub(kept);
    for priority in [Priority::Live, Priority::Low] {
        let room = well_max.saturating_sub(picked.due.len());
        let (well, mut untried) =
            not_failing(queues, priority, (room, untried_max), (shares, now))?;
        if untried_max < room && untried.left.take().is_some() {
            is_untried_left = true;
        }
        let untried_lanes = untried.due.clone();
        let last = picked.merge(well, untried, (room, shares.newest_first));
        let is_taken = |due: &&DueLane| match shares.newest_first {
            true => Some(**due) >= last,
            false => Some(**due) <= last,
        };
        let taken = match last {
            Some(_) => untried_lanes.iter().filter(is_taken).count(),
            None => 0,
        };
        untried_max = untried_max.saturating_sub(taken);
    }
    let room = max.saturating_sub(picked.due.len());
    let next_due = [picked.left, picked.later, failing.later];
    let lanes = picked.due.iter().chain(failing.due.iter().take(room));
    Ok(PickedLanes {
        lanes: lanes.map(|due| due.lane).collect(),
        next_due: next_due.into_iter().flatten().min(),
        is_failing_left: failing.left.is_some() || failing.due.len() > room,
        is_untried_left,
    })
}

/// Returns the due lanes of one priority that did not fail: the lanes that Imprint answered before, and at most
/// `untried_max` untried lanes.
///
/// The claim has room for `room` of these lanes. If untried lanes come last, the result has no more lanes than that.
fn not_failing<Q: DueQueues>(
    queues: &Q,
    priority: Priority,
    (room, untried_max): (usize, usize),
    (shares, now): (LaneShares, Timestamp),
) -> Result<(DueLanes, DueLanes), Q::Error> {
    let of = |standing, max, newest_first: bool| {
        let class = [LaneClass::new(priority, standing)];
        if newest_first && max > 0 {
            let window = queues.bounds().probe;
            due(queues, class, window, now).map(|lanes| lanes.newest(max))
        } else {
            due(queues, class, max, now)
        }
    };
    let well = of(Standing::Well, room, shares.newest_first)?;
    match shares.untried {
        UntriedOrder::ByDueTime => {
            let max = room.min(untried_max);
            Ok((well, of(Standing::Untried, max, shares.newest_first)?))
        }
        UntriedOrder::Last { kept } => {
            let free = room.saturating_sub(well.due.len());
            let max = free.max(kept.min(room)).min(untried_max);
            let untried = of(Standing::Untried, max, true)?;
            let room = room.saturating_sub(untried.due.len());
            let well = match shares.newest_first {
                true => well.newest(room),
                false => well.oldest(room),
            };
            Ok((well, untried))
        }
    }
}

/// The lanes that became due last come first: the lanes that have been due longest possibly belong to customers whose
/// requests fail.
fn not_failed<Q: DueQueues>(
    queues: &Q,
    max: usize,
    now: Timestamp,
) -> Result<PickedLanes, Q::Error> {
    let window = queues.bounds().probe;
    let [live, low] = LaneClass::with(Standing::Well);
    let [new_live, new_low] = LaneClass::with(Standing::Untried);
    let mut found = DueLanes::default();
    for class in [live, low, new_live, new_low] {
        let room = max.saturating_sub(found.due.len());
        let lanes = due(queues, [class], window, now)?.newest(room);
        found.left = found.left.into_iter().chain(lanes.left).min();
        found.later = found.later.into_iter().chain(lanes.later).min();
        found.due.extend(lanes.due);
    }
    let failing = due(queues, LaneClass::with(Standing::Failing), 0, now)?;
    let next_due = [found.left, found.later, failing.later];
    Ok(PickedLanes {
        lanes: found.due.iter().map(|due| due.lane).collect(),
        next_due: next_due.into_iter().flatten().min(),
        is_failing_left: failing.left.is_some(),
        is_untried_left: false,
    })
}

fn least_failed<Q: DueQueues>(
    queues: &Q,
    max: usize,
    chance: u32,
    now: Timestamp,
) -> Result<PickedLanes, Q::Error> {
    let window = queues.bounds().probe;
    let mut found = Vec::new();
    let mut next_due: Option<Timestamp> = None;
    // Among lanes with equally many failures, a lane that Imprint answered before is the better probe: the customer of
    // an untried lane is possibly the cause of a failure.
    for standing in [Standing::Well, Standing::Untried, Standing::Failing] {
        let lanes = due(queues, LaneClass::with(standing), window, now)?;
        let times = next_due.into_iter().chain(lanes.left).chain(lanes.later);
        next_due = times.min();
        for due in lanes.due {
            found.push((queues.failures(due.lane)?, standing, due));
        }
    }
    found.sort_unstable();
    let fewest = found
        .first()
        .map(|(failures, standing, _)| (*failures, *standing));
    let equals =
        found.partition_point(|(failures, standing, _)| Some((*failures, *standing)) == fewest);
    let chosen = usize::try_from(chance).unwrap_or_default();
    let chosen = chosen.checked_rem(equals).unwrap_or_default();
    if let Some(equals) = found.get_mut(..=chosen) {
        equals.rotate_right(1);
    }
    let rest = found.split_off(max.min(found.len()));
    let rest = rest.iter().map(|(_, _, due)| due.due);
    Ok(PickedLanes {
        lanes: found.iter().map(|(_, _, due)| due.lane).collect(),
        next_due: next_due.into_iter().chain(rest).min(),
        is_failing_left: false,
        is_untried_left: false,
    })
}

/// Returns at most `max` due lanes of these queues. The lanes of the first queue come first.
fn due<Q: DueQueues, const N: usize>(
    queues: &Q,
    classes: [LaneClass; N],
    max: usize,
    now: Timestamp,
) -> Result<DueLanes, Q::Error> {
    let mut lanes = DueLanes::default();
    let first = |found: &[DueLane]| found.first().map(|due| due.due);
    for class in classes {
        let room = max.saturating_sub(lanes.due.len());
        let mut found = queues.first_due(class, room)?;
        let later = found.split_off(found.partition_point(|due| due.due <= now));
        let left = found.split_off(room.min(found.len()));
        lanes.later = lanes.later.into_iter().chain(first(&later)).min();
        lanes.left = lanes.left.into_iter().chain(first(&left)).min();
        lanes.due.extend(found);
    }
    Ok(lanes)
}
