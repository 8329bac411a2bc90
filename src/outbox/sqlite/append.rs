//! The SQL of the accepting side: keeping a batch, and finding what was kept.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Counts;
use crate::event::{Attribute, Identity};
use crate::imprint::ImprintId;
use crate::outbox::{
    Appended, Arrival, Digest, EntryId, Kept, Lookup, NewEntry, ParkReason, Receipt, State,
};
use crate::time::Timestamp;

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
    let (state, lane, settled_at) = match &new.arrival {
        Arrival::Ignore => (State::Ignored, None, Some(new.accepted_at.as_millis())),
        Arrival::Wait { customer, .. } => (
            State::Waiting,
            Some(enter_lane(connection, customer, new.accepted_at)?),
            None,
        ),
    };
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
    if let Arrival::Wait {
        epoch,
        value,
        update,
        ..
    } = &new.arrival
    {
        let facts = serde_json::to_vec(update)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        connection
            .prepare_cached("INSERT INTO waiting (entry, lane, epoch, value, facts, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![entry, lane, epoch, value, facts, new.event])?;
        counts.waiting += 1;
    }
    Ok(Kept {
        entry: EntryId(entry.unsigned_abs()),
        state,
        duplicate: false,
    })
}

/// The customer's lane, made if there is none; due now unless it is due already.
fn enter_lane(
    connection: &Connection,
    customer: &ImprintId,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO lane (kind, customer, received, due_at) VALUES (0, ?1, ?2, ?3)
             ON CONFLICT (kind, customer) DO UPDATE SET due_at = coalesce(due_at, excluded.due_at)
             RETURNING id",
        )?
        .query_row(
            params![customer.canonical(), customer.as_str(), now.as_millis()],
            |row| row.get(0),
        )
}

/// Where an entry stands.
pub(super) fn state(connection: &Connection, entry: EntryId) -> rusqlite::Result<Option<State>> {
    connection
        .prepare_cached("SELECT state FROM entry WHERE id = ?1")?
        .query_row([entry.0], |row| state_at(row, 0))
        .optional()
}

/// The receipt of an event; the newest where several sources of one CRM use the same id.
pub(super) fn find(connection: &Connection, lookup: &Lookup) -> rusqlite::Result<Option<Receipt>> {
    connection
        .prepare_cached(
            "SELECT e.id, e.ce_source, e.event_type, e.state, e.attempts, e.accepted_at, e.settled_at, w.event_id,
                    p.reason, p.detail
             FROM entry e LEFT JOIN entry w ON w.id = e.superseded_by LEFT JOIN parked p ON p.entry = e.id
             WHERE e.source = ?1 AND e.event_id = ?2 AND (?3 IS NULL OR e.ce_source = ?3)
             ORDER BY e.id DESC LIMIT 1",
        )?
        .query_row(
            params![lookup.source.as_str(), lookup.id.as_str(), lookup.ce_source.as_ref().map(Attribute::as_str)],
            |row| receipt(row, lookup),
        )
        .optional()
}

fn receipt(row: &Row<'_>, lookup: &Lookup) -> rusqlite::Result<Receipt> {
    let reason: Option<i64> = row.get(8)?;
    Ok(Receipt {
        entry: EntryId(row.get(0)?),
        identity: Identity {
            source: lookup.source.clone(),
            ce_source: Attribute::parse(&row.get::<_, String>(1)?).ok(),
            id: lookup.id.clone(),
        },
        event_type: attribute(row, 2)?,
        state: state_at(row, 3)?,
        attempts: row.get(4)?,
        accepted_at: Timestamp::from_millis(row.get(5)?),
        settled_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
        superseded_by: row
            .get::<_, Option<String>>(7)?
            .and_then(|id| Attribute::parse(&id).ok()),
        parked: match reason {
            Some(reason) => Some((reason_of(reason)?, row.get(9)?)),
            None => None,
        },
    })
}

fn attribute(row: &Row<'_>, column: usize) -> rusqlite::Result<Attribute> {
    let raw: String = row.get(column)?;
    Attribute::parse(&raw).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
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

fn state_at(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
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

fn reason_of(code: i64) -> rusqlite::Result<ParkReason> {
    let reason = usize::try_from(code)
        .ok()
        .and_then(|place| ParkReason::ALL.get(place))
        .copied();
    reason.ok_or(rusqlite::Error::IntegralValueOutOfRange(8, code))
}
