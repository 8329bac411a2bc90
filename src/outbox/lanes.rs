//! The role of dispatch: claims lanes, settles lanes, and waits until a lane becomes due.

use std::future::Future;
use std::pin::Pin;

use super::{EntryId, LaneId, ParkReason, Settings, State, StoreFuture};
use crate::event::Version;
use crate::fold::{Candidate, LaneVersions};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId, Update};
use crate::time::Timestamp;

/// The role of dispatch. The dispatcher holds this port and no other.
///
/// Every operation is atomic and bounded. Dropping the future of an operation does not undo the operation.
pub trait Lanes: Settings {
    /// Claims up to `max` lanes that are due at `now`. Each carries the [`ClaimToken`] of this claim.
    fn claim(&self, now: Timestamp, max: usize, pick: Pick) -> StoreFuture<'_, Claim>;
    /// Records the result of a claimed lane and frees the lane, in one transaction.
    ///
    /// Answers [`Settled::Stale`] and changes nothing if the lane is not claimed under the settlement's token any more.
    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Settled>;
    /// Makes every lane due that has a waiting entry. Called when the reason for a pause is over.
    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()>;
    /// Resolves when a lane may have become due after this call.
    ///
    /// The wake-up is a hint: an engine that several processes share misses some changes, so dispatch also polls.
    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The fencing token of one claim of one lane. `settle` checks the token: a process that lost its lane changes nothing.
///
/// No two claims of a lane ever have the same token, across restarts and processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimToken {
    /// The number of the engine that claimed the lane: each opening of a store gets its own number.
    pub owner: u64,
    /// The number of the claim within that engine.
    pub epoch: u64,
}

/// The answer to [`Lanes::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a stale settlement has changed nothing"]
pub enum Settled {
    /// The settlement is on disk and the lane is free.
    Recorded,
    /// The lane is not claimed under this token any more. Nothing was changed.
    Stale,
}

/// The rule by which due lanes are claimed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Lanes that have been due longest come first.
    LongestDue,
    /// Selects among the lanes that have failed least, out of the [`PROBE_WINDOW`](super::PROBE_WINDOW) longest due.
    /// The number picks one of these lanes. A probe of the destination needs a lane that does not always fail, and a
    /// different lane each time.
    LeastFailed(u32),
}

impl Pick {
    /// Sorts due lanes into the order in which they are claimed.
    pub(super) fn sort<T>(self, due: &mut [T], failures: impl Fn(&T) -> u32) {
        let Self::LeastFailed(chance) = self else {
            return;
        };
        due.sort_by_key(&failures);
        let fewest = due.first().map(&failures);
        let equals = due.partition_point(|lane| Some(failures(lane)) == fewest);
        let chosen = usize::try_from(chance)
            .unwrap_or_default()
            .checked_rem(equals)
            .unwrap_or_default();
        if let Some(equals) = due.get_mut(..=chosen) {
            equals.rotate_right(1);
        }
    }
}

/// The result of a claim.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The claimed lanes. The lane that has been due longest comes first.
    pub lanes: Vec<ClaimedLane>,
    /// The time when the next unclaimed lane is due.
    pub next_due: Option<Timestamp>,
}

/// The customer of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneKey {
    /// The customer is known by Imprint's id: the entries can be sent.
    Imprint(ImprintId),
    /// The customer is known by our id only: the entries move into an Imprint lane once a search has found the Imprint
    /// id.
    Partner(PartnerCustomerId),
}

impl LaneKey {
    /// Returns the key for a customer: Imprint's id if the event names that id, because only such a lane can send.
    pub fn of(customer: &CustomerRef) -> Self {
        match customer {
            CustomerRef::Imprint(imprint) | CustomerRef::Pair { imprint, .. } => {
                Self::Imprint(imprint.clone())
            }
            CustomerRef::Partner(partner) => Self::Partner(partner.clone()),
        }
    }
}

/// The failures of a lane since Imprint last applied a request of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trials {
    /// The failed requests. Their number decides how long the lane rests.
    pub failures: u32,
    /// The failed requests that only the lane itself can have caused. After enough attempts its entries are parked.
    pub attempts: u32,
    /// The time when the last request failed.
    pub tried_at: Option<Timestamp>,
}

/// The Imprint id that belongs to our customer id, as Imprint confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLink {
    /// Our customer id.
    pub partner: PartnerCustomerId,
    /// Imprint's id; `None` if Imprint knows no customer by our id.
    pub imprint: Option<ImprintId>,
    /// The time when Imprint confirmed the link.
    pub confirmed_at: Timestamp,
}

/// One lane that is due, claimed for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedLane {
    /// The lane. No other claim gets the lane before it is settled.
    pub lane: LaneId,
    /// The token of this claim, for its settlement.
    pub token: ClaimToken,
    /// The customer; `None` if the stored lane cannot be read, and then `waiting` is empty.
    pub key: Option<LaneKey>,
    /// The versions of the customer's values at Imprint, as far as the store knows.
    pub versions: LaneVersions,
    /// The failures of the lane.
    pub trials: Trials,
    /// Entries up to this number are sent one by one, because a request that carried several of them was rejected.
    pub unfold_to: Option<EntryId>,
    /// An earlier process may have sent entries up to this number.
    pub maybe_sent_to: Option<EntryId>,
    /// The waiting entries; the newest ones if there are more than [`WAITING_WINDOW`](super::WAITING_WINDOW).
    pub waiting: Vec<WaitingEntry>,
    /// The identity links of the ids that the entries of the lane name.
    pub links: Vec<IdentityLink>,
    /// Entries whose stored content cannot be read.
    pub unreadable: Vec<EntryId>,
}

impl ClaimedLane {
    /// Returns a lane without entries, versions and links.
    pub fn empty(lane: LaneId, token: ClaimToken, trials: Trials) -> Self {
        Self {
            lane,
            token,
            key: None,
            versions: LaneVersions::default(),
            trials,
            unfold_to: None,
            maybe_sent_to: None,
            waiting: Vec::new(),
            links: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Returns the waiting entries in the form that folding takes.
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
    /// The customer as the event named it.
    pub customer: CustomerRef,
    /// The time when the entry was accepted.
    pub accepted_at: Timestamp,
}

impl WaitingEntry {
    /// Returns the entry in the form that folding takes.
    pub const fn candidate(&self) -> Candidate<'_> {
        Candidate {
            version: self.version,
            update: &self.update,
        }
    }
}

/// How one entry of a claimed lane ends, or why it is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Imprint has the values of the entry.
    Delivered,
    /// The newer values of the entry with this id won.
    Superseded(EntryId),
    /// There was nothing to send, or Imprint does not know the customer.
    Ignored,
    /// An operator must act on the entry.
    Parked {
        /// The reason.
        reason: ParkReason,
        /// Imprint's answer without values: its `type` and `param`.
        detail: Option<String>,
    },
    /// The requests of the entry failed for a long time without proof which party is at fault. An operator decides.
    Undecided,
}

impl Ending {
    /// Returns the state that the ending leads to.
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

/// The consequences of one request, or of not sending one, for its lane. The store records them in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The lane. The settlement frees the lane.
    pub lane: LaneId,
    /// The token of the claim that the settlement ends.
    pub token: ClaimToken,
    /// The entries that end or are set aside.
    pub endings: Vec<(EntryId, Ending)>,
    /// The entries that the request carried. The store counts an attempt for each of them.
    pub attempted: Vec<EntryId>,
    /// The entries that move into another lane.
    pub moved: Option<Moved>,
    /// An identity link that Imprint confirmed or denied.
    pub new_link: Option<IdentityLink>,
    /// The new versions of the lane, if they changed.
    pub versions: Option<LaneVersions>,
    /// The failures of the lane.
    pub trials: Trials,
    /// Entries up to this number are sent one by one.
    pub unfold_to: Option<EntryId>,
    /// The time when the lane is due again if entries still wait in the lane.
    pub due: Timestamp,
    /// The time when the lane is due if no entry waits in it: values in doubt are then reasserted.
    pub reassert_at: Option<Timestamp>,
    /// The time of the dispatcher's decision.
    pub at: Timestamp,
}

/// The move of entries whose Imprint id was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The customer whose lane they move into.
    pub to: ImprintId,
    /// The entries.
    pub entries: Vec<EntryId>,
}
