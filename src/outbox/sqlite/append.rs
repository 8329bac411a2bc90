//! The SQL of the accepting side: keeping a batch, and finding what was kept.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::counts::Counts;
use super::lane::{Entrance, EntryLane};
use crate::event::{Attribute, Identity};
use crate::imprint::{CustomerChange, CustomerRef, PartnerCustomerId};
use crate::outbox::{
    Appended, AppendedEntry, Digest, Disposition, EntryId, LaneKey, NewEntry, ParkReason, State,
};

/// What room facts are given to be written into before they need more.
const FACTS_BYTES_USUAL: usize = 1024;

/// What is there already under an identity.
#[derive(Clone, Copy)]
struct StoredIdentity {
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
    // An event that comes alone is in conflict only with what is there, and that shows when it is kept.
    if batch.len() > 1 {
        let conflicts = conflicts(connection, batch)?;
        if !conflicts.is_empty() {
            return Ok(Appended::Conflict(conflicts));
        }
    }
    let mut kept = Vec::with_capacity(batch.len());
    for (place, new) in batch.iter().enumerate() {
        match keep(connection, new, counts)? {
            Some(new) => kept.push(new),
            // It came alone: in a batch it would have been found before anything was written.
            None => return Ok(Appended::Conflict(vec![place])),
        }
    }
    Ok(Appended::Stored(kept))
}

/// The places in a batch that say something else than what is there, or stands before them, under the same identity.
fn conflicts(connection: &Connection, batch: &[NewEntry]) -> rusqlite::Result<Vec<usize>> {
    let mut first: HashMap<&Identity, Digest> = HashMap::new();
    let mut conflicts = Vec::new();
    for (place, new) in batch.iter().enumerate() {
        let found = lookup(connection, &new.identity)?;
        let kept = found.map_or(new.digest, |found| found.digest);
        if *first.entry(&new.identity).or_insert(kept) != new.digest {
            conflicts.push(place);
        }
    }
    Ok(conflicts)
}

fn lookup(
    connection: &Connection,
    identity: &Identity,
) -> rusqlite::Result<Option<StoredIdentity>> {
    connection
        .prepare_cached("SELECT id, state, digest FROM entry WHERE source = ?1 AND event_id = ?2 AND ce_source = ?3")?
        .query_row(params![identity.source.as_str(), identity.id.as_str(), ce_source(identity)], |row| {
            Ok(StoredIdentity { entry: EntryId(row.get(0)?), state: state_at(row, 1)?, digest: Digest(row.get(2)?) })
        })
        .optional()
}

/// Keeps one event, or finds that it is there already; `None` where it is there with other content, and nothing was written.
fn keep(
    connection: &Connection,
    new: &NewEntry,
    counts: &mut Counts,
) -> rusqlite::Result<Option<AppendedEntry>> {
    let now = new.accepted_at;
    let (state, entrance) = match &new.disposition {
        Disposition::Ignore => (State::Ignored, None),
        Disposition::Park(change, _) => (State::Parked, Some((key(change), Entrance::Parked))),
        Disposition::Enqueue(change) => {
            let entrance = Entrance::Waiting(new.priority, now);
            (State::Waiting, Some((key(change), entrance)))
        }
    };
    let lane = entrance
        .map(|(key, entrance)| EntryLane::of(connection, &key, entrance))
        .transpose()?;
    let settled_at = state.is_settled().then_some(now.as_millis());
    let inserted = connection
        .prepare_cached(
            "INSERT INTO entry (source, ce_source, event_id, event_type, digest, lane, accepted_at, state, settled_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (source, event_id, ce_source) DO NOTHING",
        )?
        .execute(params![
            new.identity.source.as_str(),
            ce_source(&new.identity),
            new.identity.id.as_str(),
            new.event_type.as_str(),
            new.digest.0,
            lane.map(|lane| lane.id),
            now.as_millis(),
            code(state),
            settled_at,
        ])?;
    if inserted == 0 {
        lane.map_or(Ok(()), |lane| lane.leave(connection))?;
        let found = lookup(connection, &new.identity)?;
        let same = found.filter(|found| found.digest == new.digest);
        return Ok(same.map(|found| AppendedEntry {
            entry: found.entry,
            state: found.state,
            duplicate: true,
        }));
    }
    let entry = connection.last_insert_rowid();
    lane.map_or(Ok(()), |lane| lane.enter(connection))?;
    keep_payload(connection, (entry, lane.map(|lane| lane.id)), new, counts)?;
    Ok(Some(AppendedEntry {
        entry: EntryId(entry.unsigned_abs()),
        state,
        duplicate: false,
    }))
}

/// Keeps what an event states, as long as it is not over.
fn keep_payload(
    connection: &Connection,
    (entry, lane): (i64, Option<i64>),
    new: &NewEntry,
    counts: &mut Counts,
) -> rusqlite::Result<()> {
    let now = new.accepted_at;
    match &new.disposition {
        Disposition::Ignore => {}
        Disposition::Enqueue(change) => {
            let row = StoredPayload::new(change)?;
            connection
                .prepare_cached(
                    "INSERT INTO waiting (entry, lane, epoch, value, facts, event, partner, stated, accepted_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    entry, lane, change.version.epoch, change.version.value, row.facts, new.event, row.partner, row.is_stated,
                    now.as_millis(),
                ])?;
            counts.waiting += 1;
        }
        Disposition::Park(change, reason) => {
            let row = StoredPayload::new(change)?;
            connection
                .prepare_cached(
                    "INSERT INTO parked (entry, lane, epoch, value, facts, event, partner, stated, accepted_at, reason)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    entry, lane, change.version.epoch, change.version.value, row.facts, new.event, row.partner, row.is_stated,
                    now.as_millis(), reason_code(*reason),
                ])?;
            counts.parked += 1;
        }
    }
    Ok(())
}

/// Whose lane an event goes to: Imprint's id is what it can be sent to.
pub(super) fn key(change: &CustomerChange) -> LaneKey {
    match &change.customer {
        CustomerRef::Imprint(imprint) | CustomerRef::Pair { imprint, .. } => {
            LaneKey::Imprint(imprint.clone())
        }
        CustomerRef::Partner(partner) => LaneKey::Partner(partner.clone()),
    }
}

/// What is kept of an event as long as it is not over.
struct StoredPayload<'a> {
    facts: Vec<u8>,
    partner: Option<&'a str>,
    is_stated: bool,
}

impl<'a> StoredPayload<'a> {
    fn new(change: &'a CustomerChange) -> rusqlite::Result<Self> {
        let mut facts = Vec::with_capacity(FACTS_BYTES_USUAL);
        serde_json::to_writer(&mut facts, &change.update)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(Self {
            facts,
            partner: change.customer.partner().map(PartnerCustomerId::as_str),
            is_stated: change.customer.imprint().is_some(),
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
