//! The SQL statements of appending: store a batch of events, or find the stored entries of duplicate events.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};

use super::counts::Counts;
use super::lane::{Entrance, EntryLane};
use super::payload::{self, Arrives, PayloadKey};
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::{columns, tombstones};
use crate::event::{Attribute, EventError, Identity};
use crate::imprint::CustomerChange;
use crate::outbox::{
    Appended, AppendedEntry, ConflictingEvent, Digest, Disposition, EntryId, LaneId, LaneKey,
    NewEntry, State,
    codec::{self, BlobKind},
};

/// The stored entry with the same identity as a new event.
#[derive(Clone, Copy)]
struct StoredIdentity {
    entry: EntryId,
    state: State,
    digest: Digest,
}

/// Stores the whole batch. If an event has the identity of a stored event but different content, stores nothing.
pub(super) fn append(
    statements: &Statements<'_>,
    batch: &[NewEntry],
    counts: &mut Counts,
) -> rusqlite::Result<Appended> {
    let batch = &*tombstones::without_blocked(statements, batch)?;
    // A batch of one event needs no check: the insertion of the event finds a conflict with a stored event.
    if batch.len() > 1 {
        let conflicts = conflicts(statements, batch)?;
        if !conflicts.is_empty() {
            return Ok(Appended::Conflict(conflicts));
        }
    }
    let mut stored = Vec::with_capacity(batch.len());
    for (place, new) in batch.iter().enumerate() {
        match append_one(statements, new, counts)? {
            Some(entry) => stored.push(entry),
            // The batch has only one event here: in a larger batch, `conflicts` has found every conflict before.
            None => {
                let earlier = lookup(statements, &new.identity)?.map(|stored| stored.entry);
                return Ok(Appended::Conflict(vec![ConflictingEvent {
                    place,
                    earlier,
                }]));
            }
        }
    }
    Ok(Appended::Stored(stored))
}

/// Returns the conflicting events. Such an event has the identity of a stored event or of an earlier event
/// of the batch, but different content.
fn conflicts(
    connection: &StoreConnection,
    batch: &[NewEntry],
) -> rusqlite::Result<Vec<ConflictingEvent>> {
    let mut first: HashMap<&Identity, Digest> = HashMap::new();
    let mut conflicts = Vec::new();
    for (place, new) in batch.iter().enumerate() {
        let stored = lookup(connection, &new.identity)?;
        let digest = stored.map_or(new.digest, |stored| stored.digest);
        if *first.entry(&new.identity).or_insert(digest) != new.digest {
            let earlier = stored.map(|stored| stored.entry);
            conflicts.push(ConflictingEvent { place, earlier });
        }
    }
    Ok(conflicts)
}

fn lookup(
    connection: &StoreConnection,
    identity: &Identity,
) -> rusqlite::Result<Option<StoredIdentity>> {
    let source = identity.source.as_str();
    let stored = find(
        connection,
        [source, identity.id.as_str(), ce_source(identity)],
    )?;
    match stored {
        Some(stored) => Ok(Some(stored)),
        None => erased(connection, identity),
    }
}

/// Finds the tombstone of an erased event.
fn erased(
    connection: &StoreConnection,
    identity: &Identity,
) -> rusqlite::Result<Option<StoredIdentity>> {
    let columns = tombstones::event_columns(connection, identity);
    for (id, ce_source) in columns.into_iter().flatten() {
        if let Some(erased) = find(connection, [identity.source.as_str(), &id, &ce_source])? {
            return Ok(Some(erased));
        }
    }
    Ok(None)
}

/// Finds the entry with this source, this event id and this `CloudEvents` source.
fn find(
    connection: &StoreConnection,
    identity: [&str; 3],
) -> rusqlite::Result<Option<StoredIdentity>> {
    connection
        .prepare_cached("SELECT id, state, digest FROM entry WHERE source = ?1 AND event_id = ?2 AND ce_source = ?3")?
        .query_row(identity, |row| {
            Ok(StoredIdentity {
                entry: EntryId(row.get(0)?),
                state: columns::state(row, 1)?,
                digest: Digest(row.get(2)?),
            })
        })
        .optional()
}

/// Returns the stored entry of an event with the same identity, if the event is a duplicate. Returns `None` if the content
/// differs.
fn repeated(new: &NewEntry, stored: Option<StoredIdentity>) -> Option<AppendedEntry> {
    let repeated = stored.filter(|stored| stored.digest == new.digest)?;
    Some(AppendedEntry {
        entry: repeated.entry,
        state: repeated.state,
        duplicate: true,
    })
}

/// The place of a new entry in the store: the state, the entrance into the lane, the payload table and the customer
/// change.
struct Placement<'a> {
    state: State,
    entrance: Entrance,
    arrives: Arrives,
    change: &'a CustomerChange,
}

impl<'a> Placement<'a> {
    /// Returns the place of a new entry. Returns `None` for an event without a customer change: the store keeps only the
    /// receipt of an ignored event, and an invalid event belongs to no lane.
    fn of(new: &'a NewEntry) -> Option<Self> {
        let (state, entrance, arrives, change) = match &new.disposition {
            Disposition::Ignore(_) | Disposition::Invalid(_) => return None,
            Disposition::Enqueue(change) => {
                let entrance = Entrance::Waiting(new.priority, new.accepted_at);
                (State::Waiting, entrance, Arrives::Waiting, change)
            }
            Disposition::Park(change, reason) => {
                let arrives = Arrives::Parked(*reason);
                (State::Parked, Entrance::SetAside, arrives, change)
            }
            Disposition::Hold(change) => (State::Held, Entrance::SetAside, Arrives::Held, change),
        };
        Some(Self {
            state,
            entrance,
            arrives,
            change,
        })
    }
}

/// Stores one event, or finds the stored entry of a duplicate event. If the stored entry has different content, writes
/// nothing and returns `None`.
fn append_one(
    statements: &Statements<'_>,
    new: &NewEntry,
    counts: &mut Counts,
) -> rusqlite::Result<Option<AppendedEntry>> {
    if let Some(erased) = erased(statements, &new.identity)? {
        return Ok(repeated(new, Some(erased)));
    }
    let placement = Placement::of(new);
    let invalid = new.disposition.invalid();
    let state = match (&placement, invalid) {
        (Some(placement), _) => placement.state,
        (None, Some(_)) => State::Parked,
        (None, None) => State::Ignored,
    };
    let key = placement
        .as_ref()
        .map(|placement| LaneKey::of(&placement.change.customer));
    let lane = placement
        .as_ref()
        .zip(key.as_ref())
        .map(|(placement, key)| EntryLane::find_or_create(statements, key, placement.entrance))
        .transpose()?;
    if !insert_receipt(statements, new, state, lane.map(|lane| lane.id))? {
        if let Some((lane, key)) = lane.zip(key.as_ref()) {
            lane.undo(statements, key)?;
        }
        return Ok(repeated(new, lookup(statements, &new.identity)?));
    }
    let entry = EntryId(statements.last_insert_rowid().unsigned_abs());
    if let Some(((lane, placement), key)) = lane.zip(placement).zip(key) {
        let source = new.identity.source.as_str();
        lane.enter(statements, &key, Some(source))?;
        let key = PayloadKey {
            entry,
            lane: lane.id,
        };
        let Placement {
            arrives, change, ..
        } = placement;
        payload::insert(statements, key, new, arrives, change)?;
    }
    insert_skipped(statements, entry, new.disposition.skipped())?;
    if let Some(invalid) = invalid {
        payload::insert_invalid(statements, entry, new, invalid)?;
    }
    if !state.is_final() {
        counts.enter(state);
        counts.store(&new.identity.source, new.stored_bytes());
    }
    Ok(Some(AppendedEntry {
        entry,
        state,
        duplicate: false,
    }))
}

/// Inserts the receipt of a new entry. Returns `false` if a receipt with the same identity exists.
fn insert_receipt(
    statements: &Statements<'_>,
    new: &NewEntry,
    state: State,
    lane: Option<LaneId>,
) -> rusqlite::Result<bool> {
    let now = new.accepted_at.as_millis();
    let inserted = statements.with("INSERT INTO entry (source, ce_source, event_id, event_type, digest, lane, accepted_at, state, settled_at, ignored)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (source, event_id, ce_source) DO NOTHING", |statement| statement.execute(params![
            new.identity.source.as_str(),
            ce_source(&new.identity),
            new.identity.id.as_str(),
            new.event_type.as_str(),
            new.digest.0,
            lane.map(|lane| lane.0),
            now,
            codec::state_number(state),
            state.is_settled().then_some(now),
            new.disposition.ignored().map(codec::ignore_number),
        ]))?;
    Ok(inserted > 0)
}

/// Stores the errors of the fields that the update of a new entry leaves out. Most entries have no such fields.
fn insert_skipped(
    connection: &StoreConnection,
    entry: EntryId,
    skipped: &[EventError],
) -> rusqlite::Result<()> {
    if skipped.is_empty() {
        return Ok(());
    }
    set_skipped(connection, entry, skipped)
}

/// Replaces the stored errors of the fields that the update of an entry leaves out.
pub(super) fn set_skipped(
    connection: &StoreConnection,
    entry: EntryId,
    skipped: &[EventError],
) -> rusqlite::Result<()> {
    let errors = codec::encode(
        connection.sealer(),
        BlobKind::SkippedFields,
        entry.0,
        &skipped,
    );
    let errors = errors.map_err(columns::unwritable)?;
    let stored = (!skipped.is_empty()).then_some(errors);
    connection
        .prepare_cached("UPDATE entry SET skipped = ?2 WHERE id = ?1")?
        .execute(params![entry.0, stored])?;
    Ok(())
}

fn ce_source(identity: &Identity) -> &str {
    identity.ce_source.as_ref().map_or("", Attribute::as_str)
}
