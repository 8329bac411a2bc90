//! The outbox port of dispatch: claims lanes, records their settlements, and waits until a lane becomes due.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{
    EntryId, IgnoreReason, LaneId, MaybeSent, ParkReason, Pick, Settings, Standing, State,
    StoreFuture, Unproven, WaitingEntry,
};
use crate::event::{EventError, SourceName};
use crate::fold::{Candidate, LaneVersions};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
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
    /// A lane that only waits for the turn of its search is due at once if an entry of a different source has arrived.
    ///
    /// If the claim with the settlement's token has ended, the store records nothing of the settlement and answers
    /// [`Settled::Stale`]. A store of several processes then marks the lane if the settlement contains an update: a later
    /// claim says that values were possibly sent.
    /// The caller keeps a reference to the settlement, because it settles again if the store refuses.
    fn settle(&self, settlement: Arc<Settlement>) -> StoreFuture<'_, Settled>;
    /// Returns whether the claims with the owner of this token are surely valid now, without asking the store. Dispatch
    /// must not send a request under a different claim.
    ///
    /// A store that belongs to one process never ends a claim of this process.
    fn is_claim_valid(&self, _token: ClaimToken) -> bool {
        true
    }
    /// Makes every lane with a waiting entry due now.
    ///
    /// Dispatch calls `release` when Imprint works again after an outage. Hundreds of thousands of lanes can then rest,
    /// so an engine is allowed to release them in several transactions, and to serve other operations between the
    /// transactions.
    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()>;
    /// Makes due every lane that waits for proof. Also resets every [`Recognition::Gone`] to
    /// [`Recognition::Unchanged`].
    ///
    /// A lane waits for proof after Imprint has answered "the customer does not exist", until dispatch can prove or
    /// disprove this answer. Dispatch calls `release_absent` in two cases: it has new evidence, or the bridge got a
    /// different API key, for which the earlier answers prove nothing.
    fn release_absent(&self, now: Timestamp) -> StoreFuture<'_, ()>;
    /// Resolves when a lane has possibly become due after this call.
    ///
    /// If several processes share a store, the storage engine misses some changes of other processes. Dispatch
    /// therefore also polls the store.
    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The fencing token of one claim of one lane. `settle` checks the token: a settlement under an ended claim changes
/// nothing.
///
/// No two claims of a lane ever have the same token, even across restarts and processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimToken {
    /// The number of the storage engine that claimed the lane. Each time a process opens a store, the engine gets a new
    /// number.
    pub owner: u64,
    /// The number of the claim. Each time a process opens the store, these numbers start again.
    pub epoch: u64,
}

/// The answer of the store to [`Lanes::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a stale settlement has changed nothing"]
pub enum Settled {
    /// The settlement is on disk, and the lane is no longer claimed.
    Recorded,
    /// The claim ended before the settlement. The store has ignored the settlement.
    Stale,
}

/// The lanes that one call of [`Lanes::claim`] has claimed.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The claimed lanes, starting with the lane that has been due longest.
    pub lanes: Vec<ClaimedLane>,
    /// The earliest due time of an unclaimed lane. The lanes that `is_failing_left` and `is_untried_left` report do not
    /// count.
    pub next_due: Option<Timestamp>,
    /// True if the claim used up its [`FailingShare`](super::FailingShare) and left out failing lanes that are due.
    pub is_failing_left: bool,
    /// True if the claim used up its share of untried lanes in [`LaneShares`](super::LaneShares) and left out untried
    /// lanes that are due.
    pub is_untried_left: bool,
}

/// The key of a lane: the lane's customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneKey {
    /// The bridge knows Imprint's id of the customer, so dispatch can send the entries of the lane.
    ///
    /// Events may spell a UUID in upper or lower case. Until Imprint applies an update of the customer, the lane has
    /// the spelling of the newest event. Afterwards, the lane keeps the spelling of the applied update.
    Imprint(ImprintId),
    /// The bridge knows only the partner customer id. When a search finds Imprint's id, dispatch moves the entries into
    /// a lane with Imprint's id.
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
    /// The number of failed requests. This number decides how long the lane waits for its next request. A lane with a
    /// failure belongs to the queue of failing lanes.
    pub failures: u32,
    /// The number of failed requests that only this lane caused. When this number reaches its limit, dispatch parks
    /// entries of the lane.
    pub attempts: u32,
    /// The time when a request of the lane last failed.
    pub tried_at: Option<Timestamp>,
    /// The time of the first failure that `attempts` counts. When dispatch parks an entry, `attempts` starts again at
    /// 0, but this time does not change.
    pub blamed_since: Option<Timestamp>,
}

/// An identity link: the partner customer id and Imprint's id of one customer, as Imprint confirmed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLink {
    /// The CRM's own id of the customer: Imprint's field `partner_customer_id`.
    pub partner: PartnerCustomerId,
    /// Imprint's id of the customer. `None` means that Imprint knows no customer with this partner customer id.
    pub imprint: Option<ImprintId>,
    /// The time when Imprint last confirmed the identity link.
    pub confirmed_at: Timestamp,
}

/// One due lane, claimed for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedLane {
    /// The number of the lane. The store does not claim the lane again before dispatch has settled this claim.
    pub lane: LaneId,
    /// The fencing token of this claim, for the settlement of the lane.
    pub token: ClaimToken,
    /// The customer of the lane. If the bridge cannot read the stored lane, the key is `None` and `waiting` is empty.
    pub key: Option<LaneKey>,
    /// The versions of the values that Imprint has of the customer, according to the answers in the store.
    pub versions: LaneVersions,
    /// The failures of the lane.
    pub trials: Trials,
    /// The result of the lane's last request.
    pub standing: Standing,
    /// The last answers about the lane, if nothing proves their cause yet.
    pub unproven: Unproven,
    /// Dispatch sends the entries up to this number one by one, because Imprint rejected a request with the values of
    /// several entries.
    pub unfold_to: Option<EntryId>,
    /// True if Imprint has no customer with the id of the lane, and dispatch must next search by the partner customer
    /// id.
    pub is_gone: bool,
    /// The values that an earlier process has possibly sent.
    pub maybe_sent: MaybeSent,
    /// The waiting entries of the lane, starting with the newest.
    ///
    /// If the lane has more than [`WAITING_WINDOW`](super::WAITING_WINDOW) waiting entries, the list contains that many
    /// of the newest entries, followed by the [`OLDEST_WINDOW`](super::OLDEST_WINDOW) oldest entries.
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

    /// Returns the sources of the waiting entries. The list contains each source only once.
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

/// The result of one entry of a claimed lane: a final state, or `parked` or `undecided`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Imprint has the values of the entry.
    Delivered,
    /// Imprint has newer values. The entry with this number contains the newer values.
    Superseded(EntryId),
    /// The entry had nothing to send, or Imprint does not know the customer.
    Ignored(IgnoreReason),
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
            Self::Ignored(_) => State::Ignored,
            Self::Parked { .. } => State::Parked,
            Self::Undecided => State::Undecided,
        }
    }
}

/// The settlement of a claimed lane: the result of one claim, with or without a request. The store records the
/// settlement in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The lane to settle. After the settlement, the store can claim the lane again.
    pub lane: LaneId,
    /// The fencing token of the claim that the settlement ends.
    pub token: ClaimToken,
    /// The entries that leave the state `waiting`, with the result of each entry.
    pub endings: Vec<(EntryId, Ending)>,
    /// The cleared fields of delivered entries that no request sends, each field as an error with the rule
    /// [`CLEARING_OMITTED`](super::CLEARING_OMITTED).
    pub omitted: Vec<(EntryId, Vec<EventError>)>,
    /// The entries whose values the request contained. The store counts one attempt for each of these entries.
    pub attempted: Vec<EntryId>,
    /// The entries that move into the lane of a different customer.
    pub moved: Option<Moved>,
    /// An identity link that Imprint has just confirmed or denied.
    pub new_link: Option<IdentityLink>,
    /// Imprint's answer about the Imprint id of the lane.
    pub recognition: Recognition,
    /// The new versions of the lane. `None` leaves the stored versions unchanged.
    pub versions: Option<LaneVersions>,
    /// The failures of the lane after the request.
    pub trials: Trials,
    /// The last answers about the lane, if nothing proves their cause yet.
    pub unproven: Unproven,
    /// Dispatch sends the entries up to this number one by one. `None` means that dispatch can send several entries in
    /// one request.
    pub unfold_to: Option<EntryId>,
    /// The next due time of the lane if entries still wait in the lane.
    pub due: Timestamp,
    /// The next due time of the lane if no entry waits in the lane. At this time, dispatch sends delivered values
    /// again, because an older request has possibly overwritten them at Imprint.
    pub reassert_at: Option<Timestamp>,
    /// The time when the dispatcher decided about the lane.
    pub at: Timestamp,
}

impl Settlement {
    /// Returns whether nothing was sent, and the lane neither failed nor waits for proof. The lane only waits until its
    /// due time, most likely for the turn of its search.
    pub(super) fn is_postponed(&self) -> bool {
        let rests = self.trials.failures > 0 || self.unproven.absence.is_some();
        self.at < self.due && !self.was_sent() && !rests
    }

    const fn was_sent(&self) -> bool {
        !self.attempted.is_empty() || self.moved.is_some() || self.new_link.is_some()
    }

    /// Returns whether dispatch has possibly sent an update. Values that it sent again have no entry, but the settlement has
    /// new versions.
    pub(super) const fn has_possibly_updated(&self) -> bool {
        !self.attempted.is_empty() || self.versions.is_some()
    }

    /// Returns whether Imprint answered a request of the claim without a failure.
    pub(super) const fn is_answered(&self) -> bool {
        self.was_sent() && self.trials.failures == 0
    }

    /// Returns whether the lane belongs to the failing lanes after the settlement: its last request failed, or the
    /// answer has no error type of Imprint and no proof, so that dispatch asks about the lane again and again.
    pub(super) fn is_failing(&self) -> bool {
        let absence = self.unproven.absence;
        let is_untyped = absence.is_none_or(|absence| !absence.is_typed);
        self.trials.failures > 0 || (self.unproven.since.is_some() && is_untyped)
    }

    /// Returns the standing of the lane after the settlement.
    pub(super) fn standing(&self, before: Standing) -> Standing {
        match before {
            _ if self.is_failing() => Standing::Failing,
            Standing::Untried if !self.is_answered() => Standing::Untried,
            Standing::Well | Standing::Untried | Standing::Failing => Standing::Well,
        }
    }
}

/// Imprint's answer about the Imprint id of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recognition {
    /// Imprint gave no answer about the Imprint id.
    #[default]
    Unchanged,
    /// Imprint applied an update under this spelling of the id. The spelling in later events has no effect.
    Applied(ImprintId),
    /// Imprint has no customer with the Imprint id. Dispatch must search by the partner customer id before the next
    /// update.
    Gone,
}

/// The move of entries into a lane with Imprint's id, after a search by the partner customer id found Imprint's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The customer whose lane receives the entries.
    pub to: ImprintId,
    /// The numbers of the entries that move.
    pub entries: Vec<EntryId>,
}
