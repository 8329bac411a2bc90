//! The claimed lanes with their claim tokens, and the marks of lanes whose entries an earlier process has possibly
//! sent.
//!
//! The writer thread keeps the claims only in memory: after a crash no lane is claimed, and dispatch sends the waiting
//! entries again.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use super::columns;
use super::counts::EventSize;
use crate::outbox::{ClaimBounds, ClaimToken, EntryId, LaneId, MaybeSent, codec};

/// The maximum number of lanes for which the store remembers that they wait for a missing sealing key. Every claim reads
/// the index rows of these lanes again, which takes about ten milliseconds for this number.
///
/// If more lanes wait, the bridge delivers nothing until the key is back or an operator has withdrawn the entries.
const LOCKED_MAX: usize = 65_536;

#[derive(Debug)]
pub(super) struct ClaimedLanes {
    claimed: HashMap<LaneId, ClaimRecord>,
    /// The lanes that wait for a sealing key that the process does not have. The store keeps them only in memory: a
    /// missing key is a condition of the process.
    locked: HashSet<LaneId>,
    /// The token of the newest claim.
    newest: ClaimToken,
    pub(super) bounds: ClaimBounds,
}

/// One claim: the token, and the sizes of the events of the claimed entries. The settlement needs the sizes, and takes
/// them from here instead of from the store.
#[derive(Debug)]
struct ClaimRecord {
    token: ClaimToken,
    sizes: Vec<(EntryId, EventSize)>,
}

impl ClaimedLanes {
    /// Creates an empty set. Every claim token of this set contains `owner`: the store gives each process that opens
    /// the store a new `owner` number.
    pub(super) fn new(owner: u64, bounds: ClaimBounds) -> Self {
        Self {
            claimed: HashMap::new(),
            locked: HashSet::new(),
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

    /// Returns whether the lane is claimed, or waits for a missing sealing key.
    pub(super) fn is_taken(&self, lane: LaneId) -> bool {
        self.is_claimed(lane) || self.locked.contains(&lane)
    }

    /// Returns the number of lanes that are claimed or wait for a missing sealing key.
    pub(super) fn taken(&self) -> usize {
        self.claimed.len().saturating_add(self.locked.len())
    }

    /// Ends the claim of a lane, because its sealing key is missing. No later claim includes the lane until
    /// [`Self::unlock`].
    pub(super) fn lock(&mut self, lane: LaneId) {
        self.free(lane);
        if !self.has_locked_most() {
            self.locked.insert(lane);
        }
    }

    /// Returns whether the store cannot remember a further lane that waits for a missing sealing key.
    pub(super) fn has_locked_most(&self) -> bool {
        self.locked.len() >= LOCKED_MAX
    }

    /// Returns the number of lanes that wait for a missing sealing key.
    pub(super) fn locked(&self) -> usize {
        self.locked.len()
    }

    /// Lets claims include all lanes again. A lane whose sealing key is still missing waits again after its next claim.
    pub(super) fn unlock(&mut self) {
        self.locked.clear();
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

    /// Returns whether the claim with this token is still in progress.
    pub(super) fn holds(&self, lane: LaneId, token: ClaimToken) -> bool {
        let record = self.claimed.get(&lane);
        record.is_some_and(|record| record.token == token)
    }

    /// Ends the claim of a lane. The writer thread calls this after the settlement, or if the caller of the claim is
    /// gone.
    pub(super) fn free(&mut self, lane: LaneId) {
        self.claimed.remove(&lane);
    }

    /// Marks the claimed lanes as possibly sent. The writer thread calls this function before it changes the order of
    /// due lanes.
    ///
    /// After a crash, the store treats the first due lanes as in flight, and would miss claimed lanes at later places.
    pub(super) fn write_down(&self, connection: &Connection) -> rusqlite::Result<()> {
        mark_maybe_sent(connection, self.claimed.keys().copied())
    }
}

/// Returns the newest entry of the store.
pub(super) fn newest_entry(connection: &Connection) -> rusqlite::Result<EntryId> {
    let mut newest = connection.prepare_cached("SELECT max(id) FROM entry")?;
    newest.query_row([], |row| Ok(EntryId(columns::or_default(row, 0))))
}

/// Marks the waiting entries of lanes as possibly sent: every entry up to the newest entry in the store.
pub(super) fn mark_maybe_sent(
    connection: &Connection,
    lanes: impl IntoIterator<Item = LaneId>,
) -> rusqlite::Result<()> {
    let newest = newest_entry(connection)?;
    let mark = codec::maybe_sent_number(MaybeSent::Entries(newest));
    let mut update = connection
        .prepare_cached("UPDATE lane SET maybe_sent = ?2 WHERE id = ?1 AND maybe_sent >= 0")?;
    for lane in lanes {
        update.execute(params![lane.0, mark])?;
    }
    Ok(())
}
