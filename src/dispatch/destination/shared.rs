//! The part of the destination that the task uses that shares the destination with the other processes of the store.

use tokio::sync::futures::Notified;

use super::limiter::{PendingProposal, SendLimiter};
use super::{Destination, OperatorMode};
use crate::dispatch::breaker::DestinationState;
use crate::outbox::{AgreedView, KeyMark, Pick, TokenGrant, TokenOrder};
use crate::time::Timestamp;

impl Destination {
    /// Follows the other processes of the store from now on.
    pub fn share(&self) {
        self.limiter().share();
    }

    /// Returns the mark of the API key in use.
    pub fn key(&self) -> KeyMark {
        self.limiter().key()
    }

    /// Returns a number that rises with each call of [`Self::set_mode`].
    pub fn mode_changes(&self) -> u64 {
        self.limiter().mode_changes()
    }

    /// Takes over the stored mode, which another process has possibly changed. Does nothing if an operator has changed
    /// the mode in this process since `mode_changes`: the caller has possibly read the mode before. Returns the mode
    /// before the change.
    pub fn adopt_mode(&self, mode: OperatorMode, mode_changes: u64) -> Option<OperatorMode> {
        let before = self.limiter().adopt_mode(mode, mode_changes)?;
        self.changed.notify_waiters();
        Some(before)
    }

    /// Returns the rule of the look for due lanes that dispatch needs before [`Self::acquire`]: an order of tokens is a
    /// statement of the store, so dispatch orders only for due lanes. Returns `None` if dispatch needs no look.
    pub fn look_first(&self, now: Timestamp) -> Option<Pick> {
        self.limiter().look_first(now)
    }

    /// Returns whether dispatch can send a probe now, and nothing else, for all processes.
    pub fn is_shared_probe_due(&self, now: Timestamp) -> bool {
        self.limiter().is_shared_probe_due(now)
    }

    /// Orders tokens for further requests, if processes share the rate limit.
    pub fn need(&self, requests: usize, now: Timestamp) {
        let mut limiter = self.limiter();
        limiter.need(requests);
        self.wake_sharing(&limiter, now);
    }

    /// Resolves when dispatch has asked for an exchange, even before this call.
    pub fn asked(&self) -> Notified<'_> {
        self.asked.notified()
    }

    /// Returns the time at which the process next orders tokens or proposes a state, or `None` if it needs neither.
    pub fn next_exchange(&self, now: Timestamp) -> Option<Timestamp> {
        self.limiter().next_exchange(now)
    }

    /// Returns the order of tokens that is due now.
    pub fn order(&self, now: Timestamp) -> Option<TokenOrder> {
        self.limiter().order(now)
    }

    /// Adds the tokens of an order that was sent and answered at these times.
    pub fn ordered(&self, order: TokenOrder, grant: TokenGrant, times: (Timestamp, Timestamp)) {
        self.limiter().ordered(order, grant, times);
        if grant.count > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Returns the change of the agreed state that this process proposes to the store.
    pub fn propose(&self, now: Timestamp) -> Option<PendingProposal> {
        self.limiter().propose(now)
    }

    /// Processes the agreed state of the store, and its answer to a proposal. Returns the state before and after, if the
    /// process takes over the state of another process.
    pub fn agree(
        &self,
        proposed: Option<&PendingProposal>,
        view: &AgreedView,
        now: Timestamp,
    ) -> Option<(DestinationState, DestinationState)> {
        let mut limiter = self.limiter();
        let states = limiter.agree(proposed, view, now);
        let has_probe = limiter.has_probe(now);
        drop(limiter);
        if states.is_some() || (proposed.is_some() && has_probe) {
            self.changed.notify_waiters();
        }
        states
    }

    /// Wakes the task that shares the destination, if the limiter has something to exchange.
    pub(super) fn wake_sharing(&self, limiter: &SendLimiter, now: Timestamp) {
        if limiter.next_exchange(now).is_some() {
            self.asked.notify_one();
        }
    }
}
