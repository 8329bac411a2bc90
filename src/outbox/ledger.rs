//! The outbox port of operators and of retention.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::customer::CustomerKeys;
use super::{
    AuditHead, AuditKeys, AuditProtection, CustomerErasure, EntryFilter, EntryId, ErasureStep,
    IdentityLink, IgnoredEvent, LaneId, LaneKey, LaneWait, NamedEntries, Receipt, Retirement,
    Settings, StoreFuture, VersionReset, WaitingEntry, Withdrawal, Withdrawn,
};
use crate::event::{Identity, SourceName, Version};
use crate::fold::LaneVersions;
use crate::imprint::{CustomerChange, CustomerRef, Field, Update};
use crate::time::Timestamp;

/// The outbox port of operators and retention. The operator API and the retention task hold this port.
///
/// Every operation of this port is atomic and does a bounded amount of work. Dropping the future of an operation does
/// not undo the operation.
pub trait Ledger: Settings {
    /// Lists one page of the entries that a filter selects. The page contains the start of the next page.
    fn list(&self, filter: EntryFilter) -> StoreFuture<'_, EntryPage>;
    /// Loads a selection of entries in one operation, with the amount of data that `detail` requests.
    ///
    /// Loads at most [`LOAD_MAX`] entries, and content of about [`LOAD_BYTES_MAX`] bytes. If the selection has more
    /// entries, [`LoadedEntries::has_more`] is true.
    fn load(&self, selection: EntrySelection, detail: Detail) -> StoreFuture<'_, LoadedEntries>;
    /// Returns the lanes of these customers, in the order of `customers`. For a customer without a lane, the result has
    /// an empty lane.
    ///
    /// If an identity link connects two ids of a customer, the result has the customer's lane with Imprint's id, and the
    /// waiting entries of all lanes of the customer.
    ///
    /// After waiting entries of about [`LOAD_BYTES_MAX`] bytes, the remaining lanes come without their waiting entries.
    fn lanes(&self, customers: Vec<CustomerRef>) -> StoreFuture<'_, Vec<LoadedLane>>;
    /// Returns the origin of each field value that Imprint has of a customer: the event that contained the value.
    fn origins(&self, customer: LaneKey) -> StoreFuture<'_, Vec<FieldOrigin>>;
    /// Returns all stored data of an entry.
    fn inspect(&self, entry: EntryId) -> StoreFuture<'_, Option<Inspection>>;
    /// Makes parked entries wait again, with low priority, and appends a record to the audit log. An entry for which the
    /// current mapping has nothing to send becomes ignored. Returns the changed entries. Skips entries that are not
    /// parked, and entries without a customer change.
    fn replay(&self, replays: Vec<Replay>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Makes held and undecided entries wait, with low priority, and appends a record to the audit log. Returns the
    /// entries that now wait.
    fn approve(&self, entries: Vec<EntryId>, event: AuditEvent) -> StoreFuture<'_, Vec<EntryId>>;
    /// Parks or discards entries that have not ended, and appends a record with the numbers of the changed entries to
    /// the audit log.
    ///
    /// A waiting entry of a claimed lane stays unchanged, because a request with the entry may be in flight. If only
    /// such entries were to change, the store appends no record.
    ///
    /// The other entries of the lane are due at once, and the failures of the lane still count. An earlier request with
    /// a withdrawn entry may still arrive at Imprint, and the lane can no longer name the values of the request. As
    /// long as such a request may arrive, dispatch therefore sends every delivered value again.
    fn withdraw(&self, withdrawal: Withdrawal, event: AuditEvent) -> StoreFuture<'_, Withdrawn>;
    /// Resets the versions of the values that Imprint has of a customer, and appends a record to the audit log. Values
    /// in doubt (sent without a clear answer) stay in doubt.
    fn reset_versions(&self, customer: LaneKey, event: AuditEvent)
    -> StoreFuture<'_, VersionReset>;
    /// Returns the next entries of a customer that have not ended and are in no lane of these ids, starting after `after`:
    /// the event names an id of the customer beside the Imprint id of another customer, or the event is invalid and mentions
    /// an id. Returns at most `max` entries, and reads at most [`SCAN_MAX`] entries of all customers.
    fn named_entries(
        &self,
        keys: Vec<LaneKey>,
        after: EntryId,
        max: usize,
    ) -> StoreFuture<'_, NamedEntries>;
    /// Erases the next part of a customer's data. The caller repeats the call with the progress and the keys of the last
    /// part, until there is no further progress.
    ///
    /// The store erases every payload, value, detail and event id of the customer: of the entries in the customer's lanes,
    /// and of the entries that [`Self::named_entries`] finds. It keeps a keyed digest and a version
    /// floor of the customer, and for each event a keyed digest and the digest of the content: a resent event stays a
    /// duplicate, and an older event under a new id is not delivered. Entries that had not ended become discarded.
    fn erase_customer(&self, erasure: CustomerErasure) -> StoreFuture<'_, ErasureStep>;
    /// Appends a record to the audit log, for an operator's action that changes no entry.
    fn append_audit(&self, event: AuditEvent) -> StoreFuture<'_, ()>;
    /// Returns at most `max` records of the audit log, starting after the record with the number `after`.
    fn audit(&self, after: u64, max: usize) -> StoreFuture<'_, Vec<AuditRecord>>;
    /// Seals all later records of the audit log with the first of these keys, and verifies records with all of them.
    ///
    /// If the newest record does not have a seal with the first key, the store first appends a record that names the
    /// key. If the newest record has a seal with a key and `keys` is empty, the store changes nothing.
    fn protect_audit(&self, keys: AuditKeys, now: Timestamp) -> StoreFuture<'_, AuditProtection>;
    /// Returns the head of the audit log.
    fn audit_head(&self) -> StoreFuture<'_, AuditHead>;
    /// Deletes the receipts of entries that reached a final state before `kept.start()`. Scans entries from the number
    /// `from` upwards. `kept.end()` must be the current time.
    ///
    /// Never deletes the receipt with the highest number, because the store derives the number of the next entry from
    /// it. Scans at most [`PRUNE_MAX`] receipts and returns the entry number from which the next call must continue.
    /// Returns `None` after the last receipt, or when the bridge accepted the event of every scanned receipt within
    /// `kept`.
    ///
    /// Receipts are numbered in the order of arrival. If the bridge accepted the event of every scanned receipt within
    /// `kept`, the bridge accepted all later events within `kept` too. The exception is a clock that somebody set back:
    /// a later call then deletes the remaining receipts.
    fn prune_receipts(
        &self,
        from: EntryId,
        kept: RangeInclusive<Timestamp>,
    ) -> StoreFuture<'_, Option<EntryId>>;
    /// Retires some idle customers. See [`Retirement`].
    fn retire_customers(&self, from: LaneId, before: Timestamp) -> StoreFuture<'_, Retirement>;
    /// Returns the number of entries in each state that is not final. The storage engine keeps the counts up to date
    /// and never scans entries.
    fn depth(&self) -> StoreFuture<'_, Depth>;
}

/// The maximum number of receipts that one call of [`Ledger::prune_receipts`] scans. For each receipt, the store
/// possibly also reads a lane.
pub const PRUNE_MAX: usize = 1_000;

/// The maximum number of entries that one call of [`Ledger::list`] reads, including entries that the filter does not
/// select.
pub const SCAN_MAX: usize = 5_000;

/// The number of entries in each state that is not final.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// The number of waiting entries.
    pub waiting: u64,
    /// The number of parked entries.
    pub parked: u64,
    /// The number of held entries.
    pub held: u64,
    /// The number of undecided entries.
    pub undecided: u64,
    /// The total size of the events of these entries in bytes, for each source.
    pub stored_bytes: BTreeMap<SourceName, u64>,
    /// The time when the bridge accepted the oldest waiting entry.
    pub oldest: Option<Timestamp>,
}

/// One entry, without any value of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// The receipt of the entry's event.
    pub receipt: Receipt,
    /// The customer of the entry's lane.
    pub customer: Option<LaneKey>,
}

/// One page of a list of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// The entries of the page, in the order of the filter.
    pub entries: Vec<EntrySummary>,
    /// The last scanned entry of this page. The next page starts after this entry. `None` means that there is no next
    /// page.
    pub next: Option<EntryId>,
}

/// The maximum number of entries that one call of [`Ledger::load`] returns.
pub const LOAD_MAX: usize = 500;

/// The maximum total size in bytes of the events and updates that one call of [`Ledger::load`] returns. The last
/// returned entry does not count.
pub const LOAD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A selection of entries for an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrySelection {
    /// The entries with these numbers, in the order of this list. The store skips unknown numbers.
    Entries(Vec<EntryId>),
    /// The entries that a filter selects, in the order of the filter.
    Matching(EntryFilter),
}

/// The amount of data that [`Ledger::load`] reads of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Loads only the summary of each entry.
    Summaries,
    /// Loads the summary, the update and the event of each entry.
    Payloads,
}

/// The loaded entries of a selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedEntries {
    /// The loaded entries, in the order of the selection.
    pub entries: Vec<LoadedEntry>,
    /// True if the selection has more entries than were loaded.
    pub has_more: bool,
    /// The number after which the filter continues, if the store has looked at fewer entries than the filter can match. It can be
    /// the number of an entry that the filter does not match.
    pub next: Option<EntryId>,
}

impl LoadedEntries {
    /// Returns the number after which a filter continues, or `None` if it matches no further entry.
    pub fn continues_after(&self) -> Option<EntryId> {
        let last = self.entries.last().filter(|_| self.has_more);
        self.next
            .or_else(|| last.map(|entry| entry.summary.receipt.entry))
    }
}

/// One entry that [`Ledger::load`] returns.
#[derive(Clone, PartialEq)]
pub struct LoadedEntry {
    /// The summary of the entry, without any value of the event.
    pub summary: EntrySummary,
    /// The version of the values. `version` is `None` after the entry has reached a final state. For an entry that is
    /// parked as invalid, only the epoch and the arrival count.
    pub version: Option<Version>,
    /// The values that the entry sets, and the version of the values. `update` is `None` after the entry has reached a
    /// final state, if the entry is parked as invalid, or if the bridge cannot read the stored values.
    pub update: Option<(Version, Update)>,
    /// The customer ids in the event. `customer` is `None` if `update` is `None`.
    pub customer: Option<CustomerRef>,
    /// The largest allowed jump of the version. See [`WaitingEntry::jump_max`].
    pub jump_max: Option<u64>,
    /// The event in its structured form. `event` is `None` after the entry has reached a final state.
    pub event: Option<Vec<u8>>,
}

impl LoadedEntry {
    /// Creates a loaded entry without update and event: the store has deleted both, or the caller did not request them.
    pub(super) const fn without_payload(summary: EntrySummary) -> Self {
        Self {
            summary,
            version: None,
            update: None,
            customer: None,
            jump_max: None,
            event: None,
        }
    }
}

/// Prints no value of the event, because values are personal data.
impl fmt::Debug for LoadedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedEntry")
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

/// The lane of one customer.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedLane {
    /// The key of the lane from which dispatch sends the customer's entries: Imprint's id if the store knows the id.
    pub key: LaneKey,
    /// The keys of all lanes that the customer can have, starting with `key`.
    pub keys: Vec<LaneKey>,
    /// The lanes of these keys that exist.
    pub lanes: Vec<LaneId>,
    /// What each of these lanes waits for.
    pub waits: Vec<LaneWait>,
    /// The versions of the values that Imprint has of the customer.
    pub versions: LaneVersions,
    /// The newest waiting entries of the customer.
    pub waiting: Vec<WaitingEntry>,
    /// The identity links of the customer's ids.
    pub links: Vec<IdentityLink>,
    /// Whether the bridge ignores the events of the customer, because an operator has erased and blocked it.
    pub is_blocked: bool,
}

impl LoadedLane {
    /// Creates a lane without entries, versions and identity links.
    pub(super) fn empty(keys: &CustomerKeys) -> Self {
        Self {
            key: keys.key.clone(),
            keys: keys.all(),
            lanes: Vec::new(),
            waits: Vec::new(),
            versions: LaneVersions::default(),
            waiting: Vec::new(),
            links: Vec::new(),
            is_blocked: false,
        }
    }
}

/// The origin of one field value at Imprint, without the value itself.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldOrigin {
    /// The field whose value Imprint has.
    pub field: Field,
    /// The version of the value at Imprint. The `arrival` of the version is the number of the entry that contained the
    /// value.
    pub version: Version,
    /// The event that contained the value. `None` means that an old version of the bridge deleted the receipt of the
    /// event and kept no origin.
    pub event: Option<OriginEvent>,
}

/// The event that contained a delivered value, with the time of the delivery and the number of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginEvent {
    /// The identity of the event.
    pub identity: Identity,
    /// The time when the entry of the event was settled.
    pub delivered_at: Timestamp,
    /// The number of requests that contained values of the entry.
    pub attempts: u32,
}

/// All stored data of one entry.
#[derive(Clone, PartialEq)]
pub struct Inspection {
    /// The summary of the entry, without any value of the event.
    pub summary: EntrySummary,
    /// The values that the entry sets, and the version of the values. `update` is `None` after the entry has reached a
    /// final state, or if the entry is parked as invalid.
    pub update: Option<(Version, Update)>,
    /// The event in its structured form. `event` is `None` after the entry has reached a final state.
    pub event: Option<Vec<u8>>,
}

/// Prints no value of the event, because values are personal data.
impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

/// One parked entry to replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The number of the entry.
    pub entry: EntryId,
    /// The customer change with which the entry waits.
    pub change: ReplayChange,
}

/// The customer change of a replayed entry.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayChange {
    /// The entry keeps the stored customer change. An entry that is parked as invalid has none.
    Stored,
    /// The entry gets this customer change, which the current mapping produces from the event.
    Mapped(CustomerChange),
    /// The current mapping has nothing to send for the event. The entry becomes ignored.
    Ignored(IgnoredEvent),
}

/// One action of an operator or of a background task, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// The name of the operator or of the background task that acted.
    pub operator: String,
    /// The action in one word, such as `replay`.
    pub action: &'static str,
    /// The entries that the action concerns, or the filter that selected the entries. The target never contains a value
    /// of an event.
    pub target: String,
    /// The operator's reason for the action, in free text.
    pub reason: Option<String>,
    /// The time of the operator's or the task's action.
    pub at: Timestamp,
}

/// One record of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The number of the audit record.
    pub number: u64,
    /// The name of the operator or of the background task that acted.
    pub operator: String,
    /// The action in one word, such as `replay`.
    pub action: String,
    /// The entries that the action concerns, or the filter that selected the entries.
    pub target: String,
    /// The number of entries that the action changed.
    pub entries: usize,
    /// The operator's reason for the action, in free text.
    pub reason: Option<String>,
    /// The time of the operator's or the task's action.
    pub at: Timestamp,
    /// True if nobody has changed this audit record or deleted the previous audit record.
    pub is_intact: bool,
    /// The part of the record's seal that the head of the audit log contains while the record is the newest one.
    pub check: u64,
    /// True if the seal of the record has a key.
    pub is_keyed: bool,
    /// True if the process does not have a key that it needs to verify the record: the key of the seal, or the sealing key
    /// of the reason. `is_intact` is then false.
    pub lacks_key: bool,
}

impl AuditRecord {
    /// Returns the head of the audit log while the record is the newest one.
    pub const fn head(&self) -> AuditHead {
        AuditHead {
            record: self.number,
            check: self.check,
        }
    }
}
