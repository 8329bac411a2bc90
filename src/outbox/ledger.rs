//! The role of operators and retention: lists, inspects, replays and discards entries, keeps the audit log, and prunes.

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
    /// Lists the entries that a filter selects, at most one page. The page says where the next page starts.
    fn list(&self, filter: EntryFilter) -> StoreFuture<'_, EntryPage>;
    /// Loads a selection of entries in one operation, with as much data as `detail` says. Loads at most [`LOAD_MAX`]
    /// entries and about [`LOAD_BYTES_MAX`] of their content; [`LoadedEntries::has_more`] says whether entries were
    /// left out.
    fn load(&self, selection: EntrySelection, detail: Detail) -> StoreFuture<'_, LoadedEntries>;
    /// Returns, for each field that Imprint has of a customer, the event that brought the value.
    fn origins(&self, customer: LaneKey) -> StoreFuture<'_, Vec<FieldOrigin>>;
    /// Returns all stored data of an entry.
    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>>;
    /// Lets parked entries wait again, after live entries, and appends to the audit log. Returns the entries that
    /// moved: an entry that is no longer parked stays unchanged.
    fn replay(&self, replays: Vec<Replay>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Lets held entries wait, after live entries, and appends to the audit log. Returns the entries that moved.
    fn approve(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Decides undecided entries and appends to the audit log. Returns the entries that are no longer undecided.
    fn decide(
        &self,
        entries: Vec<EntryId>,
        resolution: Resolution,
        event: AuditEvent,
    ) -> StoreFuture<'_, Vec<EntryId>>;
    /// Ends parked and held entries permanently and appends to the audit log. Returns the entries that ended.
    fn discard(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Appends to the audit log an operator's action that changes no entry.
    fn append_audit(&self, event: AuditEvent) -> StoreFuture<'_, ()>;
    /// Returns at most `max` records of the audit log after the record numbered `after`.
    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>>;
    /// Deletes receipts of entries numbered `from` or higher that ended before `kept.start()`; `kept.end()` is now.
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
    /// Returns the number of entries in the store. The engine keeps counts and never scans.
    fn depth(&self) -> StoreFuture<'_, Depth>;
}

/// The most receipts that one [`Ledger::prune_receipts`] scans. For each receipt, its lane may have to be read too.
pub const PRUNE_MAX: usize = 1_000;

/// The most entries that one [`Ledger::list`] reads, whether the filter selects them or not.
pub const SCAN_MAX: usize = 5_000;

/// Selects entries. A field that is `None` selects every entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFilter {
    /// The state of the entries.
    pub state: State,
    /// The source that sent the events.
    pub source: Option<SourceName>,
    /// The type of the events.
    pub event_type: Option<Attribute>,
    /// The reason why the entries are parked.
    pub reason: Option<ParkReason>,
    /// The id of the customer, as the lane of the entry has it.
    pub customer: Option<String>,
    /// Selects entries accepted before this time.
    pub before: Option<Timestamp>,
    /// Selects entries accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Selects entries with a number higher than this.
    pub after: EntryId,
    /// The most entries of a page.
    pub max: usize,
}

impl EntryFilter {
    /// Returns a filter that selects every entry in a state.
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

    /// Returns whether the filter selects this entry.
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

/// The number of entries in each state that is not final.
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
    /// The time when the oldest waiting entry was accepted.
    pub oldest: Option<Timestamp>,
}

/// One entry, without any value of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// The receipt of the entry.
    pub receipt: Receipt,
    /// The customer of the entry's lane.
    pub customer: Option<LaneKey>,
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// The entries, in the order of their numbers.
    pub entries: Vec<EntrySummary>,
    /// The entry after which the next page starts, if there may be one.
    pub next: Option<EntryId>,
}

/// The most entries that one [`Ledger::load`] returns.
pub const LOAD_MAX: usize = 500;

/// The most bytes of events and updates that one [`Ledger::load`] returns, not counting the last entry.
pub const LOAD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The entries that an operation applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrySelection {
    /// The entries with these numbers, in this order. Unknown numbers are skipped.
    Entries(Vec<EntryId>),
    /// The entries that a filter selects, in the order of their numbers.
    Matching(EntryFilter),
}

/// The amount of data that [`Ledger::load`] reads of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only the summary.
    Summaries,
    /// The summary, the update and the event.
    Payloads,
    /// The payload, and the lane with its versions and waiting entries.
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
    /// The summary of the entry, without any value of the event.
    pub summary: EntrySummary,
    /// The values that the entry sets and their version, until the entry ends.
    pub update: Option<(Version, Update)>,
    /// The event in its structured form, until the entry ends.
    pub event: Option<Vec<u8>>,
    /// The index of the entry's lane in [`LoadedEntries::lanes`].
    pub lane: Option<usize>,
}

impl LoadedEntry {
    /// Returns an entry whose payload is deleted or was not asked for.
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
    /// The versions of the values that Imprint has.
    pub versions: LaneVersions,
    /// The newest waiting entries.
    pub waiting: Vec<WaitingEntry>,
}

/// The origin of the value of one field at Imprint, without the value.
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
    /// The time when the entry of the event was settled.
    pub delivered_at: Timestamp,
    /// The number of requests that carried the entry.
    pub attempts: u32,
}

/// All stored data of one entry.
#[derive(Clone, PartialEq)]
pub struct Inspection {
    /// The summary of the entry, without any value of the event.
    pub summary: EntrySummary,
    /// The values that the entry sets and their version, until the entry ends.
    pub update: Option<(Version, Update)>,
    /// The event in its structured form, until the entry ends.
    pub event: Option<Vec<u8>>,
    /// The versions of the values that Imprint has of the customer.
    pub versions: LaneVersions,
    /// The newest waiting entries of the entry's lane.
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

/// An operator's decision about undecided entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The entries wait again, after live entries.
    Retry,
    /// The entries are parked.
    Park(ParkReason),
    /// The entries end permanently.
    Discard,
}

impl Resolution {
    /// Returns the state that the decision leads to.
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
    /// The change according to today's mapping; `None` keeps the stored change.
    pub change: Option<CustomerChange>,
}

/// One action, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// The operator, or the task of the bridge that acted.
    pub operator: String,
    /// The action, in one word.
    pub action: &'static str,
    /// The entries that the action concerns, or their selection. Never contains a value of an event.
    pub target: String,
    /// The reason, in the operator's words.
    pub reason: Option<String>,
    /// The time of the action.
    pub at: Timestamp,
}

/// One record of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The number of the record.
    pub number: u64,
    /// The operator, or the task of the bridge that acted.
    pub operator: String,
    /// The action, in one word.
    pub action: String,
    /// The entries that the action concerns, or their selection.
    pub target: String,
    /// The number of entries that the action changed.
    pub entries: usize,
    /// The reason, in the operator's words.
    pub reason: Option<String>,
    /// The time of the action.
    pub at: Timestamp,
    /// Whether this record, and its link to the record before it, are unchanged since they were written.
    pub is_intact: bool,
}
