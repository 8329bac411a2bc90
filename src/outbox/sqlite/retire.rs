//! The SQL statements that retire idle customers: the lane of a customer becomes a tombstone that keeps its versions.

use rusqlite::{Row, params};

use super::claimed_lanes::ClaimedLanes;
use super::store_connection::StoreConnection;
use super::writer::job::{ActJob, Wakes, WriterCommand};
use super::{SqliteOutbox, columns, identity_link, lane, tombstones};
use crate::failpoint::{self, CrashPoint};
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{LaneId, LaneKey, RETIRE_MAX, Retirement, StoreFuture};
use crate::time::Timestamp;

impl SqliteOutbox {
    /// Runs one step of the retirement on the writer thread.
    pub(super) fn retire_step(
        &self,
        from: LaneId,
        before: Timestamp,
    ) -> StoreFuture<'_, Retirement> {
        self.ask(|reply| {
            let act = ActJob::with_claims(reply, Wakes::Nobody, move |store, _, claimed| {
                step(store, (from, before), claimed)
            });
            WriterCommand::Act(act)
        })
    }
}

fn step(
    store: &StoreConnection,
    (from, before): (LaneId, Timestamp),
    claimed: &ClaimedLanes,
) -> rusqlite::Result<Retirement> {
    let last: Option<u64> = store
        .prepare_cached(
            "SELECT max(id) FROM (SELECT id FROM lane WHERE id >= ?1 ORDER BY id LIMIT ?2)",
        )?
        .query_row(params![from.0, RETIRE_MAX], |row| row.get(0))?;
    let mut retired = Retirement {
        customers: 0,
        next: last.map(|last| LaneId(last.saturating_add(1))),
    };
    let Some(last) = last else {
        return Ok(retired);
    };
    for (lane, key) in idle_lanes(store, (from, LaneId(last)), before)? {
        // A lane that its id does not find is damaged, and so is a lane beside a tombstone of its customer.
        let is_found = lane::find(store, &key)? == Some(lane);
        let is_sound = is_found && tombstones::find(store, &key)?.is_none();
        if !is_sound || claimed.is_claimed(lane) || identity_link::is_linked(store, &key)? {
            continue;
        }
        if retired.customers == 0 {
            tombstones::announce_retired(store)?;
        }
        store
            .prepare_cached("DELETE FROM origin WHERE lane = ?1")?
            .execute([lane.0])?;
        tombstones::bury(store, lane, &key, TombstoneKind::Retired)?;
        retired.customers += 1;
    }
    failpoint::crash_point(CrashPoint::BeforeRetirement);
    Ok(retired)
}

/// Finds the lanes in a range without an entry, a receipt, a due time, a request that possibly arrives late, an unproven
/// answer, and a delivery since `before`. Leaves out lanes whose id the bridge cannot read.
fn idle_lanes(
    store: &StoreConnection,
    (from, last): (LaneId, LaneId),
    before: Timestamp,
) -> rusqlite::Result<Vec<(LaneId, LaneKey)>> {
    // An index on the kind would find every lane of the store. Without indexes, SQLite uses the range of numbers.
    let mut statement = store.prepare_cached(
        "SELECT id, kind, received FROM lane AS l NOT INDEXED
         WHERE id BETWEEN ?1 AND ?2 AND kind IN (0, 1) AND due_at IS NULL AND maybe_sent = 0
            AND blamed_since IS NULL AND unproven_since IS NULL AND absence IS NULL
            AND NOT EXISTS (SELECT 1 FROM entry INDEXED BY entry_ended WHERE lane = l.id AND settled_at IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM waiting WHERE lane = l.id)
            AND NOT EXISTS (SELECT 1 FROM parked WHERE lane = l.id)
            AND NOT EXISTS (SELECT 1 FROM held WHERE lane = l.id)
            AND NOT EXISTS (SELECT 1 FROM undecided WHERE lane = l.id)
            AND NOT EXISTS (SELECT 1 FROM origin WHERE lane = l.id AND delivered_at >= ?3)",
    )?;
    let idle = statement.query_map(params![from.0, last.0, before.as_millis()], |row| {
        idle_lane(row, store)
    })?;
    Ok(columns::readable(idle)?.into_iter().flatten().collect())
}

fn idle_lane(
    row: &Row<'_>,
    store: &StoreConnection,
) -> rusqlite::Result<Option<(LaneId, LaneKey)>> {
    let lane = LaneId(row.get(0)?);
    match columns::lane_key(row, (1, 2), (lane, store.sealer())) {
        // Retention must not wait for the sealing key.
        Err(error) if columns::missing_key(&error).is_some() => Ok(None),
        key => Ok(key?.map(|key| (lane, key))),
    }
}
