//! The role of operators and retention: list, inspect, replay and discard entries, read and append the audit log, prune.

use std::fmt;
use std::ops::RangeInclusive;

use super::{EntryId, LaneKey, ParkReason, Receipt, Settings, State, StoreFuture, WaitingEntry};
use crate::event::{Attribute, Identity, SourceName, Version};
use crate::fold::LaneVersions;
use crate::imprint::{CustomerChange, Field, Update};
use crate::time::Timestamp;

/// The role of operators and retention. The operator API and the retention task hold this port.
///
/// Every operation is atomic and bounded. Dropping the future of an operation does not undo the operation.
pub trait Ledger: Settings {
    /// The entries that a filter selects; bounded. The page says where the next one starts.
    fn list(&self, filter: EntryFilter) -> StoreFuture<'_, EntryPage>;
    /// Loads a selection of entries in one operation, as far as `detail` says. At most [`LOAD_MAX`] entries and about
    /// [`LOAD_BYTES_MAX`] of their content; [`LoadedEntries::has_more`] says if something was left out.
    fn load(&self, selection: EntrySelection, detail: Detail) -> StoreFuture<'_, LoadedEntries>;
    /// Which event brought each value that Imprint has of a customer, field by field.
    fn origins(&self, customer: LaneKey) -> StoreFuture<'_, Vec<FieldOrigin>>;
    /// Everything that is stored of an entry.
    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>>;
    /// Lets parked entries wait again, behind live ones, and appends to the audit log. Returns the entries that moved:
    /// an entry that is not parked any more stays as it is.
    fn replay(&self, replays: Vec<Replay>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Lets held entries wait, behind live ones, and appends to the audit log. Returns the entries that moved.
    fn approve(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Decides undecided entries and appends to the audit log. Returns the entries that left the undecided ones.
    fn decide(
        &self,
        entries: Vec<EntryId>,
        resolution: Resolution,
        event: AuditEvent,
    ) -> StoreFuture<'_, Vec<EntryId>>;
    /// Ends parked and held entries for good and appends to the audit log. Returns the entries that ended.
    fn discard(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Appends an operator's action that changes no entry to the audit log.
    fn append_audit(&self, event: AuditEvent) -> StoreFuture<'_, ()>;
    /// At most `max` records of the audit log after the one numbered `after`.
    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>>;
    /// Deletes receipts of entries numbered `from` or higher that ended before `kept.start()`. `kept.end()` is now.
    ///
    /// Never deletes the receipt with the highest number, because the next entry's number follows it. Scans at most
    /// [`PRUNE_MAX`] receipts and returns where to continue. Returns `None` after the last one, or when every receipt it
    /// scanned was accepted within `kept`. Receipts are numbered in the order of arrival, so later ones were accepted within
    /// `kept` too, unless the clock was set back; those are deleted by a later pass.
    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>>;
    /// How much is in the store. The engine counts and never scans.
    fn depth(&self) -> StoreFuture<'_, Depth>;
}

/// How many receipts one [`Ledger::prune_receipts`] scans. Each of them may need its lane read too.
pub const PRUNE_MAX: usize = 1_000;

/// The most entries that one [`Ledger::list`] reads, whether the filter selects them or not.
pub const SCAN_MAX: usize = 5_000;

/// Selects entries. A field that is `None` selects every entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFilter {
    /// Their state.
    pub state: State,
    /// The source that sent them.
    pub source: Option<SourceName>,
    /// Their event type.
    pub event_type: Option<Attribute>,
    /// The reason why they are parked.
    pub reason: Option<ParkReason>,
    /// The id of their customer, as their lane has it.
    pub customer: Option<String>,
    /// Accepted before this time.
    pub before: Option<Timestamp>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Numbered higher than this.
    pub after: EntryId,
    /// The most entries of a page.
    pub max: usize,
}

impl EntryFilter {
    /// Every entry in a state.
    pub const fn in_state(state: State, max: usize) -> Self {
        Self {
            state,
            source: None,
            event_type: None,
            reason: None,
            customer: None,
            before: None,
            since: None,
            after: EntryId(0),
            max,
        }
    }

    /// Whether it selects this entry.
    pub fn matches(&self, summary: &EntrySummary) -> bool {
        let receipt = &summary.receipt;
        let is_of = |customer: &String| match &summary.customer {
            Some(LaneKey::Imprint(imprint)) => imprint.is_same(customer),
            Some(LaneKey::Partner(partner)) => partner.as_str() == customer,
            None => false,
        };
        receipt.state == self.state
            && receipt.entry > self.after
            && self
                .source
                .as_ref()
                .is_none_or(|source| *source == receipt.identity.source)
            && self
                .event_type
                .as_ref()
                .is_none_or(|event_type| *event_type == receipt.event_type)
            && self.reason.is_none_or(|reason| {
                receipt
                    .parked
                    .as_ref()
                    .is_some_and(|(parked, _)| *parked == reason)
            })
            && self.customer.as_ref().is_none_or(is_of)
            && self
                .before
                .is_none_or(|before| receipt.accepted_at < before)
            && self.since.is_none_or(|since| receipt.accepted_at >= since)
    }
}

/// How many entries are in each state that is not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting entries.
    pub waiting: u64,
    /// Parked entries.
    pub parked: u64,
    /// Held entries.
    pub held: u64,
    /// Undecided entries.
    pub undecided: u64,
    /// When the oldest waiting entry was accepted.
    pub oldest: Option<Timestamp>,
}

/// One entry, without any value of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// Its receipt.
    pub receipt: Receipt,
    /// The customer of its lane.
    pub customer: Option<LaneKey>,
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// The entries, by number.
    pub entries: Vec<EntrySummary>,
    /// The entry after which the next page starts, if there may be one.
    pub next: Option<EntryId>,
}

/// The most entries that one [`Ledger::load`] returns.
pub const LOAD_MAX: usize = 500;

/// The most bytes of events and updates that one [`Ledger::load`] returns, apart from the last entry's.
pub const LOAD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The entries that an operation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrySelection {
    /// The entries with these numbers, in this order. Unknown numbers are skipped.
    Entries(Vec<EntryId>),
    /// The entries that a filter selects, by number.
    Matching(EntryFilter),
}

/// How much [`Ledger::load`] reads of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only the summary.
    Summaries,
    /// The update and the event too.
    Payloads,
    /// The lane too: its versions and its waiting entries.
    Lanes,
}

/// A loaded selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedEntries {
    /// The entries.
    pub entries: Vec<LoadedEntry>,
    /// The lanes of those entries, each once.
    pub lanes: Vec<LoadedLane>,
    /// Whether the selection has more entries than were loaded.
    pub has_more: bool,
}

/// One loaded entry.
#[derive(Clone, PartialEq)]
pub struct LoadedEntry {
    /// Without any value of the event.
    pub summary: EntrySummary,
    /// The values that the entry sets and their version, until the entry ends.
    pub update: Option<(Version, Update)>,
    /// The event in its structured form, until the entry ends.
    pub event: Option<Vec<u8>>,
    /// The place of its lane in [`LoadedEntries::lanes`].
    pub lane: Option<usize>,
}

impl LoadedEntry {
    /// An entry whose payload is deleted or was not asked for.
    pub(super) const fn without_payload(summary: EntrySummary) -> Self {
        Self {
            summary,
            update: None,
            event: None,
            lane: None,
        }
    }
}

/// Prints no value of the event.
impl fmt::Debug for LoadedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedEntry")
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

/// One loaded lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedLane {
    /// The versions that Imprint has.
    pub versions: LaneVersions,
    /// The newest waiting entries.
    pub waiting: Vec<WaitingEntry>,
}

/// The origin of the value of one field at Imprint. It does not carry the value.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldOrigin {
    /// The field.
    pub field: Field,
    /// The version that was delivered. Its `arrival` is the number of the entry.
    pub version: Version,
    /// The event; `None` if its receipt was deleted before the store kept origins.
    pub event: Option<OriginEvent>,
}

/// The event that a delivered value came from, and its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginEvent {
    /// The identity of the event.
    pub identity: Identity,
    /// When its entry was settled.
    pub delivered_at: Timestamp,
    /// How many requests carried it.
    pub attempts: u32,
}

/// Everything that is stored of one entry.
#[derive(Clone, PartialEq)]
pub struct Inspection {
    /// Without any value of the event.
    pub summary: EntrySummary,
    /// The values that the entry sets and their version, until the entry ends.
    pub update: Option<(Version, Update)>,
    /// The event in its structured form, until the entry ends.
    pub event: Option<Vec<u8>>,
    /// The versions that Imprint has of its customer.
    pub versions: LaneVersions,
    /// The newest waiting entries of its lane.
    pub waiting: Vec<WaitingEntry>,
}

/// Prints no value of the event.
impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

/// What an operator decides about undecided entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// They wait again, behind live ones.
    Retry,
    /// They are parked.
    Park(ParkReason),
    /// They end for good.
    Discard,
}

impl Resolution {
    /// The state that it leads to.
    pub const fn state(self) -> State {
        match self {
            Self::Retry => State::Waiting,
            Self::Park(_) => State::Parked,
            Self::Discard => State::Discarded,
        }
    }
}

/// One parked entry to replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The number of the entry.
    pub entry: EntryId,
    /// The change by today's mapping; `None` leaves the entry as it was.
    pub change: Option<CustomerChange>,
}

/// One action, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// The operator, or the task of the bridge that acted.
    pub operator: String,
    /// The action, in one word.
    pub action: &'static str,
    /// The entries it concerns, or how they were selected. Never a value of an event.
    pub target: String,
    /// The reason, in the operator's words.
    pub reason: Option<String>,
    /// When it happened.
    pub at: Timestamp,
}

/// One record of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number.
    pub number: u64,
    /// The operator, or the task of the bridge that acted.
    pub operator: String,
    /// The action, in one word.
    pub action: String,
    /// The entries it concerns, or how they were selected.
    pub target: String,
    /// The number of entries it changed.
    pub entries: usize,
    /// The reason, in the operator's words.
    pub reason: Option<String>,
    /// When it happened.
    pub at: Timestamp,
    /// Whether this record, and its link to the record before it, are as they were written.
    pub is_intact: bool,
}
