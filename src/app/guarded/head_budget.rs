//! The memory limit for request heads that have not arrived completely. A client needs no authentication to send a part
//! of a head.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The maximum number of bytes of all incomplete heads on one listener. It is enough for heads of the maximum size on
/// 512 connections. A usual head arrives in one read and does not count.
const HEADS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The number of bytes of all incomplete heads on one listener.
#[derive(Debug, Default)]
pub(in crate::app) struct HeadBudget(AtomicUsize);

/// The bytes of one connection in a [`HeadBudget`]. A dropped `HeadCharge` returns its bytes to the budget.
pub(super) struct HeadCharge {
    budget: Arc<HeadBudget>,
    bytes: usize,
}

impl HeadCharge {
    pub(super) const fn of(budget: Arc<HeadBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Sets the number of bytes of this connection to `bytes`. Returns `false` if the sum of all connections then
    /// exceeds the budget.
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
