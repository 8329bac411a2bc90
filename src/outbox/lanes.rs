//! The outbox port of dispatch: claims lanes, settles lanes, and waits until a lane becomes due.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use super::{EntryId, LaneId, ParkReason, Pick, Settings, Standing, State, StoreFuture, Unproven};
use crate::event::{SourceName, Version};
use crate::fold::{Candidate, LaneVersions};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId, Update};
use crate::time::Timestamp;

/// The outbox port of dispatch. The dispatcher holds this port and no other port of the outbox.
///
/// Every operation of this port except [`Self::release`] is atomic and does a bounded amount of work. Dropping the
/// future of an operation does not undo the operation.
pub trait Lanes: Settings {
    /// Claims up to `max` lanes that are due at `now`. Each claimed lane carries the [`ClaimToken`] of this claim.
    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim>;
    /// Records the result of the work on a claimed lane and ends the claim, in one transaction.
    ///
    /// Answers [`Settled::Stale`] and changes nothing if the lane is no longer claimed under the settlement's token.
    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Settled>;
    /// Makes every lane with a waiting entry due now. Dispatch calls `release` when the destination works again. An engine
    /// may release the lanes in slices, between which it serves other operations: hundreds of thousands of lanes may rest.
    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()>;
    /// Makes every lane with a waiting entry due whose customer does not exist according to an unproven answer, and forgets
    /// every [`Recognition::Gone`]. Dispatch calls `release_absent` when evidence arrives that may prove the answers, and
    /// when another API key makes them worthless.
    fn release_absent(&self, now: Timestamp) -> StoreFuture<'_, ()>;
    /// Resolves when a lane may have become due after this call.
    ///
    /// The future is only a hint: a storage engine that several processes share misses some changes, so dispatch also
    /// polls the store.
    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The fencing token of one claim of one lane. `settle` checks the token, so that a process that lost the lane changes
/// nothing.
///
/// No two claims of a lane ever have the same token, even across restarts and processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimToken {
    /// The number of the storage engine that claimed the lane. Each time a process opens a store, the engine gets a new
    /// number.
    pub owner: u64,
    /// The number of the claim. The numbers start again each time a process opens the store.
    pub epoch: u64,
}

/// The answer of the store to [`Lanes::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a stale settlement has changed nothing"]
pub enum Settled {
    /// The settlement is on disk, and the lane is no longer claimed.
    Recorded,
    /// The lane is no longer claimed under the token of the settlement. The store has ignored the settlement.
    Stale,
}

/// The lanes that one call of [`Lanes::claim`] has claimed.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The claimed lanes, starting with the lane that has been due longest.
    pub lanes: Vec<ClaimedLane>,
    /// The time when the next unclaimed lane is due, not counting the lanes that `is_failing_left` and
    /// `is_untried_left` report.
    pub next_due: Option<Timestamp>,
    /// True if the claim left out failing lanes that are due, because of their [`FailingShare`](super::FailingShare).
    pub is_failing_left: bool,
    /// True if the claim left out untried lanes that are due, because of their share in
    /// [`LaneShares`](super::LaneShares).
    pub is_untried_left: bool,
}

/// The key of a lane: the lane's customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneKey {
    /// The bridge knows Imprint's id of the customer, so dispatch can send the entries of the lane.
    ///
    /// Events may spell a UUID in upper or lower case. The lane has the spelling of the newest event until Imprint applies
    /// an update, and then keeps the spelling that Imprint applied.
    Imprint(ImprintId),
    /// The bridge knows only the partner's own id of the customer. When a search finds Imprint's id, dispatch moves the
    /// entries into a lane with Imprint's id.
    Partner(PartnerCustomerId),
}

impl LaneKey {
    /// Returns the lane key for a customer. If the event contains Imprint's id, this id is the key, because dispatch
    /// can send only the entries of a lane with Imprint's id.
    pub fn of(customer: &CustomerRef) -> Self {
        match customer {
            CustomerRef::Imprint(imprint) | CustomerRef::Pair { imprint, .. } => {
                Self::Imprint(imprint.clone())
            }
            CustomerRef::Partner(partner) => Self::Partner(partner.clone()),
        }
    }
}

/// The failures of a lane since Imprint last applied a request of the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trials {
    /// The number of failed requests. This number decides how long the lane rests, and a lane with a failure belongs to
    /// the queue of failing lanes.
    pub failures: u32,
    /// The number of failed requests whose failure is the fault of this lane only. When this number reaches its limit,
    /// dispatch parks entries of the lane.
    pub attempts: u32,
    /// The time when a request of the lane last failed.
    pub tried_at: Option<Timestamp>,
    /// The time of the first failure that is counted in `attempts`, or was counted for an entry that parked since.
    pub blamed_since: Option<Timestamp>,
}

/// An identity link: the partner's own id and Imprint's id of one customer, as Imprint confirmed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLink {
    /// The partner's own id of the customer.
    pub partner: PartnerCustomerId,
    /// Imprint's id of the customer. `None` means that Imprint knows no customer with the partner's id.
    pub imprint: Option<ImprintId>,
    /// The time when Imprint last confirmed the identity link.
    pub confirmed_at: Timestamp,
}

/// The values of a lane that an earlier process may have sent, without an answer that the store knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaybeSent {
    /// No earlier process can have had a request of the lane in flight.
    #[default]
    Nothing,
    /// An earlier process may have sent the waiting entries up to this number.
    Entries(EntryId),
    /// An earlier process may have sent values that the claim does not read: more entries wait than a claim reads, or
    /// an entry is unreadable or gone.
    Anything,
}

impl MaybeSent {
    /// Returns what an earlier process may have sent, if the claim does not read all entries that waited then.
    #[must_use]
    pub(super) const fn beyond_the_claim(self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Entries(_) | Self::Anything => Self::Anything,
        }
    }

    /// Returns what this or an earlier process may have sent, if the entries up to `last` may be in flight now.
    #[must_use]
    pub(super) const fn or_entries(self, last: EntryId) -> Self {
        match self {
            Self::Nothing | Self::Entries(_) => Self::Entries(last),
            Self::Anything => Self::Anything,
        }
    }
}

/// One due lane, claimed for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedLane {
    /// The number of the lane. The store does not claim the lane again before this claim is settled.
    pub lane: LaneId,
    /// The fencing token of this claim, for the settlement of the lane.
    pub token: ClaimToken,
    /// The customer of the lane. If the bridge cannot read the stored lane, the key is `None` and `waiting` is empty.
    pub key: Option<LaneKey>,
    /// The versions of the customer's values that Imprint has, as far as the store knows.
    pub versions: LaneVersions,
    /// The failures of the lane.
    pub trials: Trials,
    /// The results of the lane's requests so far.
    pub standing: Standing,
    /// The answers about the lane whose cause no evidence has shown yet.
    pub unproven: Unproven,
    /// Dispatch sends entries up to this number one by one, because Imprint rejected a request that carried several of
    /// these entries.
    pub unfold_to: Option<EntryId>,
    /// True if Imprint has no customer with the id of the lane, and the search for our id has not been sent yet.
    pub is_gone: bool,
    /// The values that an earlier process may have sent.
    pub maybe_sent: MaybeSent,
    /// The waiting entries of the lane, starting with the newest. If the lane has more than
    /// [`WAITING_WINDOW`](super::WAITING_WINDOW) waiting entries, the list contains the newest entries, and then the
    /// [`OLDEST_WINDOW`](super::OLDEST_WINDOW) oldest.
    pub waiting: Vec<WaitingEntry>,
    /// The identity links of the customer ids in the waiting entries.
    pub links: Vec<IdentityLink>,
    /// The waiting entries whose stored content the bridge cannot read.
    pub unreadable: Vec<EntryId>,
}

impl ClaimedLane {
    /// Creates a claimed lane that has no entries, no versions and no identity links.
    pub fn empty(lane: LaneId, token: ClaimToken, trials: Trials) -> Self {
        Self {
            lane,
            token,
            key: None,
            versions: LaneVersions::default(),
            trials,
            standing: Standing::Well,
            unproven: Unproven::default(),
            unfold_to: None,
            is_gone: false,
            maybe_sent: MaybeSent::Nothing,
            waiting: Vec::new(),
            links: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Returns the sources of the waiting entries, each source once.
    pub fn sources(&self) -> Vec<SourceName> {
        let sources: BTreeSet<&SourceName> =
            self.waiting.iter().map(|waiting| &waiting.source).collect();
        sources.into_iter().cloned().collect()
    }

    /// Returns the waiting entries as inputs of folding.
    pub fn candidates(&self) -> Vec<Candidate<'_>> {
        self.waiting.iter().map(WaitingEntry::candidate).collect()
    }
}

/// One entry that waits in a claimed lane.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingEntry {
    /// The number of the entry.
    pub entry: EntryId,
    /// The version of the entry's values.
    pub version: Version,
    /// The values that the entry sets.
    pub update: Update,
    /// The ids by which the event names its customer.
    pub customer: CustomerRef,
    /// The most by which the version may differ from the neighbouring version of the customer; see
    /// [`CustomerChange::jump_max`](crate::imprint::CustomerChange::jump_max).
    pub jump_max: Option<u64>,
    /// The source that sent the event of the entry.
    pub source: SourceName,
    /// The time when the bridge accepted the event of the entry.
    pub accepted_at: Timestamp,
}

impl WaitingEntry {
    /// Returns the entry in the lane of this customer: an event with an Imprint id then names this Imprint id.
    #[must_use]
    pub fn with_imprint_id(self, imprint: &ImprintId) -> Self {
        let customer = match self.customer {
            CustomerRef::Pair { partner, .. } => CustomerRef::Pair {
                imprint: imprint.clone(),
                partner,
            },
            CustomerRef::Imprint(_) => CustomerRef::Imprint(imprint.clone()),
            CustomerRef::Partner(partner) => CustomerRef::Partner(partner),
        };
        Self { customer, ..self }
    }

    /// Returns the entry as an input of folding.
    pub const fn candidate(&self) -> Candidate<'_> {
        Candidate {
            version: self.version,
            update: &self.update,
        }
    }
}

/// The ending of one entry of a claimed lane, or the reason why the entry is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Imprint has the values of the entry.
    Delivered,
    /// Imprint has newer values, which came from the entry with this number.
    Superseded(EntryId),
    /// The entry had nothing to send, or Imprint does not know the customer.
    Ignored,
    /// An operator must act on the entry.
    Parked {
        /// The reason for parking the entry.
        reason: ParkReason,
        /// Imprint's answer, without values: the `type` and `param` of the answer.
        detail: Option<String>,
    },
    /// Requests with the entry failed for a long time, and nothing proves whether the entry or Imprint is the cause. An
    /// operator decides about the entry.
    Undecided,
}

impl Ending {
    /// Returns the state of an entry with this ending.
    pub const fn state(&self) -> State {
        match self {
            Self::Delivered => State::Delivered,
            Self::Superseded(_) => State::Superseded,
            Self::Ignored => State::Ignored,
            Self::Parked { .. } => State::Parked,
            Self::Undecided => State::Undecided,
        }
    }
}

/// The settlement of a claimed lane: the result of one request, or of a claim without a request. The store records the
/// settlement in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The lane to settle. After the settlement, the store can claim the lane again.
    pub lane: LaneId,
    /// The fencing token of the claim that the settlement ends.
    pub token: ClaimToken,
    /// The entries that the settlement ends or sets aside.
    pub endings: Vec<(EntryId, Ending)>,
    /// The entries that the request carried. The store counts one attempt for each of these entries.
    pub attempted: Vec<EntryId>,
    /// The entries that the settlement moves into a different lane, and the customer of this lane.
    pub moved: Option<Moved>,
    /// An identity link that Imprint confirmed or denied.
    pub new_link: Option<IdentityLink>,
    /// Imprint's answer about the Imprint id of the lane.
    pub recognition: Recognition,
    /// The new versions of the lane. `None` leaves the stored versions unchanged.
    pub versions: Option<LaneVersions>,
    /// The failures of the lane after the request.
    pub trials: Trials,
    /// The answers about the lane whose cause no evidence has shown yet.
    pub unproven: Unproven,
    /// Dispatch sends the lane's entries up to this number one by one.
    pub unfold_to: Option<EntryId>,
    /// The time when the lane is due again if entries still wait in the lane.
    pub due: Timestamp,
    /// The time when the lane is due if no entry waits in the lane. At this time, dispatch sends delivered values
    /// again, because an older request may have overwritten them.
    pub reassert_at: Option<Timestamp>,
    /// The time when the dispatcher decided about the lane.
    pub at: Timestamp,
}

impl Settlement {
    /// Returns whether Imprint answered a request of the lane, and the answer was no failure.
    pub(super) const fn is_answered(&self) -> bool {
        let was_sent =
            !self.attempted.is_empty() || self.moved.is_some() || self.new_link.is_some();
        was_sent && self.trials.failures == 0
    }

    /// Returns the standing of the lane after the settlement.
    pub(super) fn standing(&self, before: Standing) -> Standing {
        match before {
            _ if self.trials.failures > 0 => Standing::Failing,
            Standing::Untried if !self.is_answered() => Standing::Untried,
            Standing::Well | Standing::Untried | Standing::Failing => Standing::Well,
        }
    }
}

/// Imprint's answer about the Imprint id of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recognition {
    /// The settlement has no such answer.
    #[default]
    Unchanged,
    /// Imprint applied an update under this spelling of the id. From then on, the spelling in events has no effect.
    Applied(ImprintId),
    /// Imprint has no customer with the id, and a search for our id must follow. The next claim does not send an update
    /// again before the search.
    Gone,
}

/// The move of entries from a lane with the partner's id to a lane with Imprint's id, after a search found Imprint's
/// id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The customer whose lane receives the entries.
    pub to: ImprintId,
    /// The numbers of the entries that move.
    pub entries: Vec<EntryId>,
}
