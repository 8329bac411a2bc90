//! The memory of the request heads that have not arrived completely. A client needs no authentication to send a part of
//! a head.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sum of the bytes of all incomplete heads on one listener: heads of the maximum size on 512 connections. A usual
/// head arrives at once, and needs none of these bytes.
const HEADS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The memory of all incomplete heads on one listener.
#[derive(Debug, Default)]
pub(in crate::app) struct HeadBudget(AtomicUsize);

/// The share of one connection in a [`HeadBudget`], which ends when the `HeadCharge` is dropped.
pub(super) struct HeadCharge {
    budget: Arc<HeadBudget>,
    bytes: usize,
}

impl HeadCharge {
    pub(super) const fn of(budget: Arc<HeadBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Charges the budget with these bytes instead of the bytes before. Returns `false` if the budget is exceeded.
    pub(super) fn change(&mut self, bytes: usize) -> bool {
        let HeadBudget(sum) = &*self.budget;
        let before = sum.fetch_add(bytes, Ordering::Relaxed);
        sum.fetch_sub(self.bytes, Ordering::Relaxed);
        let others = before.saturating_sub(self.bytes);
        self.bytes = bytes;
        others.saturating_add(bytes) <= HEADS_BYTES_MAX
    }
}

impl Drop for HeadCharge {
    fn drop(&mut self) {
        self.change(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_returned() {
        let budget = Arc::new(HeadBudget::default());
        let mut one = HeadCharge::of(Arc::clone(&budget));
        let mut other = HeadCharge::of(Arc::clone(&budget));
        assert!(one.change(HEADS_BYTES_MAX));
        assert!(!other.change(1));
        assert!(one.change(HEADS_BYTES_MAX - 1));
        drop((one, other));
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
