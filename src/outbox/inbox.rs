//! The role of the accepting side: append events, find their receipts, and wait for a result.

use std::fmt;

use super::{EntryId, NewEntry, ParkReason, State, StoreFuture};
use crate::event::{Attribute, Identity, SourceName};
use crate::time::Timestamp;

/// The role of the accepting side. Ingress holds this port and no other.
///
/// Every operation is atomic and bounded. Dropping the future of an operation does not undo the operation.
pub trait Inbox: Send + Sync + fmt::Debug {
    /// Stores a batch durably: all of it or nothing. Recognises duplicates, also inside the batch.
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended>;
    /// The receipt of an event, if there is one.
    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>>;
    /// Resolves once the entry is settled; at once if it is settled already.
    ///
    /// An engine that several processes share may learn of a settlement only by polling.
    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State>;
    /// The key of the content digests. The store makes it once and keeps it.
    fn digest_key(&self) -> [u8; 32];
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
