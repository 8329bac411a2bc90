//! Permits to have a request in flight: as many permits as the configured concurrency.

use std::cell::Cell;
use std::rc::Rc;

/// The in-flight permits of one core.
#[derive(Debug)]
pub(super) struct InFlight {
    free: Rc<Cell<usize>>,
}

/// The permit of one delivery to have a request in flight. Dropping the permit returns the permit to the core.
#[derive(Debug)]
pub struct InFlightPermit {
    free: Rc<Cell<usize>>,
}

impl InFlight {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            free: Rc::new(Cell::new(concurrency)),
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.free.get() > 0
    }

    pub(super) fn acquire(&self) -> Option<InFlightPermit> {
        self.free.set(self.free.get().checked_sub(1)?);
        Some(InFlightPermit {
            free: Rc::clone(&self.free),
        })
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        self.free.set(self.free.get().saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_can_be_acquired_again() {
        let in_flight = InFlight::new(2);
        let first = in_flight.acquire();
        let second = in_flight.acquire();
        assert!(first.is_some() && second.is_some());
        assert!(in_flight.acquire().is_none() && !in_flight.is_free());
        drop(first);
        assert!(in_flight.is_free());
        assert!(in_flight.acquire().is_some());
        assert!(in_flight.acquire().is_some(), "it was dropped at once");
        let third = in_flight.acquire();
        assert!(third.is_some() && in_flight.acquire().is_none());
    }
}
