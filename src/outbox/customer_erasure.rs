//! The erasure of a customer: the request, the progress and the result. See
//! [`Ledger::erase_customer`](super::Ledger::erase_customer).

use std::fmt;

use super::{EntryId, LaneId, LaneKey};
use crate::time::Timestamp;

/// The maximum number of entries that one step of an erasure erases, and the maximum number of invalid events that it
/// opens. All other writers of the store wait during a step.
///
/// A step also reads at most `SCAN_MAX` entries of all customers.
pub const ERASE_MAX: usize = 500;

/// One step of the erasure of a customer.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerErasure {
    /// The ids of the customer. The store also follows all identity links of these ids.
    pub keys: Vec<LaneKey>,
    /// The invalid parked entries from whose events the mapping in use reads an id of the customer, in the order of their
    /// numbers. The store finds the other invalid events of the customer by the ids that they contain.
    pub invalid: Vec<EntryId>,
    /// The treatment of later events of the customer.
    pub later_events: LaterEvents,
    /// The time of the operator's order.
    pub at: Timestamp,
    /// The progress of the steps before. `None` is the first step.
    pub progress: Option<ErasureProgress>,
}

/// Prints no id, because customer ids are personal data.
impl fmt::Debug for CustomerErasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerErasure")
            .field("later_events", &self.later_events)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// The treatment of events of an erased customer that arrive after the erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterEvents {
    /// The bridge delivers an event that is newer than the erased data.
    Delivered,
    /// The bridge ignores every event.
    Ignored,
}

/// The progress of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasureProgress {
    /// The number of the erasure in the erasure journal. `None` means that the store has no journal.
    pub number: Option<u64>,
    /// The newest entry at the time of the order. The erasure concerns no newer entry.
    pub last: EntryId,
    /// The entry up to which the erasure has looked for entries of the customer outside the lanes of the customer.
    pub examined: EntryId,
}

/// The result of one step of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErasureStep {
    /// A request of the customer, or of another customer in whose lane an entry of this customer waits, is possibly in
    /// flight. The step has changed nothing.
    InFlight,
    /// The step has erased these parts.
    Erased(ErasedPart),
}

/// The parts of a customer's data that a step of an erasure has erased.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ErasedPart {
    /// The ids of the customer, with the ids that identity links have led to. The next step needs these ids.
    pub keys: Vec<LaneKey>,
    /// The number of erased entries: their payloads, their event ids and their details.
    pub entries: usize,
    /// The lanes of other customers from which the step has erased entries.
    pub lanes: Vec<LaneId>,
    /// The erased entries that had not ended. They are now discarded.
    pub discarded: Vec<EntryId>,
    /// The number of entries outside the lanes of the customer that the bridge could not read, because the sealing key is
    /// missing or the entry is damaged. One of them can be an entry of the customer.
    pub unreadable: usize,
    /// The number of erased field versions without a version of the source, and of erased updates that the bridge could not
    /// read. A resend of such a value under a new event id counts as newer.
    pub unversioned: usize,
    /// True if the step has erased the versions of a retired customer.
    pub was_retired: bool,
    /// The progress for the next step. `None` means that the erasure has ended.
    pub progress: Option<ErasureProgress>,
}

/// Prints no id, because customer ids are personal data.
impl fmt::Debug for ErasedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedPart")
            .field("entries", &self.entries)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// One page of the entries of a customer outside the lanes of the customer. See
/// [`Ledger::named_entries`](super::Ledger::named_entries).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedEntries {
    /// The entries, in the order of their numbers.
    pub entries: Vec<EntryId>,
    /// The entry after which the next page continues. `None` means that there is no next page.
    pub next: Option<EntryId>,
}
