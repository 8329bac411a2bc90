//! The SQL of the accepting side: keeping a batch, and finding what was kept.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::claim::{IMPRINT, PARTNER, low};
use super::writer::Counts;
use crate::event::{Attribute, Identity};
use crate::imprint::{Customer, PartnerId};
use crate::outbox::{
    Appended, Arrival, Digest, EntryId, Kept, LaneKey, NewEntry, ParkReason, Priority, State,
    Stated,
};
use crate::time::Timestamp;

/// What room facts are given to be written into before they need more.
const FACTS_BYTES_USUAL: usize = 1024;

/// What is there already under an identity.
#[derive(Clone, Copy)]
struct Found {
    entry: EntryId,
    state: State,
    digest: Digest,
}

/// Keeps a batch: all of it, or nothing if it contradicts what is there.
pub(super) fn append(
    connection: &Connection,
    batch: &[NewEntry],
    counts: &mut Counts,
) -> rusqlite::Result<Appended> {
    let found: Vec<Option<Found>> = batch
        .iter()
        .map(|new| lookup(connection, &new.identity))
        .collect::<rusqlite::Result<_>>()?;
    let mut first: HashMap<&Identity, Digest> = HashMap::new();
    let mut conflicts = Vec::new();
    for (place, (new, found)) in batch.iter().zip(&found).enumerate() {
        let kept = found.map_or(new.digest, |found| found.digest);
        if *first.entry(&new.identity).or_insert(kept) != new.digest {
            conflicts.push(place);
        }
    }
    if !conflicts.is_empty() {
        return Ok(Appended::Conflict(conflicts));
    }
    let mut added: HashMap<&Identity, Kept> = HashMap::new();
    let mut kept = Vec::with_capacity(batch.len());
    for (new, found) in batch.iter().zip(&found) {
        let earlier = found.map(|found| Kept {
            entry: found.entry,
            state: found.state,
            duplicate: true,
        });
        let earlier = earlier.or_else(|| {
            added.get(&new.identity).map(|kept| Kept {
                duplicate: true,
                ..*kept
            })
        });
        kept.push(match earlier {
            Some(earlier) => earlier,
            None => {
                let fresh = keep(connection, new, counts)?;
                added.insert(&new.identity, fresh);
                fresh
            }
        });
    }
    Ok(Appended::Kept(kept))
}

fn lookup(connection: &Connection, identity: &Identity) -> rusqlite::Result<Option<Found>> {
    connection
        .prepare_cached("SELECT id, state, digest FROM entry WHERE source = ?1 AND event_id = ?2 AND ce_source = ?3")?
        .query_row(params![identity.source.as_str(), identity.id.as_str(), ce_source(identity)], |row| {
            Ok(Found { entry: EntryId(row.get(0)?), state: state_at(row, 1)?, digest: Digest(row.get(2)?) })
        })
        .optional()
}

fn keep(connection: &Connection, new: &NewEntry, counts: &mut Counts) -> rusqlite::Result<Kept> {
    let now = new.accepted_at;
    let (state, lane) = match &new.arrival {
        Arrival::Ignore => (State::Ignored, None),
        Arrival::Park(stated, _) => (State::Parked, Some(lane(connection, &key(stated), now)?)),
        Arrival::Wait(stated) => {
            let lane = enter_lane(connection, &key(stated), new.priority, now)?;
            (State::Waiting, Some(lane))
        }
    };
    let settled_at = state.is_settled().then_some(now.as_millis());
    connection
        .prepare_cached(
            "INSERT INTO entry (source, ce_source, event_id, event_type, digest, lane, accepted_at, state, settled_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            new.identity.source.as_str(),
            ce_source(&new.identity),
            new.identity.id.as_str(),
            new.event_type.as_str(),
            new.digest.0,
            lane,
            new.accepted_at.as_millis(),
            code(state),
            settled_at,
        ])?;
    let entry = connection.last_insert_rowid();
    keep_payload(connection, (entry, lane), new, counts)?;
    Ok(Kept {
        entry: EntryId(entry.unsigned_abs()),
        state,
        duplicate: false,
    })
}

/// Keeps what an event states, as long as it is not over.
fn keep_payload(
    connection: &Connection,
    (entry, lane): (i64, Option<i64>),
    new: &NewEntry,
    counts: &mut Counts,
) -> rusqlite::Result<()> {
    let now = new.accepted_at;
    match &new.arrival {
        Arrival::Ignore => {}
        Arrival::Wait(stated) => {
            let row = Payload::new(stated)?;
            connection
                .prepare_cached(
                    "INSERT INTO waiting (entry, lane, epoch, value, facts, event, partner, stated, accepted_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    entry, lane, stated.epoch, stated.value, row.facts, new.event, row.partner, row.is_stated,
                    now.as_millis(),
                ])?;
            counts.waiting += 1;
        }
        Arrival::Park(stated, reason) => {
            let row = Payload::new(stated)?;
            connection
                .prepare_cached(
                    "INSERT INTO parked (entry, lane, epoch, value, facts, event, partner, stated, accepted_at, reason)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    entry, lane, stated.epoch, stated.value, row.facts, new.event, row.partner, row.is_stated,
                    now.as_millis(), reason_code(*reason),
                ])?;
            counts.parked += 1;
        }
    }
    Ok(())
}

/// Whose lane an event goes to: Imprint's id is what it can be sent to.
pub(super) fn key(stated: &Stated) -> LaneKey {
    match &stated.customer {
        Customer::Imprint(imprint) | Customer::Pair { imprint, .. } => {
            LaneKey::Imprint(imprint.clone())
        }
        Customer::Partner(partner) => LaneKey::Partner(partner.clone()),
    }
}

/// The lane of `key`, made if there is none, in which something waits from now on: due now, unless it rests.
///
/// A look and one plain write, and no write at all where something live waits already: an upsert that returns what it did
/// keeps a journal of its own for every row.
pub(super) fn enter_lane(
    connection: &Connection,
    key: &LaneKey,
    priority: Priority,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let (kind, canonical, received) = spelled(key);
    let low = low(priority);
    let found = connection
        .prepare_cached(
            "SELECT id, idle OR due_at IS NULL, low FROM lane WHERE kind = ?1 AND customer = ?2",
        )?
        .query_row(params![kind, canonical], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    match found {
        None => {
            connection
                .prepare_cached(
                    "INSERT INTO lane (kind, customer, received, due_at, low) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![kind, canonical, received, now.as_millis(), low])?;
            Ok(connection.last_insert_rowid())
        }
        Some((lane, true, _)) => {
            connection
                .prepare_cached("UPDATE lane SET low = ?2, due_at = ?3, idle = 0 WHERE id = ?1")?
                .execute(params![lane, low, now.as_millis()])?;
            Ok(lane)
        }
        Some((lane, false, before)) => {
            if low < before {
                connection
                    .prepare_cached("UPDATE lane SET low = ?2 WHERE id = ?1")?
                    .execute(params![lane, low])?;
            }
            Ok(lane)
        }
    }
}

/// The lane of `key`, made if there is none; nothing waits in it because of this.
fn lane(connection: &Connection, key: &LaneKey, now: Timestamp) -> rusqlite::Result<i64> {
    let (kind, canonical, _) = spelled(key);
    let found = connection
        .prepare_cached("SELECT id FROM lane WHERE kind = ?1 AND customer = ?2")?
        .query_row(params![kind, canonical], |row| row.get(0))
        .optional()?;
    if let Some(lane) = found {
        return Ok(lane);
    }
    let lane = enter_lane(connection, key, Priority::Low, now)?;
    connection.execute(
        "UPDATE lane SET due_at = NULL, idle = 1 WHERE id = ?1",
        [lane],
    )?;
    Ok(lane)
}

/// The kind of a lane, the spelling that finds it, and the one that was received.
fn spelled(key: &LaneKey) -> (i64, String, &str) {
    match key {
        LaneKey::Imprint(imprint) => (IMPRINT, imprint.canonical(), imprint.as_str()),
        LaneKey::Partner(partner) => (PARTNER, partner.as_str().to_owned(), partner.as_str()),
    }
}

/// What is kept of an event as long as it is not over.
struct Payload<'a> {
    facts: Vec<u8>,
    partner: Option<&'a str>,
    is_stated: bool,
}

impl<'a> Payload<'a> {
    fn new(stated: &'a Stated) -> rusqlite::Result<Self> {
        let mut facts = Vec::with_capacity(FACTS_BYTES_USUAL);
        serde_json::to_writer(&mut facts, &stated.update)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(Self {
            facts,
            partner: stated.customer.partner().map(PartnerId::as_str),
            is_stated: stated.customer.imprint().is_some(),
        })
    }
}

fn ce_source(identity: &Identity) -> &str {
    identity.ce_source.as_ref().map_or("", Attribute::as_str)
}

/// The number a state is stored as: its place in [`State::ALL`].
pub(super) fn code(state: State) -> usize {
    State::ALL
        .iter()
        .position(|other| *other == state)
        .unwrap_or_default()
}

pub(super) fn state_at(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let code: usize = row.get(column)?;
    State::ALL
        .get(code)
        .copied()
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(
            column,
            i64::try_from(code).unwrap_or(-1),
        ))
}

/// The number a reason is stored as: its place in [`ParkReason::ALL`].
pub(super) fn reason_code(reason: ParkReason) -> usize {
    ParkReason::ALL
        .iter()
        .position(|other| *other == reason)
        .unwrap_or_default()
}
