//! The role of dispatch: claim lanes, settle them, and hear when a lane becomes due.

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
    /// Makes every lane due that has a waiting entry: the reason for its pause is over.
    fn release(&self, now: Timestamp) -> StoreFuture<'_, ()>;
    /// Resolves when a lane may have become due since the future was made.
    ///
    /// A hint, not a promise: an engine that several processes share does not hear all of them, so dispatch polls as well.
    fn woken(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The fencing token of one claim of one lane. `settle` takes it, so that a process that lost its lane changes nothing.
///
/// No two claims of a lane ever have the same token, also over restarts and over several processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimToken {
    /// The number of the engine that claimed: each opening of a store gets its own.
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

/// Which of the lanes that are due are claimed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The longest due.
    LongestDue,
    /// One of those that have failed least, among the [`PROBE_WINDOW`](super::PROBE_WINDOW) longest due; which one, this number decides. To find
    /// out whether a destination is back, a lane is asked that does not always fail, and not the same one each time.
    LeastFailed(u32),
}

impl Pick {
    /// Puts the lanes that are due in the order in which they are claimed.
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

/// What `claim` found.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The lanes claimed, the longest due first.
    pub lanes: Vec<ClaimedLane>,
    /// When the next lane that is not claimed falls due.
    pub next_due: Option<Timestamp>,
}

/// Whose lane it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneKey {
    /// A customer of Imprint's: what waits can be sent.
    Imprint(ImprintId),
    /// Somebody known by the partner's own id: what waits moves to an Imprint lane once it is known which.
    Partner(PartnerCustomerId),
}

impl LaneKey {
    /// The lane of a customer. Imprint's id goes first: only a lane that has it can send.
    pub fn of(customer: &CustomerRef) -> Self {
        match customer {
            CustomerRef::Imprint(imprint) | CustomerRef::Pair { imprint, .. } => {
                Self::Imprint(imprint.clone())
            }
            CustomerRef::Partner(partner) => Self::Partner(partner.clone()),
        }
    }
}

/// How the requests of a lane have fared since one was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trials {
    /// How many have failed: decides how long the lane rests.
    pub failures: u32,
    /// How many of those can only be the lane's own fault: enough of them park what was sent.
    pub attempts: u32,
    /// When the last one failed.
    pub tried_at: Option<Timestamp>,
}

/// Which customer of Imprint's somebody is, as Imprint said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLink {
    /// The partner's own id.
    pub partner: PartnerCustomerId,
    /// Imprint's id; `None` where Imprint knows nobody by the partner's.
    pub imprint: Option<ImprintId>,
    /// When Imprint said so.
    pub confirmed_at: Timestamp,
}

/// One lane that is due, claimed for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedLane {
    /// Which lane; it is claimed by nobody else until it is settled.
    pub lane: LaneId,
    /// The token of this claim, for its settlement.
    pub token: ClaimToken,
    /// Whose it is; `None` if what the store kept of it cannot be read, and then `waiting` is empty.
    pub key: Option<LaneKey>,
    /// What Imprint has of this customer, as far as we know.
    pub versions: LaneVersions,
    /// How its requests have fared.
    pub trials: Trials,
    /// Entries up to this number are sent one by one, because a request that carried several of them was rejected.
    pub unfold_to: Option<EntryId>,
    /// Entries up to this number may have been sent by a process before this one.
    pub maybe_sent_to: Option<EntryId>,
    /// What waits, the newest arrivals if there are more than [`WAITING_WINDOW`](super::WAITING_WINDOW).
    pub waiting: Vec<WaitingEntry>,
    /// What Imprint has said of the partner's ids that are named here.
    pub links: Vec<IdentityLink>,
    /// Entries of which the store cannot read what it kept.
    pub unreadable: Vec<EntryId>,
}

impl ClaimedLane {
    /// A lane of which nothing is known but how it has fared.
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

    /// What waits, as folding sees it.
    pub fn candidates(&self) -> Vec<Candidate<'_>> {
        self.waiting.iter().map(WaitingEntry::candidate).collect()
    }
}

/// One entry that waits in a claimed lane.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingEntry {
    /// Which entry.
    pub entry: EntryId,
    /// How new its facts are.
    pub version: Version,
    /// What it sets.
    pub update: Update,
    /// Whom it is about.
    pub customer: CustomerRef,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

impl WaitingEntry {
    /// The entry, as folding sees it.
    pub const fn candidate(&self) -> Candidate<'_> {
        Candidate {
            version: self.version,
            update: &self.update,
        }
    }
}

/// How one entry of a claimed lane ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Imprint has it.
    Delivered,
    /// The facts of this entry won.
    Superseded(EntryId),
    /// There was nothing to send, or nobody to send it to.
    Ignored,
    /// A person must look.
    Parked {
        /// Why.
        reason: ParkReason,
        /// What Imprint said, without values: its `type` and `param`.
        detail: Option<String>,
    },
    /// Its requests failed for a long time, and nothing has proved whose fault that is. An operator decides.
    Undecided,
}

impl Ending {
    /// The state it leads to.
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

/// What one request, or the decision to make none, means for its lane. Written in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// Which lane; it is free again afterwards.
    pub lane: LaneId,
    /// The token of the claim that this settles.
    pub token: ClaimToken,
    /// The entries that end.
    pub endings: Vec<(EntryId, Ending)>,
    /// The entries an attempt is counted for.
    pub attempted: Vec<EntryId>,
    /// The entries that go on in another lane.
    pub moved: Option<Moved>,
    /// What Imprint said of a partner's id.
    pub new_link: Option<IdentityLink>,
    /// The lane's versions, where they moved.
    pub versions: Option<LaneVersions>,
    /// How its requests have fared.
    pub trials: Trials,
    /// Up to which entry the lane is sent one by one.
    pub unfold_to: Option<EntryId>,
    /// When the lane is due again, if anything is left in it.
    pub due: Timestamp,
    /// When it is due if nothing is left in it: to assert facts once more.
    pub reassert_at: Option<Timestamp>,
    /// When this was decided.
    pub at: Timestamp,
}

/// Entries of which it is known now whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The customer in whose lane they go on.
    pub to: ImprintId,
    /// Which.
    pub entries: Vec<EntryId>,
}
