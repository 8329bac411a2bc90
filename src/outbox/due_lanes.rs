//! Selects the due lanes that a claim takes, by the same rules for every storage engine. This module is pure: it does no
//! IO and reads no clock.

use super::{ClaimBounds, FailingShare, LaneId, Pick, Priority};
use crate::time::Timestamp;

/// The queue of due lanes to which a lane belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneClass {
    /// The priority of the most urgent entry of the lane.
    pub(super) priority: Priority,
    /// True if the last request of the lane failed.
    pub(super) is_failing: bool,
}

impl LaneClass {
    /// The queues of lanes that do not fail, in the order in which a claim takes lanes from the queues.
    pub(super) const WELL: [Self; 2] = [
        Self::new(Priority::Live, false),
        Self::new(Priority::Low, false),
    ];
    /// The queues of failing lanes, in the order in which a claim takes lanes from the queues.
    pub(super) const FAILING: [Self; 2] = [
        Self::new(Priority::Live, true),
        Self::new(Priority::Low, true),
    ];

    /// The queue of a lane whose stored queue is damaged: the queue decides only which lane comes first.
    pub(super) const DEFAULT: Self = Self::new(Priority::Low, false);

    const fn new(priority: Priority, is_failing: bool) -> Self {
        Self {
            priority,
            is_failing,
        }
    }

    /// Returns every queue of due lanes.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::WELL.into_iter().chain(Self::FAILING)
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
    /// Returns the first unclaimed lanes of a queue in the order of their due times: at most one more than `max`,
    /// including lanes that are not due yet.
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
}

/// The due lanes of some queues.
#[derive(Default)]
struct DueLanes {
    due: Vec<DueLane>,
    /// The due time of the first lane that is due and not in `due`.
    left: Option<Timestamp>,
    /// The time when the first lane becomes due that is not due yet.
    later: Option<Timestamp>,
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
            Self::LongestDue(share) => longest_due(queues, max, share, now),
            Self::LeastFailed(chance) => least_failed(queues, max, chance, now),
        }
    }
}

fn longest_due<Q: DueQueues>(
    queues: &Q,
    max: usize,
    share: FailingShare,
    now: Timestamp,
) -> Result<PickedLanes, Q::Error> {
    let failing = due(queues, LaneClass::FAILING, share.max.min(max), now)?;
    let kept = share.kept.min(failing.due.len());
    let well = due(queues, LaneClass::WELL, max.saturating_sub(kept), now)?;
    let room = max.saturating_sub(well.due.len());
    let lanes = well
        .due
        .iter()
        .chain(failing.due.iter().take(room))
        .map(|due| due.lane);
    let next_due = [well.left, well.later, failing.later];
    Ok(PickedLanes {
        lanes: lanes.collect(),
        next_due: next_due.into_iter().flatten().min(),
        is_failing_left: failing.left.is_some() || failing.due.len() > room,
    })
}

fn least_failed<Q: DueQueues>(
    queues: &Q,
    max: usize,
    chance: u32,
    now: Timestamp,
) -> Result<PickedLanes, Q::Error> {
    let window = queues.bounds().probe;
    let well = due(queues, LaneClass::WELL, window, now)?;
    let failing = due(queues, LaneClass::FAILING, window, now)?;
    let next_due = [well.left, well.later, failing.left, failing.later];
    let mut found = Vec::with_capacity(well.due.len() + failing.due.len());
    for due in well.due.into_iter().chain(failing.due) {
        found.push((queues.failures(due.lane)?, due));
    }
    found.sort_unstable();
    let fewest = found.first().map(|(failures, _)| *failures);
    let equals = found.partition_point(|(failures, _)| Some(*failures) == fewest);
    let chosen = usize::try_from(chance).unwrap_or_default();
    let chosen = chosen.checked_rem(equals).unwrap_or_default();
    if let Some(equals) = found.get_mut(..=chosen) {
        equals.rotate_right(1);
    }
    let rest = found.split_off(max.min(found.len()));
    let rest = rest.iter().map(|(_, due)| due.due);
    Ok(PickedLanes {
        lanes: found.iter().map(|(_, due)| due.lane).collect(),
        next_due: next_due.into_iter().flatten().chain(rest).min(),
        is_failing_left: false,
    })
}

/// Returns at most `max` due lanes of these queues: the lanes of the first queue first.
fn due<Q: DueQueues>(
    queues: &Q,
    classes: [LaneClass; 2],
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
