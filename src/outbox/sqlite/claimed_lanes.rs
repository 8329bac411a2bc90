//! The claimed lanes with their claim tokens, and the lanes that an earlier process may have had in flight.
//!
//! The writer thread keeps the claims in memory: after a crash no lane is claimed, and waiting entries are sent again.

use std::collections::{HashMap, HashSet};

use super::counts::EventSize;
use crate::outbox::{ClaimToken, EntryId, LaneId};

#[derive(Debug)]
pub(super) struct ClaimedLanes {
    claimed: HashMap<LaneId, ClaimRecord>,
    /// The token of the newest claim.
    newest: ClaimToken,
    /// The lanes in doubt: an earlier process may have had these lanes in flight.
    pub(super) doubted: HashSet<LaneId>,
    /// The last entry that the earlier process may have sent, of any lane in doubt.
    pub(super) sent_to: EntryId,
}

/// One claim: the token, and the sizes of the events of the claimed entries, so that the settlement need not read them
/// again.
#[derive(Debug)]
struct ClaimRecord {
    token: ClaimToken,
    sizes: Vec<(EntryId, EventSize)>,
}

impl ClaimedLanes {
    /// Creates the set without claimed lanes. The claim tokens of the set carry `owner`, the number of this opening of
    /// the store.
    pub(super) fn new(owner: u64) -> Self {
        Self {
            claimed: HashMap::new(),
            newest: ClaimToken { owner, epoch: 0 },
            doubted: HashSet::new(),
            sent_to: EntryId::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.claimed.len()
    }

    /// Returns whether no lane is claimed and no lane is in doubt. Only then may the store count as closed in order:
    /// otherwise the next start would forget the doubt.
    pub(super) fn is_settled(&self) -> bool {
        self.claimed.is_empty() && self.doubted.is_empty()
    }

    pub(super) fn is_claimed(&self, lane: LaneId) -> bool {
        self.claimed.contains_key(&lane)
    }

    /// Returns the last entry of this lane that an earlier process may have sent, if the lane is in doubt.
    pub(super) fn maybe_sent_to(&self, lane: LaneId) -> Option<EntryId> {
        self.doubted.contains(&lane).then_some(self.sent_to)
    }

    /// Claims a lane and returns the token of the claim.
    pub(super) fn claim(&mut self, lane: LaneId) -> ClaimToken {
        self.newest.epoch += 1;
        let record = ClaimRecord {
            token: self.newest,
            sizes: Vec::new(),
        };
        self.claimed.insert(lane, record);
        self.newest
    }

    /// Remembers the sizes of the events of a claimed lane.
    pub(super) fn remember(&mut self, lane: LaneId, sizes: Vec<(EntryId, EventSize)>) {
        if let Some(record) = self.claimed.get_mut(&lane) {
            record.sizes = sizes;
        }
    }

    /// Returns the sizes of the events of a claimed lane.
    pub(super) fn sizes(&self, lane: LaneId) -> &[(EntryId, EventSize)] {
        self.claimed
            .get(&lane)
            .map_or(&[], |record| record.sizes.as_slice())
    }

    /// Cancels a claim whose answer no caller received. A lane that was in doubt stays in doubt.
    pub(super) fn release(&mut self, lane: LaneId) {
        self.claimed.remove(&lane);
    }

    /// Returns whether the lane is still claimed under this token.
    pub(super) fn holds(&self, lane: LaneId, token: ClaimToken) -> bool {
        let record = self.claimed.get(&lane);
        record.is_some_and(|record| record.token == token)
    }

    /// Removes a settled lane from the set: the lane is free and no longer in doubt.
    pub(super) fn free(&mut self, lane: LaneId) {
        self.claimed.remove(&lane);
        self.doubted.remove(&lane);
    }
}
