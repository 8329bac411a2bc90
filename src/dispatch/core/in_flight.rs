//! Permits to have a request in flight. The number of permits is the configured concurrency.

use std::cell::Cell;
use std::rc::Rc;

use crate::outbox::Standing;

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
}

/// The permit of one delivery to have a request in flight. A dropped permit returns to the core.
#[derive(Debug)]
pub struct InFlightPermit {
    free: Rc<FreePermits>,
    is_untried: bool,
}

impl InFlight {
    /// Creates `concurrency` permits. Untried lanes can hold at most `untried_max` of the permits.
    pub(super) fn new(concurrency: usize, untried_max: usize) -> Self {
        Self {
            free: Rc::new(FreePermits {
                all: Cell::new(concurrency),
                untried: Cell::new(untried_max),
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
        })
    }
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
