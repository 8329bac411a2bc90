//! The origins of delivered values: for each value that Imprint has of a customer, the event that contained the value.
//!
//! While the receipt of an entry exists, it has the origin. When retention deletes the receipt and a version still contains
//! the number of the entry, the origin moves to the table `origin`.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::columns::{get, number, small, unsigned};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use super::receipt::identity;
use super::{customers, lane_versions};
use crate::outbox::{FieldOrigin, LaneId, LaneKey, OriginEvent};
use crate::time::Timestamp;

/// Reads the origin of every delivered field value of a customer.
pub(super) async fn read(
    db: &Connected,
    engine: &Engine,
    key: &LaneKey,
) -> Result<Vec<FieldOrigin>, DbFault> {
    let Some(lane) = customers::live_lane(db, engine, key).await? else {
        return Ok(Vec::new());
    };
    let versions = lane_versions::of_lane(db, &engine.sealer, lane).await?;
    let entries = versions.delivered_fields();
    let entries: HashSet<i64> = entries.map(|(_, it)| number(it.arrival)).collect();
    let events = events(db, entries.into_iter().collect()).await?;
    let fields = versions
        .delivered_fields()
        .map(|(field, version)| FieldOrigin {
            field: field.clone(),
            version,
            event: events.get(&version.arrival).cloned(),
        });
    Ok(fields.collect())
}

/// Reads the events of these entries from their receipts, or from the table `origin`.
async fn events(db: &Connected, entries: Vec<i64>) -> Result<HashMap<u64, OriginEvent>, DbFault> {
    let sql = "SELECT source, ce_source, event_id, delivered_at, attempts, entry FROM imprint_bridge.origin WHERE entry = ANY($1)
         UNION ALL SELECT source, ce_source, event_id, settled_at, attempts, id FROM imprint_bridge.entry
         WHERE id = ANY($1) AND settled_at IS NOT NULL";
    let mut events = HashMap::new();
    for row in db.query(sql, &[(&entries, Type::INT8_ARRAY)]).await? {
        let event = OriginEvent {
            identity: identity(&row, 0)?,
            delivered_at: Timestamp::from_millis(get(&row, 3)?),
            attempts: small(get(&row, 4)?),
        };
        events.insert(unsigned(get(&row, 5)?), event);
    }
    Ok(events)
}

/// Copies origins to the table `origin` before retention deletes the receipts of these entries, which the transaction has
/// locked.
///
/// Also deletes origins of the same lanes if newer values have replaced the values of the origins, except for origins that
/// another transaction has locked.
pub(super) async fn keep(db: &Connected, engine: &Engine, entries: &[i64]) -> Result<(), DbFault> {
    let sql =
        "SELECT DISTINCT lane FROM imprint_bridge.entry WHERE id = ANY($1) AND lane IS NOT NULL";
    let rows = db.query(sql, &[(&entries, Type::INT8_ARRAY)]).await?;
    let lanes = rows.iter().map(|row| get(row, 0).map(unsigned).map(LaneId));
    let lanes = lanes.collect::<Result<Vec<LaneId>, DbFault>>()?;
    let versions = lane_versions::read(db, &engine.sealer, lanes.into_iter()).await?;
    let (mut read, mut kept, mut kept_lanes) = (Vec::new(), Vec::new(), Vec::new());
    for (lane, versions) in versions {
        // Without its sealing key, the lane names no origin that must stay. Retention must not wait for the key.
        let Ok(versions) = versions else {
            continue;
        };
        read.push(number(lane.0));
        let referred = versions.delivered_fields();
        let referred: HashSet<u64> = referred.map(|(_, version)| version.arrival).collect();
        for entry in referred {
            kept.push(number(entry));
            kept_lanes.push(number(lane.0));
        }
    }
    let replaced = "DELETE FROM imprint_bridge.origin WHERE entry IN (
             SELECT entry FROM imprint_bridge.origin WHERE lane = ANY($1) AND entry <> ALL($2) FOR UPDATE SKIP LOCKED)";
    db.execute(
        replaced,
        &[(&read, Type::INT8_ARRAY), (&kept, Type::INT8_ARRAY)],
    )
    .await?;
    let sql = "INSERT INTO imprint_bridge.origin (entry, lane, source, ce_source, event_id, delivered_at, attempts)
         SELECT e.id, k.lane, e.source, e.ce_source, e.event_id, e.settled_at, e.attempts
         FROM unnest($1::bigint[], $2::bigint[]) AS k(entry, lane) JOIN imprint_bridge.entry e ON e.id = k.entry
         WHERE e.id = ANY($3) ORDER BY e.id ON CONFLICT (entry) DO NOTHING";
    let params: Params<'_> = &[
        (&kept, Type::INT8_ARRAY),
        (&kept_lanes, Type::INT8_ARRAY),
        (&entries, Type::INT8_ARRAY),
    ];
    db.execute(sql, params).await?;
    Ok(())
}
