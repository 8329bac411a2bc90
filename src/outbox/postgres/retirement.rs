//! Retires idle customers: the row of a lane becomes a tombstone, which keeps the versions and the digest of the customer's id.
//!
//! Like the deletion of receipts, the retirement waits for no lock.

use tokio_postgres::types::Type;

use super::columns::{get, number, size, unsigned};
use super::connection::{Connected, Params};
use super::fault::DbFault;
use super::lane_table::RETIRED;
use crate::failpoint::{self, CrashPoint};
use crate::outbox::{LaneId, RETIRE_MAX, Retirement, codec};
use crate::time::Timestamp;

/// Locks the lanes of a range that have no due time, no claim, no request that possibly arrives late, and no unproven answer.
const LOCK: &str = "SELECT id FROM imprint_bridge.lane
    WHERE id BETWEEN $1 AND $2 AND kind IN (0, 1) AND erased IS NULL AND due_at IS NULL AND owner IS NULL AND maybe_sent = 0
        AND blamed_since IS NULL AND unproven_since IS NULL AND absence IS NULL
    ORDER BY id FOR UPDATE SKIP LOCKED";

/// Makes the locked lanes tombstones that have no entry, no receipt, no identity link and no new delivery. An event enters a
/// lane only under the lock of the lane, so a statement after the lock sees its entry.
const RETIRE: &str = "UPDATE imprint_bridge.lane AS l SET erased = $3, received = NULL, idle = true, low = $4, failures = 0,
        spent = 0, tried_at = NULL, unfold_to = NULL, spelled = 0
    WHERE l.id = ANY($1)
        AND NOT EXISTS (SELECT 1 FROM imprint_bridge.payload p WHERE p.lane = l.id AND p.state = 0)
        AND NOT EXISTS (SELECT 1 FROM imprint_bridge.payload p WHERE p.lane = l.id AND p.state <> 0)
        AND NOT EXISTS (SELECT 1 FROM imprint_bridge.entry e WHERE e.lane = l.id AND e.settled_at IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM imprint_bridge.origin o WHERE o.lane = l.id AND o.delivered_at >= $2)
        AND NOT EXISTS (SELECT 1 FROM imprint_bridge.link k WHERE l.kind = 1 AND k.partner = l.customer)
        AND NOT EXISTS (SELECT 1 FROM imprint_bridge.link k WHERE l.kind = 0 AND k.imprint = l.customer)
    RETURNING l.id";

/// Retires the idle customers among the next lanes.
pub(super) async fn retire(
    db: &Connected,
    from: LaneId,
    before: Timestamp,
) -> Result<Retirement, DbFault> {
    let sql = "SELECT max(id) FROM (SELECT id FROM imprint_bridge.lane WHERE id >= $1 ORDER BY id LIMIT $2) AS scanned";
    let (first, max) = (number(from.0), size(RETIRE_MAX));
    let params: Params<'_> = &[(&first, Type::INT8), (&max, Type::INT8)];
    let row = db.query_opt(sql, params).await?;
    let last: Option<i64> = row.map_or(Ok(None), |row| get(&row, 0))?;
    let Some(last) = last else {
        return Ok(Retirement {
            customers: 0,
            next: None,
        });
    };
    let params: Params<'_> = &[(&first, Type::INT8), (&last, Type::INT8)];
    let locked = numbers(&db.query(LOCK, params).await?)?;
    let low = i16::from(codec::NEW_LANE_CLASS);
    let params: Params<'_> = &[
        (&locked, Type::INT8_ARRAY),
        (&before.as_millis(), Type::INT8),
        (&RETIRED, Type::INT2),
        (&low, Type::INT2),
    ];
    let retired = numbers(&db.query(RETIRE, params).await?)?;
    let sql = "DELETE FROM imprint_bridge.origin WHERE lane = ANY($1)";
    db.execute(sql, &[(&retired, Type::INT8_ARRAY)]).await?;
    failpoint::crash_point(CrashPoint::BeforeRetirement);
    Ok(Retirement {
        customers: retired.len(),
        next: Some(LaneId(unsigned(last).saturating_add(1))),
    })
}

fn numbers(rows: &[tokio_postgres::Row]) -> Result<Vec<i64>, DbFault> {
    rows.iter().map(|row| get(row, 0)).collect()
}
