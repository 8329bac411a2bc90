//! The claimed lanes with their claim tokens, and the marks of lanes that a process may have had in flight at its end.
//!
//! The writer thread keeps the claims in memory: after a crash no lane is claimed, and waiting entries are sent again.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::columns;
use super::counts::EventSize;
use crate::outbox::{ClaimBounds, ClaimToken, EntryId, LaneId, MaybeSent, codec};

#[derive(Debug)]
pub(super) struct ClaimedLanes {
    claimed: HashMap<LaneId, ClaimRecord>,
    /// The token of the newest claim.
    newest: ClaimToken,
    pub(super) bounds: ClaimBounds,
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
    pub(super) fn new(owner: u64, bounds: ClaimBounds) -> Self {
        Self {
            claimed: HashMap::new(),
            newest: ClaimToken { owner, epoch: 0 },
            bounds,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.claimed.len()
    }

    pub(super) fn is_claimed(&self, lane: LaneId) -> bool {
        self.claimed.contains_key(&lane)
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

    /// Returns whether the lane is still claimed under this token.
    pub(super) fn holds(&self, lane: LaneId, token: ClaimToken) -> bool {
        let record = self.claimed.get(&lane);
        record.is_some_and(|record| record.token == token)
    }

    /// Removes a lane from the set: its settlement is recorded, or no caller received the answer to its claim.
    pub(super) fn free(&mut self, lane: LaneId) {
        self.claimed.remove(&lane);
    }

    /// Marks the claimed lanes in the store, before a change of the order of due lanes. A start after a crash takes the
    /// first due lanes for lanes in flight, and would not find the claimed lanes in another order.
    pub(super) fn write_down(&self, connection: &Connection) -> rusqlite::Result<()> {
        mark_maybe_sent(connection, self.claimed.keys().copied())
    }
}

/// Marks lanes whose waiting entries a process may have sent: all entries that the store has now.
pub(super) fn mark_maybe_sent(
    connection: &Connection,
    lanes: impl IntoIterator<Item = LaneId>,
) -> rusqlite::Result<()> {
    let newest = connection
        .prepare_cached("SELECT max(id) FROM entry")?
        .query_row([], |row| Ok(EntryId(columns::or_default(row, 0))))?;
    let mark = codec::maybe_sent_number(MaybeSent::Entries(newest));
    let mut update = connection
        .prepare_cached("UPDATE lane SET maybe_sent = ?2 WHERE id = ?1 AND maybe_sent >= 0")?;
    for lane in lanes {
        update.execute(params![lane.0, mark])?;
    }
    Ok(())
}
