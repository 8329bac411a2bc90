//! The claims of this replica, beside the claims in the database.
//!
//! The database decides whether a claim holds. This copy answers repeated settlements without the database, keeps what a
//! settlement needs of its claim, and shows which lanes the replica has without knowing it: the connection broke after the
//! commit of the claim, or the database lost the settlement in a crash. See [`own_lanes`](super::own_lanes).

use std::collections::{HashMap, HashSet};

use crate::event::SourceName;
use crate::outbox::{ClaimToken, EntryId, LaneId};

/// The maximum number of lanes for which the replica remembers that they wait for a missing sealing key.
const LOCKED_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct HeldClaims {
    claimed: HashMap<LaneId, HeldClaim>,
    /// The lanes that wait for a sealing key that this process does not have.
    locked: HashSet<LaneId>,
    /// The claims that the database possibly has, although dispatch never got them.
    unsent: HashSet<(LaneId, ClaimToken)>,
    /// True if the database possibly disagrees about other claims. It then possibly lost the settlement of a lane, so the
    /// replica possibly has sent any value of this lane.
    is_suspect: bool,
}

#[derive(Debug)]
struct HeldClaim {
    token: ClaimToken,
    /// The newest claimed entry, and the source of this entry.
    newest: Option<(EntryId, SourceName)>,
}

impl HeldClaims {
    pub(super) fn insert(&mut self, lane: LaneId, token: ClaimToken) {
        let newest = None;
        self.claimed.insert(lane, HeldClaim { token, newest });
    }

    /// Remembers the newest claimed entry of a claimed lane.
    pub(super) fn remember(&mut self, lane: LaneId, newest: Option<(EntryId, SourceName)>) {
        if let Some(claim) = self.claimed.get_mut(&lane) {
            claim.newest = newest;
        }
    }

    /// Returns the newest claimed entry of a claimed lane.
    pub(super) fn newest(&self, lane: LaneId) -> Option<(EntryId, SourceName)> {
        self.claimed.get(&lane)?.newest.clone()
    }

    pub(super) fn holds(&self, lane: LaneId, token: ClaimToken) -> bool {
        let claim = self.claimed.get(&lane);
        claim.is_some_and(|claim| claim.token == token)
    }

    /// Returns the token of a claimed lane.
    pub(super) fn token(&self, lane: LaneId) -> Option<ClaimToken> {
        self.claimed.get(&lane).map(|claim| claim.token)
    }

    /// Returns the claimed lanes.
    pub(super) fn lanes(&self) -> impl Iterator<Item = LaneId> {
        self.claimed.keys().copied()
    }

    /// Returns the lanes of the claims that the database possibly has, although dispatch never got them.
    pub(super) fn unsent_lanes(&self) -> impl Iterator<Item = LaneId> {
        self.unsent.iter().map(|(lane, _)| *lane)
    }

    /// Returns whether dispatch never got this claim.
    pub(super) fn is_unsent(&self, lane: LaneId, token: ClaimToken) -> bool {
        self.unsent.contains(&(lane, token))
    }

    /// Returns whether the replica and the database possibly disagree.
    pub(super) fn needs_agreement(&self) -> bool {
        self.is_suspect || !self.unsent.is_empty()
    }

    /// Records that the database possibly disagrees about claims that dispatch got.
    pub(super) const fn suspect(&mut self) {
        self.is_suspect = true;
    }

    /// Records that the replica and the database agree.
    pub(super) fn agreed(&mut self) {
        self.is_suspect = false;
        self.unsent.clear();
    }

    /// Ends a claim, if it still has this token.
    pub(super) fn free(&mut self, lane: LaneId, token: ClaimToken) {
        if self.holds(lane, token) {
            self.claimed.remove(&lane);
        }
    }

    /// Ends claims that dispatch never got. The database possibly has them until the next agreement.
    pub(super) fn forget(&mut self, claims: &[(LaneId, ClaimToken)]) {
        for (lane, token) in claims {
            self.free(*lane, *token);
        }
        self.unsent.extend(claims);
    }

    /// Ends every claim, because the lease of the replica has ended.
    pub(super) fn clear(&mut self) {
        self.claimed.clear();
        self.unsent.clear();
    }

    /// Leaves a lane out of later claims until [`Self::unlock`].
    pub(super) fn lock(&mut self, lane: LaneId) {
        if !self.has_locked_most() {
            self.locked.insert(lane);
        }
    }

    pub(super) fn has_locked_most(&self) -> bool {
        self.locked.len() >= LOCKED_MAX
    }

    pub(super) fn locked(&self) -> usize {
        self.locked.len()
    }

    /// Returns the lanes that wait for a missing sealing key.
    pub(super) fn locked_lanes(&self) -> impl Iterator<Item = LaneId> {
        self.locked.iter().copied()
    }

    /// Lets claims include all lanes again.
    pub(super) fn unlock(&mut self) {
        self.locked.clear();
    }
}
