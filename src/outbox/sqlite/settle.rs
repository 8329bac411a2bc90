//! The SQL statements that record the settlement of a claimed lane.

use rusqlite::{Connection, params};

use super::append;
use super::columns;
use super::counts::{Counts, EventSize};
use super::identity_link;
use super::lane::{self, Entrance, EntryLane};
use super::payload::{self, PayloadKey, moved_update};
use super::receipt;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::{tombstones, versions};
use crate::imprint::CustomerRef;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::{
    Ending, EntryId, IgnoreReason, LaneClass, LaneKey, Moved, Recognition, Settlement, State,
};
use crate::time::Timestamp;

/// Records a settlement. Returns each entry that no longer waits, with its new state.
pub(super) fn settle(
    statements: &Statements<'_>,
    settlement: &Settlement,
    sizes: &[(EntryId, EventSize)],
    counts: &mut Counts,
) -> rusqlite::Result<Vec<(EntryId, State)>> {
    // The list `attempted` has at most as many entries as one request contains, so a linear search is fast enough.
    let mut attempted = settlement.attempted.clone();
    let mut settled = Vec::with_capacity(settlement.endings.len());
    for (entry, ending) in &settlement.endings {
        let was_attempted = attempted.contains(entry);
        let ended = EndedEntry {
            entry: *entry,
            was_attempted,
            ending,
        };
        let size = match ending.state().is_final() {
            true => size(statements, *entry, sizes)?,
            false => None,
        };
        if finish(statements, settlement, &ended)? {
            attempted.retain(|other| other != entry);
            add_omitted(statements, settlement, *entry)?;
            settled.push((*entry, ending.state()));
            counts.leave(State::Waiting);
            counts.enter(ending.state());
            if let Some(erased) = &size {
                counts.erase(erased);
            }
        }
    }
    for entry in &attempted {
        statements
            .prepare_cached("UPDATE entry SET attempts = attempts + 1 WHERE id = ?1")?
            .execute([entry.0])?;
    }
    if let Some(link) = &settlement.new_link {
        identity_link::store(statements, link)?;
    }
    if let Some(moved) = settlement
        .moved
        .as_ref()
        .filter(|moved| !moved.entries.is_empty())
    {
        if tombstones::is_blocked(statements, &CustomerRef::Imprint(moved.to.clone()))? {
            settled.extend(end_blocked(statements, settlement, moved, counts)?);
        } else {
            move_entries(statements, settlement, moved)?;
        }
    }
    let is_asked = settlement.is_postponed() && is_asked_by_another(statements, settlement, sizes)?;
    let due = if is_asked {
        settlement.at
    } else {
        settlement.due
    };
    update_lane(statements, settlement, due)?;
    Ok(settled)
}

/// Adds the cleared fields that no request sends to the fields that the update of a delivered entry leaves out. Most
/// settlements have no such fields.
fn add_omitted(
    statements: &Statements<'_>,
    settlement: &Settlement,
    entry: EntryId,
) -> rusqlite::Result<()> {
    let mut omitted = settlement.omitted.iter();
    let Some((_, omitted)) = omitted.find(|(other, _)| *other == entry) else {
        return Ok(());
    };
    let stored = statements
        .prepare_cached("SELECT skipped FROM entry WHERE id = ?1")?
        .query_row([entry.0], |row| row.get(0))?;
    let mut unsent = receipt::errors(statements.sealer(), BlobKind::SkippedFields, entry, stored);
    unsent.extend(omitted.iter().cloned());
    append::set_skipped(statements, entry, &unsent)
}

/// Returns whether the lane has a partner customer id, and an entry of a different source arrived after the claim.
fn is_asked_by_another(
    connection: &Connection,
    settlement: &Settlement,
    sizes: &[(EntryId, EventSize)],
) -> rusqlite::Result<bool> {
    let Some((claimed, size)) = sizes.first() else {
        return Ok(false);
    };
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM lane WHERE id = ?1 AND kind = ?4)
                AND EXISTS (SELECT 1 FROM waiting WHERE lane = ?1 AND entry > ?2 AND source IS NOT ?3)",
        )?
        .query_row(
            params![settlement.lane.0, claimed.0, size.source.as_str(), codec::PARTNER_LANE],
            |row| row.get(0),
        )
}

/// Returns the size of the event of a claimed entry. `sizes` has the sizes that the claim has read, starting with the
/// newest entry. If a row was damaged, `sizes` does not have the entry.
fn size(
    connection: &StoreConnection,
    entry: EntryId,
    sizes: &[(EntryId, EventSize)],
) -> rusqlite::Result<Option<EventSize>> {
    let place = sizes.binary_search_by(|(other, _)| entry.cmp(other)).ok();
    match place.and_then(|place| sizes.get(place)) {
        Some((_, size)) => Ok(Some(size.clone())),
        None => payload::event_size(connection, State::Waiting, entry),
    }
}

/// Records the versions and failures of the lane. `due` is the next due time of the lane if entries wait in it.
///
/// Also removes the mark of values that an earlier process has possibly sent, because the new versions contain these
/// values as requests in doubt.
fn update_lane(
    statements: &Statements<'_>,
    settlement: &Settlement,
    due: Timestamp,
) -> rusqlite::Result<()> {
    let sealer = statements.sealer();
    let versions = settlement.versions.as_ref();
    let versions = versions
        .map(|versions| codec::encode(sealer, BlobKind::LaneVersions, settlement.lane.0, versions))
        .transpose()
        .map_err(columns::unwritable)?;
    let spelling = match &settlement.recognition {
        Recognition::Applied(spelling) => {
            Some(lane::stored_id(sealer, settlement.lane, spelling.as_str())?)
        }
        Recognition::Unchanged | Recognition::Gone => None,
    };
    let unproven = settlement.unproven;
    let absence = unproven.absence.as_ref();
    let absence = absence
        .map(|absence| codec::encode_absence(sealer, settlement.lane.0, absence))
        .transpose()
        .map_err(columns::unwritable)?;
    statements.with(// The subquery appears twice, because SQLite would need a temporary table for an update from a joined
            // query.
            "UPDATE lane SET versions = coalesce(?2, versions), failures = ?3, spent = ?4, tried_at = ?5, unfold_to = ?6, blamed_since = ?9,
                    unproven_since = ?13, absence = ?14,
                    low = low % 2 + CASE WHEN ?15 THEN 2 WHEN ?12 OR low < 4 THEN 0 ELSE 4 END, maybe_sent = 0,
                    received = coalesce(?10, received), spelled = coalesce(?11, spelled % 2),
                    idle = NOT EXISTS (SELECT 1 FROM waiting WHERE lane = ?1),
                    due_at = CASE WHEN EXISTS (SELECT 1 FROM waiting WHERE lane = ?1) THEN ?7 ELSE ?8 END
             WHERE id = ?1", |statement| statement.execute(params![
            settlement.lane.0,
            versions,
            settlement.trials.failures,
            settlement.trials.attempts,
            settlement.trials.tried_at.map(Timestamp::as_millis),
            settlement.unfold_to.map(|entry| entry.0),
            due.as_millis(),
            settlement.reassert_at.map(Timestamp::as_millis),
            settlement.trials.blamed_since.map(Timestamp::as_millis),
            spelling.as_ref().map(columns::bound_text),
            codec::recognition_number(&settlement.recognition),
            settlement.is_answered(),
            unproven.since.map(Timestamp::as_millis),
            absence,
            settlement.is_failing(),
        ]))?;
    Ok(())
}

/// Ends entries of a customer that an operator has erased and blocked. The search has found the customer's Imprint id.
fn end_blocked(
    statements: &Statements<'_>,
    settlement: &Settlement,
    moved: &Moved,
    counts: &mut Counts,
) -> rusqlite::Result<Vec<(EntryId, State)>> {
    let ending = &Ending::Ignored(IgnoreReason::Blocked);
    let mut ended = Vec::new();
    for entry in moved.entries.iter().copied() {
        let size = payload::event_size(statements, State::Waiting, entry)?;
        let was_attempted = false;
        let blocked = EndedEntry {
            entry,
            was_attempted,
            ending,
        };
        if finish(statements, settlement, &blocked)? {
            counts.leave(State::Waiting);
            counts.enter(State::Ignored);
            size.iter().for_each(|erased| counts.erase(erased));
            ended.push((entry, State::Ignored));
        }
    }
    Ok(ended)
}

/// Moves entries into the lane of the customer that a search found.
fn move_entries(
    statements: &Statements<'_>,
    settlement: &Settlement,
    moved: &Moved,
) -> rusqlite::Result<()> {
    let class = statements
        .prepare_cached("SELECT low FROM lane WHERE id = ?1")?
        .query_row([settlement.lane.0], |row| Ok(columns::class(row, 0)))?
        .unwrap_or(LaneClass::DEFAULT);
    let key = LaneKey::Imprint(moved.to.clone());
    let entrance = Entrance::Waiting(class.priority, settlement.at);
    let lane = EntryLane::find_or_create(statements, &key, entrance)?;
    lane.enter(statements, &key, None)?;
    if statements.tombstones().is_some() {
        // Before an erasure, the customer possibly had only the lane with the CRM's id.
        let from = versions::of_lane(statements, settlement.lane)?;
        let mut versions = versions::of_lane(statements, lane.id)?;
        versions.raise_to_floors_of(&from);
        versions::store(statements, lane.id, &versions)?;
    }
    for entry in &moved.entries {
        for table in ["waiting", "entry"] {
            let id = if table == "entry" { "id" } else { "entry" };
            statements
                .prepare_cached(&format!(
                    "UPDATE {table} SET lane = ?2 WHERE {id} = ?1 AND lane = ?3"
                ))?
                .execute(params![entry.0, lane.id.0, settlement.lane.0])?;
        }
        let waiting = (*entry, State::Waiting);
        moved_update::bind(statements, waiting, (settlement.lane, lane.id))?;
    }
    Ok(())
}

/// One entry that leaves the state `waiting`.
struct EndedEntry<'a> {
    entry: EntryId,
    was_attempted: bool,
    ending: &'a Ending,
}

/// Gives one waiting entry its new state, and deletes its payload or moves the payload to the table of the new state.
/// Returns `false` if the entry no longer waits in this lane.
fn finish(
    statements: &Statements<'_>,
    settlement: &Settlement,
    ended: &EndedEntry<'_>,
) -> rusqlite::Result<bool> {
    let EndedEntry { entry, ending, .. } = *ended;
    let key = PayloadKey {
        entry,
        lane: settlement.lane,
    };
    match ending {
        Ending::Parked { reason, detail } => {
            let detail = detail.as_deref();
            payload::park(statements, key, State::Waiting, *reason, detail)?;
        }
        Ending::Undecided => payload::copy_to_undecided(statements, key)?,
        Ending::Delivered | Ending::Superseded(_) | Ending::Ignored(_) => {}
    }
    let gone = statements.with(
        "DELETE FROM waiting WHERE entry = ?1 AND lane = ?2",
        |statement| statement.execute(params![entry.0, settlement.lane.0]),
    )?;
    if gone == 0 {
        return Ok(false);
    }
    let (winner, ignored) = match ending {
        Ending::Superseded(winner) => (Some(winner.0), None),
        Ending::Ignored(reason) => (None, Some(codec::ignore_number(*reason))),
        Ending::Delivered | Ending::Parked { .. } | Ending::Undecided => (None, None),
    };
    statements.with("UPDATE entry SET state = ?2, settled_at = ?3, superseded_by = ?4, attempts = attempts + ?5, ignored = ?6 WHERE id = ?1", |statement| statement.execute(params![
            entry.0,
            codec::state_number(ending.state()),
            ending.state().is_settled().then_some(settlement.at.as_millis()),
            winner,
            ended.was_attempted,
            ignored,
        ]))?;
    Ok(true)
}
