//! The budget for request bodies: the maximum number of bytes of all bodies that the event listener has in memory.
//!
//! The listener charges each block of a body to the budget, and returns the charge when it drops the body. If the
//! budget is used up, the listener refuses a body that arrives slowly, to make room for a faster body. Without this
//! rule, a few clients that stall would lock out all senders.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The budget for request bodies. All worker threads of the event listener share the budget.
#[derive(Debug)]
pub struct BodyBudget {
    bytes_max: usize,
    used: AtomicUsize,
    slow: Mutex<SlowBodies>,
}

/// The slow bodies. If the budget is used up, the listener first refuses the body that has been slow for the longest
/// time.
#[derive(Debug, Default)]
struct SlowBodies {
    next: u64,
    bodies: BTreeMap<u64, SlowBody>,
}

#[derive(Debug)]
struct SlowBody {
    bytes: usize,
    /// Tells the request that its body has lost its part of the budget, so that the request must end.
    give_way: oneshot::Sender<()>,
}

/// The error of a body for which the budget has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OverBudget;

impl BodyBudget {
    /// Creates a budget of `bytes_max` bytes.
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            used: AtomicUsize::new(0),
            slow: Mutex::new(SlowBodies {
                next: 0,
                bodies: BTreeMap::new(),
            }),
        }
    }

    /// Creates the charge of one body, with 0 bytes.
    pub(super) const fn charge(&self) -> BodyCharge<'_> {
        BodyCharge {
            budget: self,
            bytes: 0,
            slow: None,
        }
    }

    fn try_add(&self, bytes: usize) -> bool {
        let add = |used: usize| {
            let sum = used.checked_add(bytes)?;
            (sum <= self.bytes_max).then_some(sum)
        };
        let added = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.is_ok()
    }

    fn subtract(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Frees the part of the budget that the oldest slow body uses. Returns false if no body is slow.
    fn take_from_oldest(&self) -> bool {
        let Some((_, body)) = self.slow().bodies.pop_first() else {
            return false;
        };
        self.subtract(body.bytes);
        // The send fails if the request has ended, and nobody needs the signal then.
        let _gone: Result<(), ()> = body.give_way.send(());
        true
    }

    fn slow(&self) -> MutexGuard<'_, SlowBodies> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of the budget that one body uses. A dropped charge returns its bytes to the budget.
#[derive(Debug)]
pub(super) struct BodyCharge<'a> {
    budget: &'a BodyBudget,
    bytes: usize,
    /// The number of this body in [`SlowBodies`], if the body is slow. If [`SlowBodies`] has no body with this number,
    /// the body has lost its part of the budget.
    slow: Option<u64>,
}

impl BodyCharge<'_> {
    /// Charges more bytes to the budget. If the budget is used up and this body is not slow, slow bodies lose their
    /// part of the budget, the oldest first.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        while !self.budget.try_add(bytes) {
            if self.slow.is_some() || !self.budget.take_from_oldest() {
                return Err(OverBudget);
            }
        }
        let Some(number) = self.slow else {
            self.bytes += bytes;
            return Ok(());
        };
        if let Some(body) = self.budget.slow().bodies.get_mut(&number) {
            body.bytes += bytes;
            return Ok(());
        }
        self.budget.subtract(bytes);
        Err(OverBudget)
    }

    /// Marks the body as slow. The returned receiver resolves when the body loses its part of the budget.
    pub(super) fn become_slow(&mut self) -> oneshot::Receiver<()> {
        let (give_way, gives_way) = oneshot::channel();
        let mut slow = self.budget.slow();
        let number = slow.next;
        slow.next = slow.next.wrapping_add(1);
        let bytes = std::mem::take(&mut self.bytes);
        slow.bodies.insert(number, SlowBody { bytes, give_way });
        self.slow = Some(number);
        gives_way
    }

    /// Marks the body as complete. A complete body keeps its part of the budget until its charge is dropped.
    pub(super) fn complete(&mut self) {
        let slow = self.slow.take();
        let body = slow.and_then(|number| self.budget.slow().bodies.remove(&number));
        self.bytes += body.map_or(0, |body| body.bytes);
    }
}

impl Drop for BodyCharge<'_> {
    fn drop(&mut self) {
        self.complete();
        self.budget.subtract(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(budget: &BodyBudget) -> usize {
        budget.used.load(Ordering::Relaxed)
    }

    #[test]
    fn a_dropped_body_returns_its_bytes() {
        let budget = BodyBudget::new(10);
        let mut first = budget.charge();
        first.grow(4).unwrap();
        first.grow(6).unwrap();
        let mut second = budget.charge();
        assert_eq!(second.grow(1), Err(OverBudget));
        drop(first);
        assert_eq!(used(&budget), 0);
        second.grow(10).unwrap();
        assert_eq!(second.grow(usize::MAX), Err(OverBudget));
        drop(second);
        assert_eq!(used(&budget), 0);
    }

    /// FAULTS N43
    #[test]
    fn the_oldest_slow_body_gives_way() {
        let budget = BodyBudget::new(10);
        let mut bodies: Vec<_> = (0..3).map(|_| budget.charge()).collect();
        for body in &mut bodies {
            body.grow(3).unwrap();
        }
        let mut gives_way: Vec<_> = bodies.iter_mut().map(BodyCharge::become_slow).collect();
        bodies[2].complete();
        let mut prompt = budget.charge();
        prompt.grow(4).unwrap();
        assert_eq!(gives_way[0].try_recv(), Ok(()));
        assert!(gives_way[1].try_recv().is_err());
        // A body that has lost its charge does not grow, and returns nothing.
        assert_eq!(bodies[0].grow(0), Err(OverBudget));
        assert_eq!(used(&budget), 10);
        // A slow body takes the charge of no other one.
        assert_eq!(bodies[1].grow(8), Err(OverBudget));
        // A complete body keeps its charge.
        assert_eq!(prompt.grow(4), Err(OverBudget));
        drop((bodies, prompt));
        assert_eq!(used(&budget), 0);
    }
}
