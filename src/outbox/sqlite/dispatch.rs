//! The SQL of the delivering side: claiming lanes, and recording what came of them.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::append::{code, reason_code};
use super::writer::Counts;
use crate::event::Version;
use crate::fold::LaneVersions;
use crate::imprint::{ImprintId, Update};
use crate::outbox::{
    CLAIM_BYTES_MAX, Claim, ClaimedLane, Ending, EntryId, LaneId, PROBE_WINDOW, Pick, Settlement,
    State, WAITING_WINDOW, WaitingEntry,
};
use crate::time::Timestamp;

/// A lane's row, before what waits in it is read.
struct LaneRow {
    lane: LaneId,
    received: String,
    due: Timestamp,
    failures: u32,
    unfold_to: Option<u64>,
    versions: Option<Vec<u8>>,
}

/// Claims up to `max` lanes that are due and not in flight.
pub(super) fn claim(
    connection: &Connection,
    in_flight: &HashSet<LaneId>,
    now: Timestamp,
    (max, pick): (usize, Pick),
) -> rusqlite::Result<Claim> {
    let window = match pick {
        Pick::LongestDue => max,
        Pick::LeastFailed(_) => max.max(PROBE_WINDOW),
    };
    // Lanes in flight are still due: skipping all of them costs that many rows at most.
    let limit = window.saturating_add(in_flight.len()).saturating_add(1);
    let mut free = connection
        .prepare_cached(
            "SELECT id, received, due_at, failures, unfold_to, versions FROM lane
             WHERE due_at IS NOT NULL ORDER BY due_at, id LIMIT ?1",
        )?
        .query_map([limit], lane_row)?
        .filter(|row| !row.as_ref().is_ok_and(|row| in_flight.contains(&row.lane)))
        .take(window.saturating_add(1))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let later = free.split_off(free.partition_point(|row| row.due <= now));
    pick.sort(&mut free, |row| row.failures);
    let next_due = free.get(max).or_else(|| later.first()).map(|row| row.due);
    free.truncate(max);
    let lanes = free
        .into_iter()
        .map(|row| read_lane(connection, row))
        .collect::<rusqlite::Result<_>>()?;
    Ok(Claim { lanes, next_due })
}

fn lane_row(row: &Row<'_>) -> rusqlite::Result<LaneRow> {
    Ok(LaneRow {
        lane: LaneId(row.get(0)?),
        received: row.get(1)?,
        due: Timestamp::from_millis(row.get(2)?),
        failures: row.get(3)?,
        unfold_to: row.get(4)?,
        versions: row.get(5)?,
    })
}

fn read_lane(connection: &Connection, row: LaneRow) -> rusqlite::Result<ClaimedLane> {
    let versions = match row.versions {
        Some(kept) => serde_json::from_slice(&kept).ok(),
        None => Some(LaneVersions::default()),
    };
    let customer = ImprintId::parse(&row.received);
    // What cannot be read is never guessed: without its versions a lane could send facts that are overtaken.
    let readable = versions.is_some() && customer.is_ok();
    let mut waiting = Vec::new();
    let mut unreadable = Vec::new();
    let mut statement = connection
        .prepare_cached("SELECT entry, epoch, value, facts FROM waiting WHERE lane = ?1 ORDER BY entry DESC LIMIT ?2")?;
    let mut rows = statement.query(params![row.lane.0, WAITING_WINDOW])?;
    let mut bytes = 0;
    while bytes < CLAIM_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        bytes += row.get_ref(3)?.as_blob()?.len();
        let entry = EntryId(row.get(0)?);
        let version = Version {
            epoch: row.get(1)?,
            value: row.get(2)?,
            arrival: entry.0,
        };
        match serde_json::from_slice::<Update>(row.get_ref(3)?.as_blob()?) {
            Ok(update) if readable => waiting.push(WaitingEntry {
                entry,
                version,
                update,
            }),
            Ok(_) | Err(_) => unreadable.push(entry),
        }
    }
    Ok(ClaimedLane {
        lane: row.lane,
        customer: customer.ok(),
        versions: versions.unwrap_or_default(),
        failures: row.failures,
        unfold_to: row.unfold_to.map(EntryId),
        waiting,
        unreadable,
    })
}

/// Records a settlement; returns which entries it settled.
pub(super) fn settle(
    connection: &Connection,
    settlement: &Settlement,
    counts: &mut Counts,
) -> rusqlite::Result<Vec<(EntryId, State)>> {
    for entry in &settlement.attempted {
        connection
            .prepare_cached("UPDATE entry SET attempts = attempts + 1 WHERE id = ?1")?
            .execute([entry.0])?;
    }
    let mut settled = Vec::with_capacity(settlement.endings.len());
    for (entry, ending) in &settlement.endings {
        if finish(connection, settlement, *entry, ending)? {
            settled.push((*entry, ending.state()));
            counts.waiting = counts.waiting.saturating_sub(1);
            counts.parked += u64::from(ending.state() == State::Parked);
        }
    }
    let versions = settlement
        .versions
        .as_ref()
        .map(serde_json::to_vec)
        .transpose();
    let versions =
        versions.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached(
            "UPDATE lane SET versions = coalesce(?2, versions), failures = ?3, unfold_to = ?4,
                    due_at = CASE WHEN EXISTS (SELECT 1 FROM waiting WHERE lane = ?1) THEN ?5 END
             WHERE id = ?1",
        )?
        .execute(params![
            settlement.lane.0,
            versions,
            settlement.failures,
            settlement.unfold_to.map(|entry| entry.0),
            settlement.due.as_millis(),
        ])?;
    Ok(settled)
}

/// Ends one entry, unless it has ended before; its payload goes, or goes to where parked entries keep theirs.
fn finish(
    connection: &Connection,
    settlement: &Settlement,
    entry: EntryId,
    ending: &Ending,
) -> rusqlite::Result<bool> {
    if let Ending::Parked { reason, detail } = ending {
        connection
            .prepare_cached(
                "INSERT INTO parked (entry, lane, reason, detail, epoch, value, facts, event)
                 SELECT entry, lane, ?2, ?3, epoch, value, facts, event FROM waiting WHERE entry = ?1",
            )?
            .execute(params![entry.0, reason_code(*reason), detail])?;
    }
    let gone = connection
        .prepare_cached("DELETE FROM waiting WHERE entry = ?1 AND lane = ?2")?
        .execute(params![entry.0, settlement.lane.0])?;
    if gone == 0 {
        return Ok(false);
    }
    let winner = match ending {
        Ending::Superseded(winner) => Some(winner.0),
        Ending::Delivered | Ending::Ignored | Ending::Parked { .. } => None,
    };
    connection
        .prepare_cached(
            "UPDATE entry SET state = ?2, settled_at = ?3, superseded_by = ?4 WHERE id = ?1",
        )?
        .execute(params![
            entry.0,
            code(ending.state()),
            settlement.at.as_millis(),
            winner
        ])?;
    Ok(true)
}

/// When the oldest waiting entry was accepted.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT accepted_at FROM entry WHERE id = (SELECT entry FROM waiting ORDER BY entry LIMIT 1)",
        )?
        .query_row([], |row| row.get(0).map(Timestamp::from_millis))
        .optional()
}
