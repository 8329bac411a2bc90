//! The words of claiming a lane and settling it.

use super::{EntryId, LaneId, ParkReason, State};
use crate::event::Version;
use crate::fold::{Candidate, LaneVersions};
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId, Update};
use crate::time::Timestamp;

/// Whose lane it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneKey {
    /// A customer of Imprint's: what waits can be sent.
    Imprint(ImprintId),
    /// Somebody known by the partner's own id: what waits moves to an Imprint lane once it is known which.
    Partner(PartnerCustomerId),
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
    pub fn empty(lane: LaneId, trials: Trials) -> Self {
        Self {
            lane,
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
}

impl Ending {
    /// The state it leads to.
    pub const fn state(&self) -> State {
        match self {
            Self::Delivered => State::Delivered,
            Self::Superseded(_) => State::Superseded,
            Self::Ignored => State::Ignored,
            Self::Parked { .. } => State::Parked,
        }
    }
}

/// What one request, or the decision to make none, means for its lane. Written in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// Which lane; it is free again afterwards.
    pub lane: LaneId,
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
