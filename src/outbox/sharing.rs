//! The outbox port of the state that all replicas with one store share about the destination. A replica is a bridge
//! process.
//!
//! SQLite and the engine in memory belong to one process, so they have nothing to share.

use std::fmt;
use std::future::ready;

use super::StoreFuture;

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
