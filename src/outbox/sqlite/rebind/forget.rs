//! Forgets the ids and the versions of the customers at the previous destination.

use rusqlite::params;

use crate::fold::LaneVersions;
use crate::imprint::CustomerRef;
use crate::outbox::sqlite::lane::{Entrance, EntryLane};
use crate::outbox::sqlite::payload::{self, moved_update};
use crate::outbox::sqlite::statements::Statements;
use crate::outbox::sqlite::store_connection::StoreConnection;
use crate::outbox::sqlite::{columns, versions};
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{EntryId, LaneClass, LaneId, LaneKey, State, codec};
use crate::time::Timestamp;

/// Forgets the delivered versions of all lanes, and keeps the version floors: an erased value must not come back at the new
/// destination either. Also keeps the resets, because they order the entries. The tombstone of an erased customer has only floors.
pub(super) fn forget_versions(store: &StoreConnection) -> rusqlite::Result<()> {
    let mut lanes = store.prepare("SELECT id, kind FROM lane WHERE versions IS NOT NULL")?;
    let lanes = lanes.query_map([], |row| Ok((row.get(0).map(LaneId)?, row.get(1)?)))?;
    let lanes: Vec<(LaneId, i64)> = lanes.collect::<rusqlite::Result<_>>()?;
    let is_erased =
        |kind: i64| matches!(codec::tombstone(kind), Some((_, TombstoneKind::Erased(_))));
    for (lane, _) in lanes.into_iter().filter(|(_, kind)| !is_erased(*kind)) {
        let kept = versions::of_lane(store, lane)?.at_new_destination();
        match kept == LaneVersions::default() {
            true => {
                store
                    .prepare_cached("UPDATE lane SET versions = NULL WHERE id = ?1")?
                    .execute([lane.0])?;
            }
            false => versions::store(store, lane, &kept)?,
        }
    }
    Ok(())
}

/// An entry in the lane of an Imprint id that its event does not name.
struct FoundEntry {
    entry: EntryId,
    lane: LaneId,
    key: Option<LaneKey>,
    class: LaneClass,
}

/// Moves each unfinished entry whose event names only the CRM's id from the lane of an Imprint id into the lane of the CRM's
/// id: a search, or an identity link, found the Imprint id at the previous destination, where it can belong to another
/// customer. An entry that the bridge cannot read stays, and the bridge does not send it.
pub(super) fn forget_found_ids(store: &StoreConnection, now: Timestamp) -> rusqlite::Result<()> {
    let statements = Statements::of(store);
    for state in payload::UNFINISHED {
        for found in found_entries(store, state)? {
            move_back(&statements, (&found, state), now)?;
        }
    }
    store.execute(
        "UPDATE lane SET idle = 1, due_at = NULL WHERE idle = 0 AND id NOT IN (SELECT lane FROM waiting)",
        [],
    )?;
    Ok(())
}

fn found_entries(store: &StoreConnection, state: State) -> rusqlite::Result<Vec<FoundEntry>> {
    let Some(table) = payload::table(state) else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT p.entry, p.lane, l.low, l.kind, l.received FROM {table} p JOIN lane l ON l.id = p.lane
         WHERE p.stated = 0 AND l.kind = ?1"
    );
    let mut entries = store.prepare(&sql)?;
    let entries = entries.query_map([codec::IMPRINT_LANE], |row| {
        let lane = row.get(1).map(LaneId)?;
        Ok(FoundEntry {
            entry: row.get(0).map(EntryId)?,
            lane,
            key: columns::lane_key(row, (3, 4), (lane, store.sealer()))?,
            class: columns::class(row, 2).unwrap_or(LaneClass::DEFAULT),
        })
    })?;
    entries.collect()
}

fn move_back(
    statements: &Statements<'_>,
    (found, state): (&FoundEntry, State),
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (entry, from) = (found.entry, found.lane);
    let payload = payload::read(statements, state, entry, found.key.as_ref())?;
    let Some(CustomerRef::Partner(partner)) = payload.and_then(|payload| payload.customer) else {
        return Ok(());
    };
    let entrance = match state == State::Waiting {
        true => Entrance::Waiting(found.class.priority, now),
        false => Entrance::SetAside,
    };
    let key = LaneKey::Partner(partner);
    let lane = EntryLane::find_or_create(statements, &key, entrance)?;
    lane.enter(statements, &key, None)?;
    let tables = [payload::table(state), Some("entry")];
    for table in tables.into_iter().flatten() {
        let id = if table == "entry" { "id" } else { "entry" };
        statements
            .prepare_cached(&format!("UPDATE {table} SET lane = ?2 WHERE {id} = ?1"))?
            .execute(params![entry.0, lane.id.0])?;
    }
    moved_update::bind(statements, (entry, state), (from, lane.id))
}
