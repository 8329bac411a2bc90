//! The appends of a group: finds the stored events, plans the batches, and stores the new entries.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::append_plan::{AppendPlan, KnownEvent, PlannedEntry, change};
use super::columns::{get, size, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::keys::EventKeys;
use super::lane_table::LaneTable;
use super::moved_tombstones;
use super::new_rows::{NumberedEntry, insert_payloads};
use super::tally::TallyChange;
use crate::imprint::CustomerRef;
use crate::outbox::{Digest, EntryId, LaneKey, NewEntry, State, codec};

/// Returns the customers of the events of these batches.
pub(super) fn customers<'a>(
    batches: &'a [&'a [NewEntry]],
) -> impl Iterator<Item = &'a CustomerRef> {
    let events = batches.iter().flat_map(|batch| batch.iter());
    events.filter_map(|new| change(&new.disposition).map(|change| &change.customer))
}

/// Finds the stored events with the identities of these events, and plans the batches.
pub(super) async fn plan<'a>(
    db: &Connected,
    engine: &Engine,
    batches: &[&'a [NewEntry]],
    lanes: &LaneTable,
) -> Result<AppendPlan<'a>, DbFault> {
    let identities = batches.iter().flat_map(|batch| batch.iter());
    let identities = identities.map(|new| &new.identity);
    moved_tombstones::adopt_events(db, engine, identities).await?;
    let keys_of = |batch: &&[NewEntry]| -> Vec<EventKeys> {
        let events = batch.iter();
        events
            .map(|new| engine.digests.event(&new.identity))
            .collect()
    };
    let keys: Vec<Vec<EventKeys>> = batches.iter().map(keys_of).collect();
    let stored = find(db, &keys.concat()).await?;
    let is_blocked = |customer: &CustomerRef| lanes.is_blocked(engine, customer);
    Ok(AppendPlan::of(batches, &keys, &stored, is_blocked))
}

async fn find(
    db: &Connected,
    keys: &[EventKeys],
) -> Result<HashMap<EventKeys, KnownEvent>, DbFault> {
    let mut found = HashMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let events: Vec<&[u8]> = keys.iter().map(|keys| keys.event.as_slice()).collect();
    let ce_sources: Vec<&[u8]> = keys.iter().map(|keys| keys.ce_source.as_slice()).collect();
    let sql = "SELECT e.event_key, e.ce_key, e.id, e.state, e.digest
         FROM (SELECT DISTINCT * FROM unnest($1::bytea[], $2::bytea[]) AS u(event_key, ce_key)) AS k
         JOIN imprint_bridge.entry e ON e.event_key = k.event_key AND e.ce_key = k.ce_key";
    let params = (events, ce_sources);
    let rows = db
        .query(
            sql,
            &[
                (&params.0, Type::BYTEA_ARRAY),
                (&params.1, Type::BYTEA_ARRAY),
            ],
        )
        .await?;
    for row in &rows {
        let bytes = |column: usize, name: &'static str| -> Result<[u8; 16], DbFault> {
            let bytes: &[u8] = get(row, column)?;
            bytes.try_into().map_err(|_length| DbFault::Damaged(name))
        };
        let keys = EventKeys {
            event: bytes(0, "entry.event_key")?,
            ce_source: bytes(1, "entry.ce_key")?,
        };
        let state: i16 = get(row, 3)?;
        let stored = KnownEvent {
            entry: EntryId(unsigned(get(row, 2)?)),
            state: codec::state("entry.state", state.into())?,
            digest: Digest(bytes(4, "entry.digest")?),
        };
        found.insert(keys, stored);
    }
    Ok(found)
}

/// Returns the key of the lane of a new entry.
pub(super) fn lane_key(planned: &PlannedEntry<'_>) -> Option<LaneKey> {
    planned.change().map(|change| LaneKey::of(&change.customer))
}

/// Adds the new entries to their lanes, and stores their payloads. The lanes are locked.
pub(super) async fn enter(
    db: &Connected,
    engine: &Engine,
    entries: &[NumberedEntry<'_, '_>],
    (lanes, tally): (&mut LaneTable, &mut TallyChange),
) -> Result<(), DbFault> {
    for entry in entries {
        let (planned, new) = (entry.planned, entry.planned.new);
        let state = planned.state();
        tally.enter(state, &new.identity.source, size(new.stored_bytes()));
        if let (Some(lane), Some(key)) = (entry.lane, lane_key(planned)) {
            let waits = state == State::Waiting;
            let entrance = waits.then_some((new.priority, new.accepted_at));
            let source = new.identity.source.as_str();
            let row = lanes.row_mut(lane)?;
            row.enter(&engine.sealer, &key, entrance, Some(source))?;
        }
    }
    insert_payloads(db, &engine.sealer, entries).await
}
