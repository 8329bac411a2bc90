//! The outbox port for the code that accepts events: appends events, finds receipts, and waits for the result of an
//! entry.

use std::collections::BTreeMap;
use std::fmt;

use super::tombstone::TombstoneKey;
use super::{EntryId, IgnoreReason, ParkReason, State, StoreFuture};
use crate::event::{Attribute, EventError, Identity, SourceName};
use crate::imprint::CustomerChange;
use crate::time::Timestamp;

/// The outbox port for the code that accepts events. Ingress holds this port and no other port of the outbox.
///
/// Every operation of this port is atomic and does a bounded amount of work. Dropping the future of an operation does
/// not undo the operation.
pub trait Inbox: Send + Sync + fmt::Debug {
    /// Stores a batch durably: either the whole batch or nothing. An event is a duplicate if its identity and digest
    /// equal those of a stored event or of an earlier event in the batch.
    fn append(&self, batch: Vec<NewEntry>) -> StoreFuture<'_, Appended>;
    /// Finds the receipt of an event. Returns `None` if the store has no receipt of the event.
    fn find(&self, lookup: Lookup) -> StoreFuture<'_, Option<Receipt>>;
    /// Resolves when the entry is settled. If the entry is settled before the call, the future resolves at once.
    ///
    /// If several processes share a store, the storage engine possibly notices a settlement of another process only by
    /// polling.
    fn wait_settled(&self, entry: EntryId) -> StoreFuture<'_, State>;
    /// Returns the secret key of the content digests. The store generates the key once and never changes the key.
    fn digest_key(&self) -> [u8; 32];
    /// Returns the size of the stored events of a source, in bytes. Events in a final state do not count. Reads memory
    /// only.
    fn stored_bytes(&self, source: &SourceName) -> u64;
}

/// The keyed digest of an event's canonical content. The digest distinguishes a duplicate from a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 16]);

/// The action that `append` takes for a new entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// The entry waits in the lane of its customer.
    Enqueue(CustomerChange),
    /// The entry is parked: an operator must act before dispatch sends any value of the entry.
    Park(CustomerChange, ParkReason),
    /// The entry is held, because it belongs to a mass change of its source. An operator must first approve the mass
    /// change.
    Hold(CustomerChange),
    /// The event changes no field of Imprint: the store keeps only the receipt.
    Ignore(IgnoredEvent),
    /// The entry is parked without a customer change, because the event is invalid. The entry belongs to no lane, until
    /// a replay with a corrected schema or mapping gives the entry a customer change.
    Invalid(InvalidReason),
}

impl Disposition {
    /// Returns the reason why the event is ignored, or `None` if the event is not ignored.
    pub const fn ignored(&self) -> Option<IgnoreReason> {
        match self {
            Self::Ignore(ignored) => Some(ignored.reason),
            Self::Enqueue(_) | Self::Park(..) | Self::Hold(_) | Self::Invalid(_) => None,
        }
    }

    /// Returns the reason for parking a valid event at its arrival, or `None` if the event is invalid or not parked.
    pub const fn parked(&self) -> Option<ParkReason> {
        match self {
            Self::Park(_, reason) => Some(*reason),
            Self::Enqueue(_) | Self::Hold(_) | Self::Ignore(_) | Self::Invalid(_) => None,
        }
    }

    /// Returns the reason why the event is invalid, or `None` if the event is valid.
    pub const fn invalid(&self) -> Option<&InvalidReason> {
        match self {
            Self::Invalid(invalid) => Some(invalid),
            Self::Enqueue(_) | Self::Park(..) | Self::Hold(_) | Self::Ignore(_) => None,
        }
    }

    /// Returns the change of the customer, or `None` if the bridge has nothing to send.
    pub const fn change(&self) -> Option<&CustomerChange> {
        match self {
            Self::Enqueue(change) | Self::Park(change, _) | Self::Hold(change) => Some(change),
            Self::Ignore(_) | Self::Invalid(_) => None,
        }
    }

    /// Returns the errors of the fields that the update leaves out because their values are invalid.
    pub fn skipped(&self) -> &[EventError] {
        match self {
            Self::Enqueue(change) | Self::Park(change, _) | Self::Hold(change) => &change.skipped,
            Self::Ignore(ignored) => &ignored.skipped,
            Self::Invalid(_) => &[],
        }
    }
}

/// An event for which the bridge has nothing to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredEvent {
    /// The reason why the bridge ignores the event.
    pub reason: IgnoreReason,
    /// The errors of the fields that the update leaves out because their values are invalid.
    pub skipped: Vec<EventError>,
}

impl From<IgnoreReason> for IgnoredEvent {
    fn from(reason: IgnoreReason) -> Self {
        Self {
            reason,
            skipped: Vec::new(),
        }
    }
}

/// The reason why the bridge cannot turn an event into a customer change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidReason {
    /// The epoch that the source's version counter had when the event arrived. A replay uses this epoch.
    pub epoch: u32,
    /// The errors of the event, without values. The caller limits their number and size.
    pub errors: Vec<EventError>,
}

/// The priority of an entry. If more lanes are due than dispatch can send, the priority decides which lanes the store
/// claims first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The source sent the event to the bridge when the change happened.
    #[default]
    Live,
    /// The event is late, or an operator replayed the event. The store claims a lane without any live entry only after
    /// all due lanes with a live entry.
    Low,
}

/// One accepted event, as ingress passes the event to the store.
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
    /// The action that `append` takes for the entry of this event.
    pub disposition: Disposition,
    /// The priority of the entry.
    pub priority: Priority,
    /// The event in its structured form, so that a replay can map the event again.
    pub event: Vec<u8>,
}

impl NewEntry {
    /// Returns the number of bytes that the entry takes of the storage quota of its source, while it is unfinished: the
    /// bytes of the event, and of the errors of an invalid event. Small invalid events have errors that are larger than
    /// the events.
    pub fn stored_bytes(&self) -> usize {
        let errors = self.disposition.invalid();
        let errors = errors.map_or(&[][..], |invalid| invalid.errors.as_slice());
        let errors = errors.iter().map(|error| {
            let texts = [&error.pointer, &error.rule, &error.location, &error.detail];
            texts.into_iter().map(String::len).sum::<usize>()
        });
        errors.sum::<usize>().saturating_add(self.event.len())
    }
}

/// Prints no content of the event, because the content is personal data.
impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The entry that `append` stored or found for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedEntry {
    /// The number of the new entry, or of the entry that was stored before under the same identity.
    pub entry: EntryId,
    /// The state of the entry at the time of the append.
    pub state: State,
    /// True if the entry was stored before this append.
    pub duplicate: bool,
}

/// The result of appending a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Every entry of the batch is on disk. The list has one item per event of the batch, in the order of the batch.
    Stored(Vec<AppendedEntry>),
    /// Each of these events of the batch has the identity of an earlier event, but different content. The store has stored
    /// no event of the batch.
    Conflict(Vec<ConflictingEvent>),
}

/// An event of a batch that has the identity of an earlier event, but different content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConflictingEvent {
    /// The position of the event in the batch.
    pub place: usize,
    /// The stored entry of the earlier event. `None` means that the earlier event is in the same batch.
    pub earlier: Option<EntryId>,
}

/// The receipt of an accepted event: the state and history of the entry, without any value of the event.
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
    /// The number of requests that have contained values of the entry.
    pub attempts: u32,
    /// The time when the bridge accepted the event.
    pub accepted_at: Timestamp,
    /// The time when the entry reached a final state, or when the bridge parked the entry.
    pub settled_at: Option<Timestamp>,
    /// The id of the event whose newer values replaced the values of the entry, if the entry was superseded.
    pub superseded_by: Option<Attribute>,
    /// The reason why the entry is parked, and Imprint's answer about the entry. `None` means that the entry is not
    /// parked.
    pub parked: Option<(ParkReason, Option<String>)>,
    /// The errors of the event, if the entry is parked as [`ParkReason::Invalid`]. Otherwise the list is empty.
    pub errors: Vec<EventError>,
    /// The fields of the event that no request sends: the errors of invalid values, and after the delivery also the
    /// cleared fields that the settings omit, with the rule [`CLEARING_OMITTED`].
    pub unsent: Vec<EventError>,
    /// The reason why the entry is ignored. `None` means that the entry is not ignored, or that an older program stored
    /// the entry.
    pub ignored: Option<IgnoreReason>,
    /// The time when an operator erased the customer of the event. The event id in `identity` is then a keyed digest,
    /// unless [`Inbox::find`] returns the receipt.
    pub erased_at: Option<Timestamp>,
}

/// The rule of a cleared field that no request sends, because the settings for cleared fields omit it. The location is
/// the field, and the detail is the setting.
pub const CLEARING_OMITTED: &str = "clearing_omitted";

impl Receipt {
    /// Returns the receipt without what only an event of a customer that is not erased has, if its event id is that of a
    /// tombstone. The erasure was the last change of the entry.
    ///
    /// A source can send the id of a tombstone as the id of an event. But a tombstone is in a final state and belongs to no
    /// lane, and its `CloudEvents` source has the same form, or it has none.
    pub(super) fn without_erased(self, has_lane: bool) -> Self {
        let Identity { ce_source, id, .. } = &self.identity;
        let parts = std::iter::once(id).chain(ce_source);
        let has_form = parts.map(Attribute::as_str).all(TombstoneKey::is_event);
        if has_lane || !self.state.is_final() || !has_form {
            return self;
        }
        Self {
            identity: Identity {
                ce_source: None,
                ..self.identity
            },
            superseded_by: None,
            erased_at: self.settled_at,
            ..self
        }
    }

    /// Returns the receipt of an erased event with the ids under which the caller knows the event.
    pub(super) fn known_as(self, lookup: &Lookup) -> Self {
        let identity = Identity {
            source: lookup.source.clone(),
            ce_source: lookup.ce_source.clone(),
            id: lookup.id.clone(),
        };
        Self { identity, ..self }
    }

    /// Returns the errors of the fields that the update leaves out because their values are invalid.
    pub fn skipped(&self) -> Vec<&EventError> {
        let unsent = self.unsent.iter();
        unsent
            .filter(|error| error.rule != CLEARING_OMITTED)
            .collect()
    }

    /// Returns the cleared fields of a delivered entry that no request sends, each with the reason. Imprint keeps its
    /// values.
    pub fn omitted(&self) -> BTreeMap<&str, &str> {
        let unsent = self.unsent.iter();
        unsent
            .filter(|error| error.rule == CLEARING_OMITTED)
            .map(|error| (error.location.as_str(), error.detail.as_str()))
            .collect()
    }
}

/// The key for finding the receipt of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The source that sent the event.
    pub source: SourceName,
    /// The CloudEvents `source` of the event. With `None`, the store finds the newest event that has this id and any
    /// CloudEvents `source`.
    pub ce_source: Option<Attribute>,
    /// The id that the source gave the event.
    pub id: Attribute,
}
