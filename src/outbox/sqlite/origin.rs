//! The SQL statements of origins: for each value that Imprint has of a customer, find the event that contained the
//! value.
//!
//! The lane keeps the version of each delivered field, and the version contains the number of the entry. The receipt of
//! the entry has the event id, the time and the number of requests. While the receipt exists, the store therefore needs
//! no separate row for the origin. When retention deletes the receipt of an entry and a version still contains the
//! number of this entry, the event id, the time and the number of requests move to the table `origin`.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use rusqlite::{OptionalExtension, Row, params};

use super::receipt::identity;
use super::store_connection::StoreConnection;
use super::{columns, lane, versions};
use crate::outbox::{EntryId, FieldOrigin, LaneId, LaneKey, OriginEvent};
use crate::time::Timestamp;

/// Reads the origin of every delivered field value of a customer.
pub(super) fn read(
    connection: &StoreConnection,
    key: &LaneKey,
) -> rusqlite::Result<Vec<FieldOrigin>> {
    let Some(lane) = lane::find(connection, key)? else {
        return Ok(Vec::new());
    };
    let versions = versions::of_lane(connection, lane)?;
    let fields = versions.delivered_fields().map(|(field, version)| {
        Ok(FieldOrigin {
            field: field.clone(),
            version,
            event: event(connection, EntryId(version.arrival))?,
        })
    });
    fields.collect()
}

/// Reads the event of an entry from its receipt, or from the table `origin`.
fn event(connection: &StoreConnection, entry: EntryId) -> rusqlite::Result<Option<OriginEvent>> {
    let from_receipt = connection
        .prepare_cached(
            "SELECT source, ce_source, event_id, settled_at, attempts FROM entry
             WHERE id = ?1 AND settled_at IS NOT NULL",
        )?
        .query_row([entry.0], origin_event)
        .optional()?;
    if from_receipt.is_some() {
        return Ok(from_receipt);
    }
    connection
        .prepare_cached(
            "SELECT source, ce_source, event_id, delivered_at, attempts FROM origin WHERE entry = ?1",
        )?
        .query_row([entry.0], origin_event)
        .optional()
}

fn origin_event(row: &Row<'_>) -> rusqlite::Result<OriginEvent> {
    Ok(OriginEvent {
        identity: identity(row, 0)?,
        delivered_at: Timestamp::from_millis(row.get(3)?),
        attempts: row.get(4)?,
    })
}

/// Copies origins to the table `origin` before retention deletes the receipts of entries in this range. Retention
/// deletes a receipt if the entry reached a final state before the time `before`.
///
/// Also deletes origins of the same lanes if newer values have replaced the values of the origins.
pub(super) fn keep(
    connection: &StoreConnection,
    entries: &RangeInclusive<u64>,
    before: i64,
) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached(
            "SELECT DISTINCT lane FROM entry WHERE id BETWEEN ?1 AND ?2 AND settled_at < ?3 AND lane IS NOT NULL",
        )?;
    let params = params![entries.start(), entries.end(), before];
    let lanes = statement.query_map(params, |row| row.get(0).map(LaneId))?;
    for lane in columns::readable(lanes)? {
        let versions = match versions::of_lane(connection, lane) {
            // Without its sealing key, the lane names no origin that must stay. Retention must not wait for the key.
            Err(error) if columns::missing_key(&error).is_some() => continue,
            versions => versions?,
        };
        let referred = versions.delivered_fields();
        let referred: HashSet<u64> = referred.map(|(_, version)| version.arrival).collect();
        delete_replaced(connection, lane, &referred)?;
        for entry in referred.iter().filter(|entry| entries.contains(entry)) {
            connection
                .prepare_cached(
                    "INSERT INTO origin (entry, lane, source, ce_source, event_id, delivered_at, attempts)
                     SELECT id, ?2, source, ce_source, event_id, settled_at, attempts FROM entry
                     WHERE id = ?1 AND settled_at < ?3 ON CONFLICT (entry) DO NOTHING",
                )?
                .execute(params![entry, lane.0, before])?;
        }
    }
    Ok(())
}

fn delete_replaced(
    connection: &StoreConnection,
    lane: LaneId,
    referred: &HashSet<u64>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("SELECT entry FROM origin WHERE lane = ?1")?;
    let stored: Vec<u64> = columns::readable(statement.query_map([lane.0], |row| row.get(0))?)?;
    for entry in stored.iter().filter(|entry| !referred.contains(entry)) {
        connection
            .prepare_cached("DELETE FROM origin WHERE entry = ?1")?
            .execute([entry])?;
    }
    Ok(())
}
