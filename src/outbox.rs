//! The durable line between accepting and delivering: the port, and the words both sides share.
//!
//! An event is answered 2xx only after [`Outbox::append`] has returned, and `append` returns only after what it kept is
//! on disk. From then on an entry is in exactly one [`State`]. Engines know no HTTP, no mapping and no policy.
//!
//! | state | who enters | who leaves | a crash there means |
//! |---|---|---|---|
//! | waiting | `append`, `replay` | `settle` | it waits again after the restart; if it was in flight, it is sent again |
//! | delivered | `settle`, once Imprint has every fact of it that nothing overtook | retention | nothing: it is final |
//! | superseded | `settle`, in the transaction that delivers the newer facts | retention | nothing: it is final |
//! | ignored | `append` (by mapping), `settle` (no such customer) | retention | nothing: it is final |
//! | parked | `settle` or `append`, when a person must look | `replay`, `discard` | it stays parked |
//! | discarded | `discard` | retention | nothing: it is final |

#![warn(missing_docs)]

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::time::Duration;

use crate::event::{Attribute, Identity, SourceName};
use crate::imprint::CustomerChange;
use crate::time::Timestamp;

mod lane;
mod memory;
mod operator;
mod sqlite;
mod state;
mod waiters;

pub use lane::{
    ClaimedLane, Ending, IdentityLink, LaneKey, Moved, Settlement, Trials, WaitingEntry,
};
pub use memory::MemoryOutbox;
pub use operator::{
    AuditEvent, AuditRecord, EntryFilter, EntryPage, EntrySummary, Inspection, Replay, SCAN_MAX,
};
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

/// The number of an entry: the store's own sequence, in the order of arrival, never used twice.
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

/// What `append` did with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedEntry {
    /// The entry that stands for the event: the new one, or the one that was there.
    pub entry: EntryId,
    /// Where it stands.
    pub state: State,
    /// Whether it was there before.
    pub duplicate: bool,
}

/// What `append` did with a batch: all of it, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Every entry is on disk, in the order given.
    Stored(Vec<AppendedEntry>),
    /// These (by place in the batch) repeat an identity with other content; nothing of the batch was kept.
    Conflict(Vec<usize>),
}

/// Which of the lanes that are due are claimed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The longest due.
    LongestDue,
    /// One of those that have failed least, among the [`PROBE_WINDOW`] longest due; which one, this number decides. To find
    /// out whether a destination is back, a lane is asked that does not always fail, and not the same one each time.
    LeastFailed(u32),
}

impl Pick {
    /// Puts the lanes that are due in the order in which they are claimed.
    fn sort<T>(self, due: &mut [T], failures: impl Fn(&T) -> u32) {
        let Self::LeastFailed(chance) = self else {
            return;
        };
        due.sort_by_key(&failures);
        let fewest = due.first().map(&failures);
        let equals = due.partition_point(|lane| Some(failures(lane)) == fewest);
        let chosen = usize::try_from(chance)
            .unwrap_or_default()
            .checked_rem(equals)
            .unwrap_or_default();
        if let Some(equals) = due.get_mut(..=chosen) {
            equals.rotate_right(1);
        }
    }
}

/// What `claim` found.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The lanes claimed, the longest due first.
    pub lanes: Vec<ClaimedLane>,
    /// When the next lane that is not claimed falls due.
    pub next_due: Option<Timestamp>,
}

/// What may be told about an entry without telling what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which entry.
    pub entry: EntryId,
    /// What identifies its event.
    pub identity: Identity,
    /// The type of its event.
    pub event_type: Attribute,
    /// Where it stands.
    pub state: State,
    /// How many requests have carried it.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it ended, if it did.
    pub settled_at: Option<Timestamp>,
    /// The id of the event whose facts won, where it was superseded.
    pub superseded_by: Option<Attribute>,
    /// Why it is parked, where it is.
    pub parked: Option<(ParkReason, Option<String>)>,
}

/// Which event a receipt is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The source it came through.
    pub source: SourceName,
    /// The CloudEvents `source`; `None` finds the newest with this id, whatever it is.
    pub ce_source: Option<Attribute>,
    /// The sender's id.
    pub id: Attribute,
}

/// How much is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries that wait.
    pub waiting: u64,
    /// Entries that are parked.
    pub parked: u64,
    /// When the oldest waiting entry was accepted.
    pub oldest: Option<Timestamp>,
}

/// Something small that is to outlive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// What the operator wants of the destination.
    DestinationMode,
    /// Until when the destination asked us to wait.
    ThrottledUntil,
}

impl Setting {
    /// Every note.
    pub const ALL: [Self; 2] = [Self::DestinationMode, Self::ThrottledUntil];

    /// The name it is kept under.
    const fn name(self) -> &'static str {
        match self {
            Self::DestinationMode => "destination_mode",
            Self::ThrottledUntil => "destination_wait",
        }
    }
}

/// The durable outbox.
///
/// Every operation is atomic and bounded. Dropping a future that an operation returned does not undo the operation.
pub trait Outbox: Send + Sync + fmt::Debug {
    /// Keeps a batch durably: all of it or nothing. Repetitions are recognised, within the batch too.
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended>;
    /// Claims up to `max` lanes that are due at `now`.
    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim>;
    /// Records what came of a claimed lane and frees it.
    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, ()>;
    /// Makes every lane due in which something waits: what made them rest is over.
    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()>;
    /// Keeps a note, in place of the one that was there.
    fn store_setting(&self, note: Setting, text: String) -> StoreFuture<'_, ()>;
    /// The note that was there when the store was opened.
    fn setting(&self, note: Setting) -> Option<String>;
    /// The receipt of an event, if there is one.
    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>>;
    /// The entries that are looked for; bounded, and says where to look on.
    fn list(&self, listing: EntryFilter) -> StoreFuture<'_, EntryPage>;
    /// Everything that is kept of an entry.
    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>>;
    /// Lets parked entries wait again, behind what is live, and records who did it. Says which moved: those that are not
    /// parked any more stay as they are.
    fn replay(&self, replays: Vec<Replay>, act: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Ends parked entries for good, and records who did it. Says which.
    fn discard(&self, entries: Vec<EntryId>, act: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Records what somebody did beside that.
    fn append_audit(&self, act: AuditEvent) -> StoreFuture<'_, ()>;
    /// At most `max` lines of the record after the one numbered `after`.
    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>>;
    /// Forgets the receipts of entries from this number on that ended before this span, which ends now, but never the
    /// newest one's, whose number the next one follows. Looks at [`SCAN_MAX`] of them, and says where to go on; `None` when
    /// that was the last, or when all of them were accepted in the span: so were all that follow, unless the clock was set
    /// back meanwhile, and then those go so much later.
    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>>;
    /// How much is in the store; kept by counting, never by scanning.
    fn depth(&self) -> StoreFuture<'_, Depth>;
    /// The key under which contents are digested; made once, kept by the store.
    fn digest_key(&self) -> [u8; 32];
    /// Resolves once the entry is settled; at once if it is already.
    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State>;
    /// Resolves when a lane may have become due since the future was made.
    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
