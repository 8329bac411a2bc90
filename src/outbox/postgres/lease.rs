//! The lease of this replica, as its dispatch threads see it.
//!
//! A replica that stood still for longer than its lease continues at any place of its code. Before each request, and again
//! before the first byte of an update, it therefore compares the time since the last extension of its lease, without asking
//! the database. The time begins before the extension, so the lease in the database ends later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::replica;
use crate::outbox::ClaimToken;
use crate::time::Clock;

/// The lease of this replica.
#[derive(Debug)]
pub(super) struct OwnLease {
    clock: Clock,
    /// The number under which the replica is registered. 0 means that the replica is not registered.
    owner: AtomicU64,
    /// The end of the lease, in milliseconds by the clock.
    until: AtomicU64,
}

impl Default for OwnLease {
    fn default() -> Self {
        Self {
            clock: Clock::machine(),
            owner: AtomicU64::default(),
            until: AtomicU64::default(),
        }
    }
}

impl OwnLease {
    /// Returns the present time for [`Self::extended`].
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Records that the database has extended the lease. The replica asked for the extension at the time `asked_at`.
    pub(super) fn extended(&self, owner: u64, asked_at: Duration) {
        let until = asked_at.saturating_add(replica::LEASE);
        self.owner.store(owner, Ordering::SeqCst);
        self.until.store(millis(until), Ordering::SeqCst);
    }

    /// Records that the lease has ended. The replica registers again under a new number.
    pub(super) fn ended(&self) {
        self.owner.store(0, Ordering::SeqCst);
    }

    /// Returns whether the lease has ended, also if the replica has not noticed this yet.
    pub(super) fn has_ended(&self) -> bool {
        let until = self.until.load(Ordering::SeqCst);
        self.owner.load(Ordering::SeqCst) == 0 || millis(self.now()) >= until
    }

    /// Returns whether the claim belongs to this lease, and the lease has not ended.
    pub(super) fn covers(&self, token: ClaimToken) -> bool {
        let until = self.until.load(Ordering::SeqCst);
        token.owner == self.owner.load(Ordering::SeqCst) && millis(self.now()) < until
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const fn of(owner: u64) -> ClaimToken {
        ClaimToken { owner, epoch: 1 }
    }

    /// FAULTS N1006: a claim is valid only under its own registration, and until the lease ends.
    #[test]
    fn a_lease_covers_the_claims_of_its_registration_until_its_end() {
        let clock = Clock::manual(Timestamp::from_millis(1_000));
        let lease = OwnLease {
            clock: clock.clone(),
            ..OwnLease::default()
        };
        assert!(!lease.covers(of(7)) && lease.has_ended(), "no lease");
        lease.extended(7, lease.now());
        assert!(lease.covers(of(7)) && !lease.covers(of(6)) && !lease.has_ended());
        clock.advance(replica::LEASE.saturating_sub(Duration::from_millis(1)));
        assert!(lease.covers(of(7)));
        let asked_at = lease.now();
        clock.advance(Duration::from_millis(1));
        assert!(
            !lease.covers(of(7)) && lease.has_ended(),
            "the lease has ended"
        );
        lease.extended(7, asked_at);
        assert!(lease.covers(of(7)), "no other replica took the lanes");
        lease.ended();
        assert!(!lease.covers(of(7)));
        lease.extended(8, lease.now());
        assert!(lease.covers(of(8)) && !lease.covers(of(7)));
    }
}
