//! The SQL statements by which operators make entries wait again: replay and approve. Each change appends a record to
//! the audit log.

use rusqlite::{OptionalExtension, params};

use super::counts::Counts;
use super::lane::{Entrance, EntryLane};
use super::payload::{PayloadKey, moved_update};
use super::signed_event::SignedEvent;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::{append, audit, columns, payload, tombstones};
use crate::imprint::CustomerChange;
use crate::outbox::{
    EntryId, IgnoreReason, IgnoredEvent, LaneId, LaneKey, Priority, Replay, ReplayChange, State,
    codec,
};
use crate::time::Timestamp;

/// An entry that an operator wants to change.
pub(super) struct Subject {
    entry: EntryId,
    pub(super) lane: LaneId,
    /// False if the entry is parked as invalid, and therefore belongs to no lane, or if the process does not have the sealing
    /// key of the lane's customer id.
    can_wait: bool,
    /// The key of the lane. `None` means that the columns of the lane contain no valid customer id.
    key: Option<LaneKey>,
    source: Option<String>,
}

/// Reads an entry for an operator's change. Returns `None` if the entry is not in this state.
pub(super) fn subject(
    connection: &StoreConnection,
    entry: EntryId,
    state: State,
) -> rusqlite::Result<Option<Subject>> {
    let Some(table) = payload::table(state) else {
        return Ok(None);
    };
    connection
        .prepare_cached(&format!(
            "SELECT p.lane, l.kind, l.received, e.source, l.id IS NOT NULL
             FROM {table} p LEFT JOIN lane l ON l.id = p.lane JOIN entry e ON e.id = p.entry WHERE p.entry = ?1"
        ))?
        .query_row([entry.0], |row| {
            let lane = LaneId(row.get(0)?);
            let key = columns::lane_key(row, (1, 2), (lane, connection.sealer()));
            let has_lane: bool = row.get(4)?;
            Ok(Subject {
                entry,
                lane,
                can_wait: has_lane && key.is_ok(),
                key: key.ok().flatten(),
                source: row.get(3).ok(),
            })
        })
        .optional()
}

/// Makes parked entries wait again, or ends them as ignored. Returns the changed entries. Skips entries that are not
/// parked, and entries without a customer change.
pub(super) fn replay(
    connection: &StoreConnection,
    replays: &[Replay],
    event: &SignedEvent,
    counts: &mut Counts,
) -> rusqlite::Result<Vec<EntryId>> {
    let mut moved = Vec::new();
    for replay in replays {
        let Some(subject) = subject(connection, replay.entry, State::Parked)? else {
            continue;
        };
        let change = match &replay.change {
            ReplayChange::Ignored(ignored) => {
                ignore(connection, replay.entry, ignored, (event.at, counts))?;
                moved.push(replay.entry);
                continue;
            }
            ReplayChange::Mapped(change)
                if tombstones::is_blocked(connection, &change.customer)? =>
            {
                let blocked = IgnoredEvent::from(IgnoreReason::Blocked);
                ignore(connection, replay.entry, &blocked, (event.at, counts))?;
                moved.push(replay.entry);
                continue;
            }
            ReplayChange::Stored if !subject.can_wait => continue,
            ReplayChange::Stored => None,
            ReplayChange::Mapped(change) => Some(change),
        };
        enqueue(connection, &subject, State::Parked, change, event.at)?;
        counts.leave(State::Parked);
        counts.enter(State::Waiting);
        moved.push(replay.entry);
    }
    audit::append(connection, event, moved.len())?;
    Ok(moved)
}

/// Ends a parked entry as ignored, and erases its payload.
fn ignore(
    connection: &StoreConnection,
    entry: EntryId,
    ignored: &IgnoredEvent,
    (now, counts): (Timestamp, &mut Counts),
) -> rusqlite::Result<()> {
    payload::erase(connection, State::Parked, entry, counts)?;
    connection
        .prepare_cached("UPDATE entry SET state = ?2, settled_at = ?3, ignored = ?4 WHERE id = ?1")?
        .execute(params![
            entry.0,
            codec::state_number(State::Ignored),
            now.as_millis(),
            codec::ignore_number(ignored.reason)
        ])?;
    append::set_skipped(connection, entry, &ignored.skipped)?;
    counts.leave(State::Parked);
    counts.enter(State::Ignored);
    Ok(())
}

/// Makes held and undecided entries wait. Returns these entries. Skips entries in other states.
pub(super) fn approve(
    connection: &StoreConnection,
    entries: &[EntryId],
    event: &SignedEvent,
    counts: &mut Counts,
) -> rusqlite::Result<Vec<EntryId>> {
    let mut moved = Vec::new();
    for entry in entries {
        for state in [State::Held, State::Undecided] {
            if let Some(subject) = subject(connection, *entry, state)?
                && subject.can_wait
            {
                enqueue(connection, &subject, state, None, event.at)?;
                counts.leave(state);
                counts.enter(State::Waiting);
                moved.push(*entry);
            }
        }
    }
    audit::append(connection, event, moved.len())?;
    Ok(moved)
}

/// Makes an entry wait with low priority. If `change` is given, the entry waits in the lane of the change's customer.
/// Otherwise the entry waits in its own lane.
fn enqueue(
    connection: &StoreConnection,
    subject: &Subject,
    from: State,
    change: Option<&CustomerChange>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let entry = subject.entry;
    let key = change.map(|change| LaneKey::of(&change.customer));
    let lane = match key.as_ref().or(subject.key.as_ref()) {
        Some(key) => {
            let entrance = Entrance::Waiting(Priority::Low, now);
            let statements = Statements::of(connection);
            let lane = EntryLane::find_or_create(&statements, key, entrance)?;
            lane.enter(&statements, key, subject.source.as_deref())?;
            lane.id
        }
        None => subject.lane,
    };
    payload::move_to_waiting(connection, PayloadKey { entry, lane }, from)?;
    moved_update::bind(connection, (entry, State::Waiting), (subject.lane, lane))?;
    if let Some(change) = change {
        payload::update(connection, PayloadKey { entry, lane }, change)?;
        append::set_skipped(connection, entry, &change.skipped)?;
    }
    connection
        .prepare_cached(
            "UPDATE lane SET failures = 0, spent = 0, tried_at = NULL, blamed_since = NULL, unproven_since = NULL, absence = NULL,
                    low = low % 2 WHERE id = ?1",
        )?
        .execute([lane.0])?;
    connection
        .prepare_cached("UPDATE entry SET state = ?2, settled_at = NULL, lane = ?3 WHERE id = ?1")?
        .execute(params![
            entry.0,
            codec::state_number(State::Waiting),
            lane.0
        ])?;
    Ok(())
}
