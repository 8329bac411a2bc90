//! The role of the accepting side: append events, find their receipts, and wait for a result.

use std::fmt;

use super::{EntryId, ParkReason, State, StoreFuture};
use crate::event::{Attribute, Identity, SourceName};
use crate::imprint::CustomerChange;
use crate::time::Timestamp;

/// The role of the accepting side. Ingress holds this port and no other.
///
/// Every operation is atomic and bounded. Dropping the future of an operation does not undo the operation.
pub trait Inbox: Send + Sync + fmt::Debug {
    /// Stores a batch durably: the whole batch or nothing. Recognises duplicates, also inside the batch.
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended>;
    /// Finds the receipt of an event, if there is one.
    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>>;
    /// Resolves once the entry is settled; resolves at once if the entry is settled already.
    ///
    /// An engine that several processes share may learn of a settlement only by polling.
    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State>;
    /// Returns the key of the content digests. The store generates the key once and keeps the key.
    fn digest_key(&self) -> [u8; 32];
}

/// The keyed digest of an event's canonical content. The digest distinguishes a duplicate from a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 16]);

/// What `append` does with a new entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// The entry waits in the lane of its customer.
    Enqueue(CustomerChange),
    /// The entry is parked: an operator must act before any value of the entry is sent.
    Park(CustomerChange, ParkReason),
    /// The entry is held: it belongs to a mass change of its source, which an operator must approve first.
    Hold(CustomerChange),
    /// There is nothing to send. Only the receipt is stored.
    Ignore,
}

/// The order in which lanes are claimed while more lanes are due than can be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The event is sent to the bridge as it happens.
    #[default]
    Live,
    /// The event is replayed or late. Its lane is claimed after every lane with a live entry.
    Low,
}

/// One accepted event.
#[derive(Clone, PartialEq)]
pub struct NewEntry {
    /// The identity of the event.
    pub identity: Identity,
    /// The type of the event.
    pub event_type: Attribute,
    /// The keyed digest of the event's content.
    pub digest: Digest,
    /// The time when the bridge accepted the event.
    pub accepted_at: Timestamp,
    /// The action of `append` for this entry.
    pub disposition: Disposition,
    /// The priority of the entry.
    pub priority: Priority,
    /// The event in its structured form. A replay can map the event again.
    pub event: Vec<u8>,
}

/// Prints no content of the event: it is personal data.
impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The entry of one appended event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedEntry {
    /// The new entry, or the one that was stored before under the same identity.
    pub entry: EntryId,
    /// The state of the entry.
    pub state: State,
    /// Whether the entry was stored before this append.
    pub duplicate: bool,
}

/// The result of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Every entry is on disk. The list has the order of the batch.
    Stored(Vec<AppendedEntry>),
    /// The events at these positions of the batch reuse the identity of an event with other content. Nothing was
    /// stored.
    Conflict(Vec<usize>),
}

/// The public facts about an entry, without any value of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the entry.
    pub entry: EntryId,
    /// The identity of the event.
    pub identity: Identity,
    /// The type of the event.
    pub event_type: Attribute,
    /// The state of the entry.
    pub state: State,
    /// The number of requests that have carried the entry.
    pub attempts: u32,
    /// The time when the event was accepted.
    pub accepted_at: Timestamp,
    /// The time when the entry ended or was parked.
    pub settled_at: Option<Timestamp>,
    /// The id of the event whose newer values won, if the entry was superseded.
    pub superseded_by: Option<Attribute>,
    /// The reason why the entry is parked, and Imprint's answer about the entry.
    pub parked: Option<(ParkReason, Option<String>)>,
}

/// The event of a wanted receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The source that sent the event.
    pub source: SourceName,
    /// The CloudEvents `source`. `None` finds the newest event with this id, whatever its CloudEvents `source` is.
    pub ce_source: Option<Attribute>,
    /// The id that the source gave the event.
    pub id: Attribute,
}
