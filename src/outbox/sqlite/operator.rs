//! The SQL of what a person does with entries.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::append::{code, key};
use super::claim::lane_key;
use super::counts::Counts;
use super::decode_cache::DecodeCache;
use super::lane::{Entrance, EntryLane};
use super::receipt::{ENTRY, listed};
use super::{audit, claim};
use crate::event::Version;
use crate::fold::LaneVersions;
use crate::imprint::{CustomerChange, PartnerCustomerId, Update};
use crate::outbox::{
    AuditEvent, EntryFilter, EntryId, EntryPage, Inspection, LaneId, Priority, Replay, SCAN_MAX,
    State,
};
use crate::time::Timestamp;

/// Looks for entries.
pub(super) fn list(connection: &Connection, listing: &EntryFilter) -> rusqlite::Result<EntryPage> {
    // What waits and what is parked is a small part of what was ever accepted, and has a table of its own.
    let among = match listing.state {
        State::Waiting => {
            "WHERE e.id IN (SELECT entry FROM waiting WHERE entry > ?1 ORDER BY entry LIMIT ?2)"
        }
        State::Parked => {
            "WHERE e.id IN (SELECT entry FROM parked WHERE entry > ?1 ORDER BY entry LIMIT ?2)"
        }
        State::Delivered | State::Superseded | State::Ignored | State::Discarded => {
            "WHERE e.id > ?1"
        }
    };
    let mut statement =
        connection.prepare_cached(&format!("{ENTRY} {among} ORDER BY e.id LIMIT ?2"))?;
    let mut rows = statement.query(params![listing.after.0, SCAN_MAX])?;
    let mut found = EntryPage::default();
    let mut looked_at = 0;
    let mut last = listing.after;
    while let Some(row) = rows.next()? {
        let listed = listed(row)?;
        looked_at += 1;
        last = listed.receipt.entry;
        if listing.matches(&listed) {
            found.entries.push(listed);
        }
        if found.entries.len() >= listing.max {
            found.next = Some(last);
            return Ok(found);
        }
    }
    found.next = (looked_at == SCAN_MAX).then_some(last);
    Ok(found)
}

/// Everything that is kept of one entry.
pub(super) fn inspect(
    connection: &Connection,
    entry: EntryId,
) -> rusqlite::Result<Option<Inspection>> {
    let listed = connection
        .prepare_cached(&format!("{ENTRY} WHERE e.id = ?1"))?
        .query_row([entry.0], listed)
        .optional()?;
    let Some(listed) = listed else {
        return Ok(None);
    };
    let payload = connection
        .prepare_cached(
            "SELECT lane, epoch, value, facts, event FROM waiting WHERE entry = ?1
             UNION ALL SELECT lane, epoch, value, facts, event FROM parked WHERE entry = ?1",
        )?
        .query_row([entry.0], payload(entry))
        .optional()?;
    let Some((lane, facts, event)) = payload else {
        return Ok(Some(Inspection {
            listed,
            facts: None,
            event: None,
            versions: LaneVersions::default(),
            waiting: Vec::new(),
        }));
    };
    let (waiting, _) = claim::waiting(
        connection,
        lane,
        listed.customer.as_ref(),
        &mut DecodeCache::default(),
    )?;
    Ok(Some(Inspection {
        versions: versions(connection, lane)?,
        listed,
        facts,
        event: Some(event),
        waiting,
    }))
}

type EntryPayload = (LaneId, Option<(Version, Update)>, Vec<u8>);

fn payload(entry: EntryId) -> impl FnOnce(&Row<'_>) -> rusqlite::Result<EntryPayload> {
    move |row| {
        let version = Version {
            epoch: row.get(1)?,
            value: row.get(2)?,
            arrival: entry.0,
        };
        let update = serde_json::from_slice(row.get_ref(3)?.as_bytes().unwrap_or_default()).ok();
        let facts = update.map(|update| (version, update));
        Ok((LaneId(row.get(0)?), facts, row.get(4)?))
    }
}

fn versions(connection: &Connection, lane: LaneId) -> rusqlite::Result<LaneVersions> {
    let kept: Option<Vec<u8>> = connection
        .prepare_cached("SELECT versions FROM lane WHERE id = ?1")?
        .query_row([lane.0], |row| row.get(0))?;
    Ok(kept
        .and_then(|kept| serde_json::from_slice(&kept).ok())
        .unwrap_or_default())
}

/// Lets parked entries wait again; those that are not parked stay as they are. Says which moved.
pub(super) fn replay(
    connection: &Connection,
    replays: &[Replay],
    act: &AuditEvent,
    counts: &mut Counts,
) -> rusqlite::Result<Vec<EntryId>> {
    let mut moved = Vec::new();
    for replay in replays {
        if replay_one(connection, replay, act.at)? {
            moved.push(replay.entry);
        }
    }
    let number = u64::try_from(moved.len()).unwrap_or(u64::MAX);
    counts.parked = counts.parked.saturating_sub(number);
    counts.waiting = counts.waiting.saturating_add(number);
    audit::append(connection, act, moved.len())?;
    Ok(moved)
}

fn replay_one(connection: &Connection, replay: &Replay, now: Timestamp) -> rusqlite::Result<bool> {
    let parked: Option<(i64, i64, String)> = connection
        .prepare_cached(
            "SELECT l.id, l.kind, l.received FROM parked p JOIN lane l ON l.id = p.lane WHERE p.entry = ?1",
        )?
        .query_row([replay.entry.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((lane, kind, received)) = parked else {
        return Ok(false);
    };
    // Behind what is live, in the lane that it states today or else in its own.
    let key = match &replay.change {
        Some(change) => Some(key(change)),
        None => lane_key(kind, &received),
    };
    let lane = match key {
        Some(key) => {
            let lane = EntryLane::of(connection, &key, Entrance::Waiting(Priority::Low, now))?;
            lane.enter(connection)?;
            lane.id
        }
        None => lane,
    };
    connection
        .prepare_cached(
            "INSERT INTO waiting (entry, lane, epoch, value, facts, event, partner, stated, accepted_at)
             SELECT entry, ?2, epoch, value, facts, event, partner, stated, accepted_at FROM parked WHERE entry = ?1",
        )?
        .execute(params![replay.entry.0, lane])?;
    connection
        .prepare_cached("UPDATE lane SET failures = 0, spent = 0, tried_at = NULL WHERE id = ?1")?
        .execute([lane])?;
    if let Some(change) = &replay.change {
        restate(connection, replay.entry, change)?;
    }
    connection
        .prepare_cached("DELETE FROM parked WHERE entry = ?1")?
        .execute([replay.entry.0])?;
    connection
        .prepare_cached("UPDATE entry SET state = ?2, settled_at = NULL, lane = ?3 WHERE id = ?1")?
        .execute(params![replay.entry.0, code(State::Waiting), lane])?;
    Ok(true)
}

/// Has a waiting entry state what it comes to today.
fn restate(
    connection: &Connection,
    entry: EntryId,
    change: &CustomerChange,
) -> rusqlite::Result<usize> {
    let facts = serde_json::to_vec(&change.update)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached(
            "UPDATE waiting SET epoch = ?2, value = ?3, facts = ?4, partner = ?5, stated = ?6 WHERE entry = ?1",
        )?
        .execute(params![
            entry.0,
            change.version.epoch,
            change.version.value,
            facts,
            change.customer.partner().map(PartnerCustomerId::as_str),
            change.customer.imprint().is_some(),
        ])
}

/// Ends parked entries for good, and forgets what was in them. Says which.
pub(super) fn discard(
    connection: &Connection,
    entries: &[EntryId],
    act: &AuditEvent,
    counts: &mut Counts,
) -> rusqlite::Result<Vec<EntryId>> {
    let mut gone = Vec::new();
    for entry in entries {
        let deleted = connection
            .prepare_cached("DELETE FROM parked WHERE entry = ?1")?
            .execute([entry.0])?;
        if deleted == 0 {
            continue;
        }
        connection
            .prepare_cached("UPDATE entry SET state = ?2, settled_at = ?3 WHERE id = ?1")?
            .execute(params![entry.0, code(State::Discarded), act.at.as_millis()])?;
        gone.push(*entry);
    }
    counts.parked = counts
        .parked
        .saturating_sub(u64::try_from(gone.len()).unwrap_or(u64::MAX));
    audit::append(connection, act, gone.len())?;
    Ok(gone)
}
