//! The SQL of settling: recording what came of a claimed lane.

use rusqlite::{Connection, OptionalExtension, params};

use super::append::{code, reason_code};
use super::counts::Counts;
use super::identity_link;
use super::lane::{Entrance, EntryLane};
use crate::outbox::{Ending, EntryId, LaneKey, Moved, Priority, Settlement, State};
use crate::time::Timestamp;

/// Records a settlement; returns which entries it settled.
pub(super) fn settle(
    connection: &Connection,
    settlement: &Settlement,
    counts: &mut Counts,
) -> rusqlite::Result<Vec<(EntryId, State)>> {
    // At most as many as one request carries.
    let mut attempted = settlement.attempted.clone();
    let mut settled = Vec::with_capacity(settlement.endings.len());
    for (entry, ending) in &settlement.endings {
        let was_attempted = attempted.contains(entry);
        if finish(connection, settlement, (*entry, was_attempted), ending)? {
            attempted.retain(|other| other != entry);
            settled.push((*entry, ending.state()));
            counts.waiting = counts.waiting.saturating_sub(1);
            counts.parked += u64::from(ending.state() == State::Parked);
        }
    }
    for entry in &attempted {
        connection
            .prepare_cached("UPDATE entry SET attempts = attempts + 1 WHERE id = ?1")?
            .execute([entry.0])?;
    }
    if let Some(pair) = &settlement.new_link {
        identity_link::learn(connection, pair)?;
    }
    if let Some(moved) = settlement
        .moved
        .as_ref()
        .filter(|moved| !moved.entries.is_empty())
    {
        go_on(connection, settlement, moved)?;
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
            // Asked twice, because an update from a joined query is written by way of a table of its own.
            "UPDATE lane SET versions = coalesce(?2, versions), failures = ?3, spent = ?4, tried_at = ?5, unfold_to = ?6,
                    idle = NOT EXISTS (SELECT 1 FROM waiting WHERE lane = ?1),
                    due_at = CASE WHEN EXISTS (SELECT 1 FROM waiting WHERE lane = ?1) THEN ?7 ELSE ?8 END
             WHERE id = ?1",
        )?
        .execute(params![
            settlement.lane.0,
            versions,
            settlement.trials.failures,
            settlement.trials.attempts,
            settlement.trials.tried_at.map(Timestamp::as_millis),
            settlement.unfold_to.map(|entry| entry.0),
            settlement.due.as_millis(),
            settlement.reassert_at.map(Timestamp::as_millis),
        ])?;
    Ok(settled)
}

/// Lets entries go on in the lane of the customer that they turned out to be about.
fn go_on(connection: &Connection, settlement: &Settlement, moved: &Moved) -> rusqlite::Result<()> {
    let priority = connection
        .prepare_cached("SELECT low FROM lane WHERE id = ?1")?
        .query_row([settlement.lane.0], |row| row.get::<_, bool>(0))?;
    let priority = if priority {
        Priority::Low
    } else {
        Priority::Live
    };
    let key = LaneKey::Imprint(moved.to.clone());
    let lane = EntryLane::of(connection, &key, Entrance::Waiting(priority, settlement.at))?;
    lane.enter(connection)?;
    for entry in &moved.entries {
        for table in ["waiting", "entry"] {
            let id = if table == "entry" { "id" } else { "entry" };
            connection
                .prepare_cached(&format!(
                    "UPDATE {table} SET lane = ?2 WHERE {id} = ?1 AND lane = ?3"
                ))?
                .execute(params![entry.0, lane.id, settlement.lane.0])?;
        }
    }
    Ok(())
}

/// Ends one entry, unless it has ended before; its payload goes, or goes to where parked entries keep theirs.
fn finish(
    connection: &Connection,
    settlement: &Settlement,
    (entry, was_attempted): (EntryId, bool),
    ending: &Ending,
) -> rusqlite::Result<bool> {
    if let Ending::Parked { reason, detail } = ending {
        connection
            .prepare_cached(
                "INSERT INTO parked (entry, lane, reason, detail, epoch, value, facts, event, partner, stated, accepted_at)
                 SELECT entry, lane, ?2, ?3, epoch, value, facts, event, partner, stated, accepted_at
                 FROM waiting WHERE entry = ?1",
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
            "UPDATE entry SET state = ?2, settled_at = ?3, superseded_by = ?4, attempts = attempts + ?5 WHERE id = ?1",
        )?
        .execute(params![
            entry.0,
            code(ending.state()),
            settlement.at.as_millis(),
            winner,
            was_attempted,
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
