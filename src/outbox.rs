//! The outbox: the durable queue between accepting events and delivering them. Ports by role, and their vocabulary.
//!
//! An event is answered 2xx only after [`Inbox::append`] has returned, and `append` returns only after the entry is on
//! disk. From then on the entry is in exactly one [`State`]. Engines know no HTTP, no mapping and no policy.
//!
//! | state | enters by | leaves by | after a crash |
//! |---|---|---|---|
//! | waiting | `append`, `replay`, `approve`, `decide` | `settle` | it still waits; if it was in flight, it is sent again |
//! | held | `append`, when an operator must approve a mass change | `approve`, `discard` | it stays held |
//! | undecided | `settle`, after a long time without proof whose fault a failure is | `decide` | it stays undecided |
//! | parked | `settle` or `append`, when an operator must look; `decide` | `replay`, `discard` | it stays parked |
//! | delivered | `settle`, once Imprint has every value of it that nothing newer replaced | retention | it is final |
//! | superseded | `settle`, in the transaction that delivers the newer values | retention | it is final |
//! | ignored | `append` (nothing to send), `settle` (no such customer) | retention | it is final |
//! | discarded | `discard`, `decide` | retention | it is final |
//!
//! A held entry blocks nothing: it is not claimed, and other entries of its lane are sent meanwhile. Once it is approved,
//! versions decide which of its values are still the newest.

#![warn(missing_docs)]

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Attribute, Identity};
use crate::imprint::CustomerChange;
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

pub use inbox::{Appended, AppendedEntry, Inbox, Lookup, Receipt};
pub use lanes::{
    Claim, ClaimToken, ClaimedLane, Ending, IdentityLink, LaneKey, Lanes, Moved, Pick, Settled,
    Settlement, Trials, WaitingEntry,
};
pub use ledger::{
    AuditEvent, AuditRecord, Depth, Detail, EntryFilter, EntryPage, EntrySummary, FieldOrigin,
    Inspection, LOAD_BYTES_MAX, LOAD_MAX, Ledger, LoadedEntries, LoadedEntry, LoadedLane,
    OriginEvent, PRUNE_MAX, Replay, SCAN_MAX, Selection, Verdict,
};
pub use lifecycle::{Lifecycle, Setting, Settings};
pub use memory::MemoryOutbox;
pub use sqlite::{OpenError, SqliteOutbox, VerifyReport, restore, verify};
pub use state::{ParkReason, State};

/// How many entries of a lane are claimed at once, the newest arrivals first: enough to fold a hot customer into few
/// requests, little enough that a claim of many lanes stays small in memory.
pub const WAITING_WINDOW: usize = 1000;

/// Among how many lanes the least failed is looked for.
pub const PROBE_WINDOW: usize = 256;

/// How much of what waits in one lane is claimed at once, in bytes: with the lanes in flight, what claims hold in memory.
pub const CLAIM_BYTES_MAX: usize = 256 * 1024;

/// The most lanes in flight at once, whatever is configured: among so many lanes are those that a process which did not
/// end in order may have had in flight.
pub const IN_FLIGHT_MAX: usize = 4096;

/// How far ahead a lane is ever due: the longest backoff, and the longest wait Imprint may ask for.
pub const DUE_AHEAD_MAX: Duration = Duration::from_hours(1);

/// What an operation of the port returns.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// An operation of the store failed; nothing it was asked to do has happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store's queue is full; a little later there is room again.
    #[error("the store's queue is full")]
    Busy,
    /// The disk has no room.
    #[error("the store's disk is full")]
    Full,
    /// The engine failed and takes no more work; the log has the reason.
    #[error("the store failed while it was {doing}")]
    Failed {
        /// What it was doing.
        doing: &'static str,
    },
    /// The engine has been closed.
    #[error("the store is closed")]
    Closed,
}

/// The number of an entry. Never used twice.
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

/// A keyed digest of an event's canonical content; tells a repetition from a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 16]);

/// What `append` does with a new entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// The entry waits in the lane of its customer.
    Enqueue(CustomerChange),
    /// The entry is parked: an operator must look at it before anything of it is sent.
    Park(CustomerChange, ParkReason),
    /// The entry is held: it belongs to a mass change of its source, which an operator must approve first.
    Hold(CustomerChange),
    /// There is nothing to send. Only the receipt is stored.
    Ignore,
}

/// Who goes first where not everybody can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// What happens now.
    #[default]
    Live,
    /// What is sent again, or late: behind everything live.
    Low,
}

/// One accepted event, as it is handed to the store.
#[derive(Clone, PartialEq)]
pub struct NewEntry {
    /// What identifies it.
    pub identity: Identity,
    /// Its type.
    pub event_type: Attribute,
    /// The digest of its content.
    pub digest: Digest,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What `append` does with it.
    pub disposition: Disposition,
    /// Who goes before it.
    pub priority: Priority,
    /// The event in its structured form, so that it can be mapped again.
    pub event: Vec<u8>,
}

/// Never the event: it is personal data.
impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// All roles of one engine, for the composition root. Everything else holds the port of its own role.
pub trait Outbox: Inbox + Lanes + Ledger + Lifecycle {}

impl<T: Inbox + Lanes + Ledger + Lifecycle> Outbox for T {}

/// Opens the store at `path`, or creates it. At most `intake_max` events wait for a commit.
///
/// # Errors
/// [`OpenError`] says what to do: another process holds the store, or the file is not a store.
pub fn open(path: &Path, intake_max: usize, now: Timestamp) -> Result<Arc<dyn Outbox>, OpenError> {
    Ok(Arc::new(SqliteOutbox::open(path, intake_max, now)?))
}
