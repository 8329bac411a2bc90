//! The outbox port of the state that all replicas with one store share about the destination. A replica is a bridge
//! process.
//!
//! SQLite and the engine in memory belong to one process, so they have nothing to share.

use std::fmt;
use std::future::ready;

use super::StoreFuture;

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

/// What the store knows from all replicas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedView {
    /// The stored mode of the destination: the value of [`Setting::DestinationMode`](super::Setting).
    pub mode: Option<String>,
}

/// The outbox port of the task that shares the destination with the other replicas.
pub trait SharedDestination: Send + Sync + fmt::Debug {
    /// Returns what all replicas know. Returns `None` if the store belongs to this process alone.
    fn exchange(&self) -> StoreFuture<'_, Option<SharedView>> {
        Box::pin(ready(Ok(None)))
    }
}
