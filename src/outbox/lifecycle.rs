//! The role of the process that owns the engine: shared settings, failure, backup, close.
//!
//! Opening and verifying an engine are separate functions, because before that no port exists.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use super::StoreFuture;

/// The role of the process that owns the engine. The composition root holds this port.
pub trait Lifecycle: Send + Sync + fmt::Debug {
    /// Resolves when the engine has failed permanently. The process must then end; a new process continues from the
    /// disk.
    fn failed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// Copies the store into a new file of this name beside it and returns its path. An existing file is an error.
    ///
    /// The SQLite engine accepts and delivers nothing while it copies.
    fn backup(&self, name: &str) -> StoreFuture<'_, PathBuf>;
    /// Finishes the accepted operations, then closes the store. Every later operation answers
    /// [`Error::Closed`](super::Error::Closed).
    fn close(&self);
}

/// Small values that outlive the process and that every process on the store shares.
///
/// Both operations read and write the store itself, so an operator's change reaches every process.
pub trait Settings: Send + Sync + fmt::Debug {
    /// Stores a value in place of the previous one.
    fn store_setting(&self, setting: Setting, value: String) -> StoreFuture<'_, ()>;
    /// Returns the stored value, if there is one.
    fn setting(&self, setting: Setting) -> StoreFuture<'_, Option<String>>;
}

/// The name of a shared value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// The mode that an operator chose for the destination.
    DestinationMode,
    /// The time until which the destination asked us to wait, in milliseconds since 1970.
    ThrottledUntil,
}

impl Setting {
    /// Returns the name under which the setting is stored. The name never changes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::DestinationMode => "destination_mode",
            Self::ThrottledUntil => "destination_wait",
        }
    }
}
