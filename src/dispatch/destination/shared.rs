//! The part of the destination that the task uses that shares the destination with the other processes of the store.

use tokio::sync::futures::Notified;

use super::limiter::SendLimiter;
use super::{Destination, OperatorMode};
use crate::dispatch::breaker::DestinationState;
use crate::outbox::{KeyMark, Pick, TokenGrant, TokenOrder};
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

    /// Takes over a wait that Imprint asked for in its answer to a different process. Returns the state before and after
    /// the change. Returns `None` if nothing changes.
    pub fn adopt_wait(&self, until: Timestamp) -> Option<(DestinationState, DestinationState)> {
        let states = self.limiter().adopt_wait(until)?;
        self.changed.notify_waiters();
        Some(states)
    }

    /// Returns the rule of the look for due lanes that dispatch needs before [`Self::acquire`]: an order of tokens is a
    /// statement of the store, so dispatch orders only for due lanes. Returns `None` if dispatch needs no look.
    pub fn look_first(&self, now: Timestamp) -> Option<Pick> {
        self.limiter().look_first(now)
    }

    /// Orders tokens for further requests, if processes share the rate limit.
    pub fn need(&self, requests: usize, now: Timestamp) {
        let mut limiter = self.limiter();
        limiter.need(requests);
        self.order_tokens(&limiter, now);
    }

    /// Resolves when dispatch has asked for tokens, even before this call.
    pub fn asked(&self) -> Notified<'_> {
        self.asked.notified()
    }

    /// Returns the time of the next order of tokens. Returns `None` if dispatch needs no tokens.
    pub fn next_order(&self, now: Timestamp) -> Option<Timestamp> {
        self.limiter().next_order(now)
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

    /// Wakes the task that orders tokens, if the limiter needs tokens.
    pub(super) fn order_tokens(&self, limiter: &SendLimiter, now: Timestamp) {
        if limiter.next_order(now).is_some() {
            self.asked.notify_one();
        }
    }
}
