//! The outbox port of the process that owns the storage engine: backup, close, permanent failure, and shared settings.
//!
//! The functions that open and verify a store are not part of a port, because no port exists before the store is open.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{
    CustomerErasure, DiskState, JournalError, RecordCounts, RecordCursor, SealingStatus,
    StoreFigures, StoreFuture,
};
use crate::sealing::KeyRing;
use crate::time::Timestamp;

/// The reason why the store refuses to make a copy. The operator can fix the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRefusal {
    /// A file with the name of the copy exists.
    Exists,
    /// A different copy is in progress.
    Running,
    /// The store is in a database, which has its own tools for backups.
    InDatabase,
    /// The disk has too little space for the copy.
    NoSpace {
        /// The free space in bytes that the copy needs.
        needed: u64,
        /// The free space of the disk in bytes.
        free: u64,
    },
    /// The disk became full during the copy.
    SpaceEnded {
        /// The free space in bytes that the copy needs.
        needed: u64,
    },
}

/// The outbox port of the process that owns the storage engine. The code that starts and stops the process holds this
/// port.
pub trait Lifecycle: Send + Sync + fmt::Debug {
    /// Resolves when the storage engine has failed permanently. The process must then stop. A new process continues
    /// with the data on disk.
    fn failed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// Returns a watch channel with the current condition of the store. The channel receives every later change.
    fn condition(&self) -> watch::Receiver<StoreCondition>;
    /// Copies the store into a new file with this name in the store's folder, and returns the path of the copy.
    ///
    /// Refuses the copy if the file exists, or if a different copy is in progress. The store serves other operations
    /// during the copy.
    fn backup(&self, name: &str) -> StoreFuture<'_, Result<PathBuf, CopyRefusal>>;
    /// Erases the remains of deleted events, updates and details from the files of the store.
    ///
    /// The store overwrites deleted rows at once, but its write-ahead log still contains them until this call.
    fn erase(&self) -> StoreFuture<'_, ()>;
    /// Writes every later erasure of a customer to this journal, before the store erases anything. Returns the erasures
    /// of the journal that the store has not finished: the caller repeats them before the store serves anybody else.
    fn keep_erasures(
        &self,
        journal: PathBuf,
    ) -> StoreFuture<'_, Result<Vec<CustomerErasure>, JournalError>>;
    /// Uses other sealing keys: seals all later records with the newest key, and claims the lanes that waited for a missing
    /// key again.
    fn use_keys(&self, ring: Arc<KeyRing>) -> StoreFuture<'_, ()>;
    /// Seals some records again that are not sealed with the newest key. Returns whether records are possibly left.
    fn reseal(&self) -> StoreFuture<'_, bool>;
    /// Returns a watch channel with the state of the sealing.
    fn sealing(&self) -> watch::Receiver<SealingStatus>;
    /// Counts the next records of the store by their keys. Returns the place at which the next call continues, or `None` at
    /// the end.
    fn count_records(
        &self,
        from: RecordCursor,
    ) -> StoreFuture<'_, (RecordCounts, Option<RecordCursor>)>;
    /// Returns the size of the store on its disk and the work of the store. Never waits: the store publishes the sizes
    /// several times a second.
    fn figures(&self) -> StoreFigures;
    /// Returns the time of the clock that all processes with this store share. Returns `None` if only one process can have
    /// the store.
    fn shared_time(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// Returns whether a crash of the store's machine can lose commits that the store has confirmed.
    fn can_lose_commits(&self) -> bool {
        false
    }
    /// Returns a watch channel with the state of the disk of the store.
    fn disk(&self) -> watch::Receiver<DiskState>;
    /// Finishes the operations that callers have started, then closes the store. Every later operation returns
    /// [`Error::Closed`](super::Error::Closed).
    fn close(&self);
}

/// The longest time that the store takes for an operation of a sender or for a read.
///
/// After this time, the sender gets 503: a hanging disk must not hang the sender. Five seconds are longer than any
/// commit on a working disk, and shorter than the timeout of any usual sender.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);

/// The condition of the store while the process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreCondition {
    /// The store accepts events.
    #[default]
    Working,
    /// One operation on the disk takes longer than [`STALLED_AFTER`], usually because the disk hangs. The store accepts
    /// no event until the operation ends.
    Stalled,
    /// The store file or its log was deleted, renamed, replaced, shortened or overwritten. The store accepts no event
    /// until the files are back, because a later process would not find an event in these files.
    FileGone,
}

impl StoreCondition {
    /// The names of all conditions. The first name is the condition at the start of the process.
    pub const NAMES: [&str; 3] = ["working", "stalled", "file_gone"];

    /// Returns the name of the condition, for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Stalled => "stalled",
            Self::FileGone => "file_gone",
        }
    }
}

impl fmt::Display for StoreCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Working => "the store works",
            Self::Stalled => "the store did not answer in time",
            Self::FileGone => "a file of the store was deleted, renamed, replaced or overwritten",
        })
    }
}

/// The settings in the store. A setting stays after the process ends, and every process with the same store shares the
/// setting.
///
/// No process caches a setting. Every read and write uses the store, so an operator's change of a setting reaches every
/// process.
pub trait Settings: Send + Sync + fmt::Debug {
    /// Replaces the stored value of a setting.
    fn store_setting(&self, setting: Setting, value: String) -> StoreFuture<'_, ()>;
    /// Replaces the stored value of a setting if the store still has the value `known`. Returns whether it had. Processes that
    /// change parts of one value use this function, and repeat it with the newer value.
    ///
    /// The evidence is sealed, and cannot be compared: the function never replaces it.
    fn replace_setting(
        &self,
        setting: Setting,
        known: Option<String>,
        value: String,
    ) -> StoreFuture<'_, bool>;
    /// Returns the stored value of a setting. Returns `None` if the store has no value of the setting.
    fn setting(&self, setting: Setting) -> StoreFuture<'_, Option<String>>;
}

/// The maximum number of tries to replace a setting that other processes also change.
///
/// Sixteen changes at the same time do not happen. Without this limit, a process would try for ever to replace a damaged
/// value.
pub const REPLACE_TRIES_MAX: usize = 16;

/// The name of a setting that all processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// The mode that an operator set for the destination.
    DestinationMode,
    /// The time until which Imprint asked the bridge to wait, and the time when the bridge stored this time.
    ThrottledUntil,
    /// The environment and the host of Imprint to which the store belongs.
    Destination,
    /// The evidence that Imprint's answers to the last process, under its API key, are true.
    Evidence,
    /// The time when the last backup ended, in milliseconds since 1970.
    LastBackup,
    /// The orders that the source files gave to the events: epochs and rules of the versions.
    SourceOrders,
    /// The mass-change brakes that operators have opened.
    OpenBrakes,
    /// The times of the last events of the sources, and the numbers of their events by hour.
    LastEvents,
}

impl Setting {
    /// The settings that the store never seals.
    pub(crate) const PLAIN: [Self; 7] = [
        Self::DestinationMode,
        Self::ThrottledUntil,
        Self::Destination,
        Self::LastBackup,
        Self::SourceOrders,
        Self::OpenBrakes,
        Self::LastEvents,
    ];

    /// Returns whether the bridge works without the setting: it then knows less about the past, and never sends more than an
    /// operator allowed. The start and every later read take a damaged value of such a setting as an empty text, which no
    /// reader of the setting accepts.
    pub const fn is_optional(self) -> bool {
        match self {
            Self::ThrottledUntil
            | Self::Evidence
            | Self::LastBackup
            | Self::OpenBrakes
            | Self::LastEvents => true,
            Self::DestinationMode | Self::Destination | Self::SourceOrders => false,
        }
    }

    /// Returns the name under which the store keeps the setting. The stored name of a setting never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DestinationMode => "destination_mode",
            Self::ThrottledUntil => "destination_wait",
            Self::Destination => "destination",
            Self::Evidence => "evidence",
            Self::LastBackup => "last_backup",
            Self::SourceOrders => "source_orders",
            Self::OpenBrakes => "open_brakes",
            Self::LastEvents => "last_events",
        }
    }
}
