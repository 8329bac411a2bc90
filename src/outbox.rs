//! The outbox: the durable queue between accepting events and delivering them. Defines one port per role, and their
//! types.
//!
//! An event is answered 2xx only after [`Inbox::append`] has returned, and `append` returns only after the entry is on
//! disk. From then on the entry is in exactly one [`State`]. Engines know no HTTP, no mapping and no policy.
//!
//! | state | enters by | leaves by | after a crash |
//! |---|---|---|---|
//! | waiting | `append`, `replay`, `approve`, `decide` | `settle` | it still waits; if it was in flight, it is sent again |
//! | held | `append`, when an operator must approve a mass change | `approve`, `discard` | it stays held |
//! | undecided | `settle`, after a long time without proof which party is at fault for the failures | `decide` | it
//! stays undecided |
//! | parked | `settle` or `append`, when an operator must look; `decide` | `replay`, `discard` | it stays parked |
//! | delivered | `settle`, once Imprint has every value of the entry that nothing newer replaced | retention | it is
//! final |
//! | superseded | `settle`, in the transaction that delivers the newer values | retention | it is final |
//! | ignored | `append` (nothing to send), `settle` (unknown customer) | retention | it is final |
//! | discarded | `discard`, `decide` | retention | it is final |
//!
//! A held entry blocks nothing: no claim includes the entry, and other entries of its lane are sent meanwhile. Once an
//! operator approves the entry, versions decide which of its values are still the newest.

#![warn(missing_docs)]

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

mod codec;
mod inbox;
mod lanes;
mod ledger;
mod lifecycle;
mod memory;
mod sqlite;
mod state;
mod waiters;

pub use inbox::{
    Appended, AppendedEntry, Digest, Disposition, Inbox, Lookup, NewEntry, Priority, Receipt,
};
pub use lanes::{
    Claim, ClaimToken, ClaimedLane, Ending, IdentityLink, LaneKey, Lanes, Moved, Pick, Settled,
    Settlement, Trials, WaitingEntry,
};
pub use ledger::{
    AuditEvent, AuditRecord, Depth, Detail, EntryFilter, EntryPage, EntrySelection, EntrySummary,
    FieldOrigin, Inspection, LOAD_BYTES_MAX, LOAD_MAX, Ledger, LoadedEntries, LoadedEntry,
    LoadedLane, OriginEvent, PRUNE_MAX, Replay, Resolution, SCAN_MAX,
};
pub use lifecycle::{Lifecycle, Setting, Settings};
pub use memory::MemoryOutbox;
pub use sqlite::{OpenError, SqliteOutbox, VerifyReport, restore, verify};
pub use state::{ParkReason, State};

/// The most entries of a lane that one claim reads, the newest first. The limit allows folding the changes of a busy
/// customer into few requests, and keeps a claim of many lanes small in memory.
pub const WAITING_WINDOW: usize = 1000;

/// The number of due lanes among which a probe looks for the one that has failed least.
pub const PROBE_WINDOW: usize = 256;

/// The most bytes of updates that one claim reads of a lane, not counting the last entry. This limit times the lanes in
/// flight bounds the memory of claims.
pub const CLAIM_BYTES_MAX: usize = 256 * 1024;

/// The most lanes in flight at once, whatever the configuration says. After a crash, the lanes that were in flight are
/// among the first lanes in due order, at most this many.
pub const IN_FLIGHT_MAX: usize = 4096;

/// The furthest ahead that a lane may be due: the longest backoff, and the longest wait that Imprint may ask for.
pub const DUE_AHEAD_MAX: Duration = Duration::from_hours(1);

/// A future that returns the result of a port's operation.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The failure of an operation, which has changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The queue of the store is full. The writer empties the queue within moments.
    #[error("the store's queue is full")]
    Busy,
    /// The disk is full.
    #[error("the store's disk is full")]
    Full,
    /// The operation failed; the log has the reason. If the engine cannot continue, [`Lifecycle::failed`] resolves.
    #[error("the store failed while it was {doing}")]
    Failed {
        /// What the engine was doing.
        doing: &'static str,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// The number of an entry. No number is used twice.
///
/// Every engine promises that numbers follow the order in which appends become visible: an entry that becomes visible
/// later has a higher number. Versions ([`Version::arrival`](crate::event::Version)), the cursors of
/// [`Ledger::list`] and the pass of [`Ledger::prune_receipts`] rely on it. An engine whose sequence does not commit in
/// order must number entries at the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u64);

/// All roles of one engine, for the composition root. Every other caller holds the port of its own role.
pub trait Outbox: Inbox + Lanes + Ledger + Lifecycle {}

impl<T: Inbox + Lanes + Ledger + Lifecycle> Outbox for T {}

/// Opens the store at `path`, or creates it. At most `intake_max` events wait for a commit.
///
/// # Errors
/// [`OpenError`] says how to fix the problem: another process holds the store, or the file is not a store.
pub fn open(path: &Path, intake_max: usize, now: Timestamp) -> Result<Arc<dyn Outbox>, OpenError> {
    Ok(Arc::new(SqliteOutbox::open(path, intake_max, now)?))
}
