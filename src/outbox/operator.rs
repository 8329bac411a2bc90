//! The words of what a person does with entries: look, replay, discard, and leave a record of it.

use std::fmt;

use super::{EntryId, LaneKey, ParkReason, Receipt, State, WaitingEntry};
use crate::event::{Attribute, SourceName, Version};
use crate::fold::LaneVersions;
use crate::imprint::{CustomerChange, Update};
use crate::time::Timestamp;

/// How many entries one look goes through, whether they are what is looked for or not.
pub const SCAN_MAX: usize = 5_000;

/// Which entries are looked for; what is `None` makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFilter {
    /// Where they stand.
    pub state: State,
    /// The source they came through.
    pub source: Option<SourceName>,
    /// Their event type.
    pub event_type: Option<Attribute>,
    /// Why they are parked.
    pub reason: Option<ParkReason>,
    /// Whom they are about, by the id of their lane.
    pub customer: Option<String>,
    /// Accepted before this moment.
    pub before: Option<Timestamp>,
    /// Accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// With numbers greater than this.
    pub after: EntryId,
    /// At most so many.
    pub max: usize,
}

impl EntryFilter {
    /// All entries of a state.
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

    /// Whether this is one of those that are looked for.
    pub fn matches(&self, listed: &EntrySummary) -> bool {
        let receipt = &listed.receipt;
        let is_whose = |customer: &String| match &listed.customer {
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
            && self.customer.as_ref().is_none_or(is_whose)
            && self
                .before
                .is_none_or(|before| receipt.accepted_at < before)
            && self.since.is_none_or(|since| receipt.accepted_at >= since)
    }
}

/// One entry, without anything that was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// Its receipt.
    pub receipt: Receipt,
    /// Whose lane it is in.
    pub customer: Option<LaneKey>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// The entries, by number.
    pub entries: Vec<EntrySummary>,
    /// Where to look on, if there may be more.
    pub next: Option<EntryId>,
}

/// Everything that is kept of one entry.
#[derive(Clone, PartialEq)]
pub struct Inspection {
    /// Without anything that was in it.
    pub listed: EntrySummary,
    /// What it states, as long as it is not over.
    pub facts: Option<(Version, Update)>,
    /// The event in its structured form, as long as it is not over.
    pub event: Option<Vec<u8>>,
    /// What Imprint has of its customer.
    pub versions: LaneVersions,
    /// What waits in its lane.
    pub waiting: Vec<WaitingEntry>,
}

/// Never what was in it.
impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("listed", &self.listed)
            .finish_non_exhaustive()
    }
}

/// One parked entry that is to wait again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Which.
    pub entry: EntryId,
    /// The change by today's mapping; `None` leaves the entry as it was.
    pub change: Option<CustomerChange>,
}

/// What somebody did, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who.
    pub operator: String,
    /// What, in one word.
    pub action: &'static str,
    /// To which entries, or how they were chosen; never a value of an event.
    pub target: String,
    /// Why, in their own words.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number.
    pub number: u64,
    /// Who.
    pub operator: String,
    /// What, in one word.
    pub action: String,
    /// To which entries, or how they were chosen.
    pub target: String,
    /// How many entries it changed.
    pub entries: usize,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Whether this line and the link to the one before it are as they were written.
    pub is_intact: bool,
}
