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
    /// The claims of an ended lease that dispatch has not given back: their requests are possibly in flight.
    late: HashMap<LaneId, ClaimToken>,
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
    /// True if dispatch has the claim, and settles it.
    is_given: bool,
}

impl HeldClaims {
    pub(super) fn insert(&mut self, lane: LaneId, token: ClaimToken) {
        let claim = HeldClaim {
            token,
            newest: None,
            is_given: false,
        };
        self.claimed.insert(lane, claim);
    }

    /// Records that dispatch gets this claim. If the lease has ended since the claim, dispatch sends nothing under it.
    pub(super) fn give(&mut self, lane: LaneId, token: ClaimToken) {
        let claim = self.claimed.get_mut(&lane);
        if let Some(claim) = claim.filter(|claim| claim.token == token) {
            claim.is_given = true;
        }
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

    /// Ends a claim, if it still has this token. Returns whether claims left the lane out until now because of a late claim.
    pub(super) fn free(&mut self, lane: LaneId, token: ClaimToken) -> bool {
        if self.holds(lane, token) {
            self.claimed.remove(&lane);
        }
        let is_late = self.late.get(&lane) == Some(&token);
        if is_late {
            self.late.remove(&lane);
        }
        is_late
    }

    /// Ends claims that dispatch never got. The database possibly has them until the next agreement.
    pub(super) fn forget(&mut self, claims: &[(LaneId, ClaimToken)]) {
        for (lane, token) in claims {
            self.free(*lane, *token);
        }
        self.unsent.extend(claims);
    }

    /// Ends every claim, because the lease of the replica has ended. The replica leaves the lanes that dispatch has out of
    /// later claims until dispatch gives them back: otherwise it would send two requests of one customer at once. Other
    /// replicas can claim them.
    pub(super) fn clear(&mut self) {
        let given = self.claimed.drain().filter(|(_, claim)| claim.is_given);
        self.late
            .extend(given.map(|(lane, claim)| (lane, claim.token)));
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

    /// Returns whether a lane has a late claim.
    pub(super) fn is_late(&self, lane: LaneId) -> bool {
        self.late.contains_key(&lane)
    }

    /// Returns the lanes that claims leave out: they wait for a missing sealing key, or have a late claim.
    pub(super) fn left_out(&self) -> impl Iterator<Item = LaneId> {
        self.locked.iter().chain(self.late.keys()).copied()
    }

    /// Lets claims include all lanes again.
    pub(super) fn unlock(&mut self) {
        self.locked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: LaneId = LaneId(1);

    const fn token(owner: u64) -> ClaimToken {
        ClaimToken { owner, epoch: 1 }
    }

    fn left_out(claims: &HeldClaims) -> Vec<LaneId> {
        claims.left_out().collect()
    }

    /// FAULTS N1522: only a settlement or the return of the claim lets the replica claim the lane again.
    #[test]
    fn a_late_claim_leaves_its_lane_out_until_dispatch_gives_it_back() {
        for is_unsent in [false, true] {
            let mut claims = HeldClaims::default();
            claims.insert(LANE, token(7));
            claims.give(LANE, token(7));
            assert_eq!(left_out(&claims), []);
            claims.clear();
            claims.clear();
            assert_eq!(left_out(&claims), [LANE]);
            assert!(!claims.holds(LANE, token(7)));
            assert!(!claims.free(LANE, token(8)));
            assert_eq!(left_out(&claims), [LANE]);
            match is_unsent {
                true => claims.forget(&[(LANE, token(7))]),
                false => assert!(claims.free(LANE, token(7))),
            }
            assert_eq!(left_out(&claims), []);
        }
    }

    /// FAULTS N1522: dispatch gives back only the claims that it got before the lease ended.
    #[test]
    fn a_claim_that_dispatch_does_not_have_leaves_no_lane_out() {
        let mut claims = HeldClaims::default();
        claims.insert(LANE, token(7));
        claims.clear();
        claims.give(LANE, token(7));
        claims.insert(LANE, token(8));
        claims.give(LANE, token(7));
        claims.clear();
        assert_eq!(left_out(&claims), []);
    }
}
