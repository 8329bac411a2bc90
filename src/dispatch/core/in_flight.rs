//! Permits to have a request in flight. The number of permits is the configured concurrency.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::outbox::Standing;
use crate::time::Timestamp;

/// In each group of this many request slots, one slot is reserved for lanes that Imprint answered before.
///
/// Hanging first requests of new customers can therefore never fill all request slots.
const REQUESTS_PER_KEPT_PLACE: usize = 4;
/// A request is slow if Imprint has not answered after this number of usual times of an applied request.
const SLOW_FACTOR: u32 = 4;
/// The shortest time after which a request is slow.
const SLOW_MIN: Duration = Duration::from_millis(100);
/// The weight of the newest applied request in the usual time is one part of this number.
const USUAL_PARTS: u32 = 8;

/// The in-flight permits of one core.
#[derive(Debug)]
pub(super) struct InFlight {
    free: Rc<FreePermits>,
    untried_max: usize,
}

/// The permits that no delivery holds.
#[derive(Debug)]
struct FreePermits {
    all: Cell<usize>,
    /// The number of permits that untried lanes can take. The number is lower than `all` if some permits are reserved
    /// for other lanes.
    untried: Cell<usize>,
    /// The start of each request of a lane that Imprint answered before and that did not fail, in the order of the
    /// starts.
    started: RefCell<BTreeMap<u64, Timestamp>>,
    last_number: Cell<u64>,
    /// The usual time from the start of a request to the answer that Imprint applied it.
    usual: Cell<Duration>,
}

/// The permit of one delivery to have a request in flight. A dropped permit returns to the core.
#[derive(Debug)]
pub struct InFlightPermit {
    free: Rc<FreePermits>,
    is_untried: bool,
    is_well: bool,
    /// The number of the request in `started`. `None` means that the request has not started, or that other limits
    /// apply to the lane.
    number: Option<u64>,
}

impl InFlight {
    /// Creates `concurrency` permits. Untried lanes can hold at most `untried_max` of the permits.
    pub(super) fn new(concurrency: usize, untried_max: usize) -> Self {
        Self {
            free: Rc::new(FreePermits {
                all: Cell::new(concurrency),
                untried: Cell::new(untried_max),
                started: RefCell::default(),
                last_number: Cell::new(0),
                usual: Cell::default(),
            }),
            untried_max,
        }
    }

    /// Returns the number of permits that untried lanes hold.
    pub(super) fn untried(&self) -> usize {
        self.untried_max.saturating_sub(self.free.untried.get())
    }

    pub(super) fn is_free(&self) -> bool {
        self.free.all.get() > 0
    }

    /// Returns whether a lane with this standing can take a permit now.
    pub(super) fn admits(&self, standing: Standing) -> bool {
        self.is_free() && (standing != Standing::Untried || self.free.untried.get() > 0)
    }

    pub(super) fn acquire(&self, standing: Standing) -> Option<InFlightPermit> {
        if !self.admits(standing) {
            return None;
        }
        let is_untried = standing == Standing::Untried;
        take(&self.free.all);
        if is_untried {
            take(&self.free.untried);
        }
        Some(InFlightPermit {
            free: Rc::clone(&self.free),
            is_untried,
            is_well: standing == Standing::Well,
            number: None,
        })
    }

    /// Returns the number of slow requests, without requests of untried and failing lanes.
    pub(super) fn slow(&self, now: Timestamp) -> usize {
        self.older_than(self.slow_after(), now)
    }

    /// Returns the time after which a request is slow.
    pub(super) fn slow_after(&self) -> Duration {
        (self.free.usual.get() * SLOW_FACTOR).max(SLOW_MIN)
    }

    /// Returns the number of requests that started longer ago than `age`, without requests of untried and failing lanes.
    pub(super) fn older_than(&self, age: Duration, now: Timestamp) -> usize {
        let started = self.free.started.borrow();
        let is_older = |start: &&Timestamp| start.after(age) <= now;
        started.values().take_while(is_older).count()
    }

    /// Returns the time at which the next request is older than `age`.
    pub(super) fn next_older(&self, age: Duration, now: Timestamp) -> Option<Timestamp> {
        let started = self.free.started.borrow();
        let mut times = started.values().map(|start| start.after(age));
        times.find(|time| *time > now)
    }
}

impl InFlightPermit {
    /// Records that the request starts.
    pub(super) fn start(&mut self, now: Timestamp) {
        if !self.is_well || self.number.is_some() {
            return;
        }
        let number = self.free.last_number.get() + 1;
        self.free.last_number.set(number);
        self.free.started.borrow_mut().insert(number, now);
        self.number = Some(number);
    }

    /// Records that Imprint applied the request.
    pub(super) fn applied(&self, now: Timestamp) {
        let started = self.free.started.borrow();
        if let Some(start) = self.number.and_then(|number| started.get(&number)) {
            let usual = self.free.usual.get();
            let rest = usual.saturating_sub(usual / USUAL_PARTS);
            let usual = rest.saturating_add(now.since(*start) / USUAL_PARTS);
            self.free.usual.set(usual);
        }
    }
}

/// Returns the number of request slots that are open to untried lanes. The remaining slots are reserved for lanes that
/// Imprint answered before. A core with a single slot reserves none.
pub(super) fn untried_places(concurrency: usize) -> usize {
    let kept = (concurrency / REQUESTS_PER_KEPT_PLACE).max(1);
    concurrency.saturating_sub(kept).max(1)
}

fn take(permits: &Cell<usize>) {
    permits.set(permits.get().saturating_sub(1));
}

fn give_back(permits: &Cell<usize>) {
    permits.set(permits.get().saturating_add(1));
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        give_back(&self.free.all);
        if let Some(number) = self.number {
            self.free.started.borrow_mut().remove(&number);
        }
        if self.is_untried {
            give_back(&self.free.untried);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_can_be_acquired_again() {
        let in_flight = InFlight::new(2, 2);
        let acquire = || in_flight.acquire(Standing::Well);
        let first = acquire();
        let second = acquire();
        assert!(first.is_some() && second.is_some());
        assert!(acquire().is_none() && !in_flight.is_free());
        drop(first);
        assert!(in_flight.is_free());
        assert!(acquire().is_some());
        assert!(acquire().is_some(), "it was dropped at once");
        let third = acquire();
        assert!(third.is_some() && acquire().is_none());
    }

    #[test]
    fn untried_lanes_leave_the_kept_permits_to_other_lanes() {
        let in_flight = InFlight::new(3, 2);
        let first = in_flight.acquire(Standing::Untried);
        let second = in_flight.acquire(Standing::Untried);
        assert!(first.is_some() && second.is_some());
        assert!(in_flight.acquire(Standing::Untried).is_none());
        assert_eq!(in_flight.untried(), 2);
        let other = in_flight.acquire(Standing::Failing);
        assert!(other.is_some() && in_flight.acquire(Standing::Well).is_none());
        drop(first);
        assert!(in_flight.admits(Standing::Untried));
    }
}
