//! The outbox: the durable queue between accepting events and delivering them. Defines one port (a trait) for each
//! group of callers, and the types of the ports.
//!
//! The bridge answers an event with 2xx only after [`Inbox::append`] has returned, and `append` returns only after the
//! entry is on disk. A stored entry is always in exactly one [`State`]. The storage engines contain no HTTP, no mapping
//! and no delivery rules.
//!
//! | state | enters by | leaves by | after a crash |
//! |---|---|---|---|
//! | waiting | `append`, `replay`, `approve` | `settle`, `withdraw` | still waiting; an entry in flight is sent again |
//! | held | `append`, when an operator must approve a mass change | `approve`, `withdraw` | still held |
//! | undecided | `settle`, when requests failed for a long time and nothing proves why | `approve`, `withdraw` | still undecided |
//! | parked | `settle` or `append`, when an operator must act; `withdraw` | `replay`, `withdraw` | still parked |
//! | delivered | `settle`, when Imprint has the values that no newer event replaces | retention | unchanged (final) |
//! | superseded | `settle`, in the transaction that records newer values as delivered | retention | unchanged (final) |
//! | ignored | `append` and `replay` (nothing to send), `settle` (unknown customer) | retention | unchanged (final) |
//! | discarded | `withdraw` | retention | unchanged (final) |
//!
//! A held entry blocks no other entry: no claim includes the held entry, and dispatch continues to send the other
//! entries of the lane. After an operator has approved the held entry, dispatch compares versions and sends only the
//! values that are still the newest.

#![warn(missing_docs)]

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::sealing::KeyRing;
use crate::time::Timestamp;

mod audit_chain;
mod bounds;
mod codec;
mod customer;
mod customer_erasure;
mod database_figures;
mod due_lanes;
mod entry_filter;
mod erasure_journal;
mod file_name;
mod finished_erasures;
mod inbox;
mod intake_queue;
mod keyed_digest;
mod lanes;
mod ledger;
mod lifecycle;
mod maybe_sent;
mod memory;
mod named_part;
mod pick;
mod postgres;
mod record_counts;
mod reserve;
mod retirement;
mod sealer;
mod sealing_status;
mod sharing;
mod sqlite;
mod state;
mod store_figures;
mod store_layout;
mod stored_value;
mod tombstone;
mod transfer;
mod unproven;
mod verify_report;
mod version_reset;
mod waiters;
mod waiting_entry;
mod withdrawal;

use due_lanes::{DueLane, DueQueues, LaneClass};

pub use audit_chain::{AuditHead, AuditHeadError, AuditKeys, AuditProof, AuditProtection};
pub use bounds::{
    CLAIM_BYTES_MAX, ClaimBounds, IN_FLIGHT_MAX, OLDEST_WINDOW, PROBE_WINDOW, WAITING_WINDOW,
};
pub use customer::{LaneWait, mentions, named};
pub use customer_erasure::{
    CustomerErasure, ERASE_MAX, ErasedPart, ErasureProgress, ErasureStep, LaterEvents, NamedEntries,
};
pub use database_figures::DatabaseFigures;
pub use entry_filter::{EntryFilter, EntryOrder};
pub use erasure_journal::JournalError;
pub use file_name::{NAME_BYTES_MAX, is_reserved_name};
pub use inbox::{
    Appended, AppendedEntry, CLEARING_OMITTED, ConflictingEvent, Digest, Disposition, IgnoredEvent,
    Inbox, InvalidReason, Lookup, NewEntry, Priority, Receipt,
};
pub use lanes::{
    Claim, ClaimToken, ClaimedLane, Ending, IdentityLink, LaneKey, Lanes, Moved, Recognition,
    Settled, Settlement, Trials,
};
pub use ledger::{
    AuditEvent, AuditRecord, Depth, Detail, EntryPage, EntrySelection, EntrySummary, FieldOrigin,
    Inspection, LOAD_BYTES_MAX, LOAD_MAX, Ledger, LoadedEntries, LoadedEntry, LoadedLane,
    OriginEvent, PRUNE_MAX, Replay, ReplayChange, SCAN_MAX,
};
pub use lifecycle::{
    CopyRefusal, Lifecycle, REPLACE_TRIES_MAX, STALLED_AFTER, Setting, Settings, StoreCondition,
};
pub use maybe_sent::MaybeSent;
pub use memory::MemoryOutbox;
pub use pick::{FailingShare, LaneShares, Pick, Standing, UntriedOrder};
pub use postgres::{
    DatabaseAddress, DatabaseDuty, DatabaseProof, DatabaseSignals, Durability, OldestSnapshot,
    PostgresOpenError, PostgresOutbox, ProvenDuty, ReadPassword, SlowestSlot, prove_database,
    verify_database,
};
pub use record_counts::{KeyLine, KeyReport, RecordCounts, RecordCursor, RecordReport};
pub use reserve::{DiskState, Reserve};
pub use retirement::{RETIRE_MAX, Retirement};
pub use sealing_status::{KeyUse, SealingStatus};
pub use sharing::{
    AgreedView, Forgotten, ReplicaReport, SharedDestination, SharedSettings, SharedView,
    StateProposal, TokenGrant, TokenOrder,
};
pub use sqlite::{
    KeptEvent, OpenCause, OpenError, RebindConsent, RebindReport, Restored, SqliteOutbox,
    count_keys, newest_events, rebind, restore, verify,
};
pub use state::{IgnoreReason, ParkReason, State};
pub use store_figures::StoreFigures;
pub use transfer::{
    RowKind, RowSum, TransferError, TransferPlace, TransferReport, TransferStep, transfer,
};
pub use unproven::{Absence, KeyMark, Unproven};
pub use verify_report::VerifyReport;
use verify_report::{Finding, FoundEntries, PlainSettings};
pub use version_reset::VersionReset;
pub use waiting_entry::WaitingEntry;
pub use withdrawal::{Withdrawal, Withdrawn, WithdrawnState};

/// The longest time from now to a lane's due time. No backoff is longer, and the bridge obeys no longer wait that
/// Imprint asks for.
pub const DUE_AHEAD_MAX: Duration = Duration::from_hours(1);

/// A future that returns the result of an outbox operation.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The error of an outbox operation. A failed operation has changed nothing.
///
/// [`Error::Unavailable`] is the exception: the store can still do the operation later, or in a deleted file that no
/// other process can find.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The command queue of the store is full. The store writer empties the queue within moments.
    #[error("the store's queue is full")]
    Busy,
    /// The disk of the store is full.
    #[error("the store's disk is full")]
    Full,
    /// The operation failed; the log has the reason. If the storage engine cannot continue, [`Lifecycle::failed`]
    /// resolves.
    #[error("the store failed while it was {doing}")]
    Failed {
        /// The operation that the storage engine was doing.
        doing: &'static str,
    },
    /// The store cannot work now. When the cause ends, the store works again without a restart.
    #[error("{0}")]
    Unavailable(StoreCondition),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// The highest number that a store can give to an entry or to an audit record: SQLite stores signed 64-bit integers.
pub const ENTRY_MAX: u64 = u64::MAX / 2;

/// The number of an entry. The store never gives the same number to two entries.
///
/// Every storage engine guarantees that entry numbers follow the order in which appends become visible: an entry that
/// becomes visible later has a higher number. Versions ([`Version::arrival`](crate::event::Version)), the cursors of
/// [`Ledger::list`] and the progress of [`Ledger::prune_receipts`] rely on this order. If an engine runs several
/// transactions at once, the engine must number the entries at the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a lane in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u64);

/// All ports of one storage engine, for the code that starts the process. Every other caller holds only the port of its
/// own role.
pub trait Outbox: Inbox + Lanes + Ledger + Lifecycle + SharedDestination {}

impl<T: Inbox + Lanes + Ledger + Lifecycle + SharedDestination> Outbox for T {}

// These stores belong to one process.
impl SharedDestination for SqliteOutbox {}
impl SharedDestination for MemoryOutbox {}

/// Opens the store in a PostgreSQL database, or creates the store if the database has none. At most `intake_max` events wait
/// for a commit. The newest of the sealing keys seals new records.
///
/// # Errors
/// [`PostgresOpenError`] says how to fix the problem.
pub fn open_database(
    address: DatabaseAddress,
    intake_max: usize,
    keys: Arc<KeyRing>,
) -> Result<Arc<dyn Outbox>, PostgresOpenError> {
    let sealed = (ClaimBounds::default(), keys);
    Ok(Arc::new(PostgresOutbox::connect(
        address, intake_max, sealed,
    )?))
}

/// Opens the store at `path`, or creates the store if none exists. At most `intake_max` events wait for a commit. The
/// newest of the sealing keys seals new records.
///
/// # Errors
/// [`OpenError`] says how to fix the problem: another process holds the store, or the file is not a store.
pub fn open(
    path: &Path,
    intake_max: usize,
    now: Timestamp,
    keys: Arc<KeyRing>,
) -> Result<Arc<dyn Outbox>, OpenError> {
    let sealed = (ClaimBounds::default(), keys);
    Ok(Arc::new(SqliteOutbox::open_sealed(
        path, intake_max, now, sealed,
    )?))
}
