//! The clock of the database, and the limit of the due times at the start of a replica.
//!
//! The machines of several replicas have different clocks, and each clock can be wrong. So every replica sets the clock of
//! its schedule to the clock of the database: due times, pauses and retention then mean the same for all replicas.

use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::{Connected, Connector, DbLink, Params};
use super::fault::DbFault;
use crate::outbox::{DUE_AHEAD_MAX, LaneClass, codec};
use crate::time::Timestamp;

/// The maximum number of lanes whose due times one transaction limits.
const LIMITED_MAX: i64 = 2_000;

/// Reads the clock of the database.
pub(super) async fn now(db: &Connected) -> Result<Timestamp, DbFault> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let row = db.query_opt(sql, &[]).await?;
    let row = row.ok_or(DbFault::Damaged("the clock"))?;
    Ok(Timestamp::from_millis(get(&row, 0)?))
}

/// Limits the time that each lane still waits to [`DUE_AHEAD_MAX`], the longest pause. Only lanes whose due times come from
/// a time when the clock of the database was ahead wait longer (FAULTS C01, N972).
pub(super) async fn limit(connector: &Connector, link: &DbLink) -> Result<(), DbFault> {
    let now = connector.read(link, now).await?;
    let ahead_max = now.after(DUE_AHEAD_MAX).as_millis();
    loop {
        let slice = async |db: &Connected| slice(db, now.as_millis(), ahead_max).await;
        let limited = connector.transact(link, slice).await?;
        if limited == 0 {
            return Ok(());
        }
        tracing::warn!(
            lanes = limited,
            "customers waited for a time too far in the future: somebody has set the clock of the database back; the bridge sends their events now"
        );
    }
}

/// Makes some lanes due that wait too long. A lane that only waits for a reassertion waits for the longest pause. Returns the
/// number of lanes.
async fn slice(db: &Connected, now: i64, ahead_max: i64) -> Result<u64, DbFault> {
    // The index of due lanes begins with the number of the queue.
    let queues: Vec<String> = LaneClass::all()
        .map(|class| codec::class_number(class).to_string())
        .collect();
    let sql = format!(
        "UPDATE imprint_bridge.lane AS l SET due_at = CASE WHEN l.idle THEN $2 ELSE $1 END
         FROM (SELECT id FROM imprint_bridge.lane WHERE low IN ({}) AND due_at > $2 AND owner IS NULL
               ORDER BY id LIMIT $3 FOR UPDATE) AS late
         WHERE l.id = late.id",
        queues.join(", ")
    );
    let params: Params<'_> = &[
        (&now, Type::INT8),
        (&ahead_max, Type::INT8),
        (&LIMITED_MAX, Type::INT8),
    ];
    db.execute(&sql, params).await
}
