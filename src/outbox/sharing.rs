//! The outbox port of the state that all replicas with one store share about the destination. A replica is a bridge
//! process.
//!
//! SQLite and the engine in memory belong to one process, so they have nothing to share.

use std::fmt;
use std::future::ready;
use std::num::NonZeroUsize;

use super::{KeyMark, LaneId, StoreFuture};
use crate::time::Timestamp;

/// What a process asks the store.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaReport {
    /// The mark of the API key that the process uses. Only processes with the same key share their tokens.
    pub key: KeyMark,
    /// The tokens for requests that the process needs now.
    pub tokens: Option<TokenOrder>,
    /// The change of the agreed state that the process proposes.
    pub proposal: Option<StateProposal>,
    /// True if the process wants to know the settings, the agreed state and the erased customers.
    pub looks: bool,
}

/// An order of tokens from the token bucket of an API key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenOrder {
    /// The maximum number of tokens: a whole number.
    pub wanted: f64,
    /// The number of tokens that the bucket gains in a second, by the clock of the store.
    pub rate: f64,
    /// The maximum number of tokens in the bucket.
    pub burst: f64,
}

/// The answer to a [`TokenOrder`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenGrant {
    /// The number of tokens that the process got.
    pub count: usize,
    /// The number of tokens in the bucket after the order.
    pub left: f64,
}

/// A change of the state on which the replicas with one API key agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateProposal {
    /// The revision that the process knows. The store accepts the proposal only if the revision is still the same.
    pub revision: u64,
    /// The new state, as a text that only dispatch reads.
    pub state: String,
}

/// The state on which the replicas with one API key agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedView {
    /// True if the store has accepted the proposal.
    pub is_accepted: bool,
    /// The revision of the state. 0 means that the store has no state.
    pub revision: u64,
    /// The state. `None` if the store has no state, or has accepted the proposal.
    pub state: Option<String>,
    /// The time of the store.
    pub at: Timestamp,
}

/// The settings that every replica obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedSettings {
    /// The value of [`Setting::DestinationMode`](super::Setting).
    pub mode: Option<String>,
}

/// The customers that a process must forget, because another process has erased them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forgotten {
    /// The process has nothing to forget.
    #[default]
    Nobody,
    /// The customers of these lanes. Afterwards, the process calls [`SharedDestination::confirm_forgotten`].
    Lanes(Vec<LaneId>),
    /// All customers: the lease of the process had ended, so no other process waited for it.
    Everybody,
}

/// The answer of the store to a [`ReplicaReport`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedView {
    /// The settings, if the process asked for them.
    pub settings: Option<SharedSettings>,
    /// The answer to the order of tokens.
    pub tokens: Option<TokenGrant>,
    /// The agreed state, if the process asked for it or proposed a change.
    pub agreed: Option<AgreedView>,
    /// The customers to forget, if the process looks.
    pub forgotten: Forgotten,
}

/// The outbox port of the task that shares the destination with the other replicas.
pub trait SharedDestination: Send + Sync + fmt::Debug {
    /// Carries out the order of tokens and the proposal, and returns what the process asked for. Returns `None` if the store belongs to this
    /// process alone.
    fn exchange(&self, _report: ReplicaReport) -> StoreFuture<'_, Option<SharedView>> {
        Box::pin(ready(Ok(None)))
    }

    /// Records that this process has forgotten the customers of these lanes.
    fn confirm_forgotten(&self, _lanes: Vec<LaneId>) -> StoreFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Returns the number of processes that use the store at present, with this process.
    fn bridges(&self) -> StoreFuture<'_, NonZeroUsize> {
        Box::pin(ready(Ok(NonZeroUsize::MIN)))
    }

    /// Returns whether other processes possibly erased customers without waiting for this process, because its lease has ended.
    /// Knows this without the store, because a process without a lease often cannot reach the store.
    fn has_lost_lease(&self) -> bool {
        false
    }

    /// Returns the numbers of the other processes that have not forgotten every erased customer.
    fn remembering(&self) -> StoreFuture<'_, Vec<u64>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}
