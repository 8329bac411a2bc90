//! Makes resting lanes due, in several transactions: after an outage hundreds of thousands of lanes can rest, and other
//! operations must not wait for them.

use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use crate::outbox::{Error, LaneClass, Standing, codec};
use crate::time::Timestamp;

/// The maximum number of lanes that one transaction makes due.
const RELEASED_MAX: i64 = 2_000;

/// Makes every lane with a waiting entry due.
pub(super) async fn release(engine: &Engine, now: Timestamp) -> Result<(), Error> {
    for class in LaneClass::all() {
        let low = codec::class_number(class);
        // Imprint possibly caused the failures, so the lane returns to the queue of lanes without failures.
        let (which, change) = match class.standing {
            Standing::Failing => (
                "due_at IS NOT NULL",
                "low = low % 2, due_at = least(due_at, $2)",
            ),
            Standing::Well | Standing::Untried => ("due_at > $2", "due_at = least(due_at, $2)"),
        };
        for claimed in ["owner IS NULL", "owner IS NOT NULL"] {
            let which = format!(
                "low = {low} AND {which} AND NOT idle AND due_at IS NOT NULL AND {claimed}"
            );
            slices(engine, now, &which, change).await?;
        }
    }
    engine.shared.woken.notify_waiters();
    Ok(())
}

/// Makes due every lane that waits for proof. Also removes every mark that Imprint has no customer with a lane's Imprint
/// id: the bridge possibly got such an answer with an earlier API key.
pub(super) async fn release_absent(engine: &Engine, now: Timestamp) -> Result<(), Error> {
    slices(engine, now, "spelled = 2", "spelled = 0").await?;
    let which = "absence IS NOT NULL AND due_at > $2 AND NOT idle";
    slices(engine, now, which, "due_at = least(due_at, $2)").await?;
    engine.shared.woken.notify_waiters();
    Ok(())
}

/// Changes the lanes that meet a condition, until a slice finds fewer lanes than its maximum.
async fn slices(engine: &Engine, now: Timestamp, which: &str, change: &str) -> Result<(), Error> {
    loop {
        let slice = async |db: &Connected| slice(db, now.as_millis(), which, change).await;
        if engine.act(slice).await? < RELEASED_MAX {
            return Ok(());
        }
    }
}

/// Changes one slice of lanes, which it locks in the order of their numbers. Returns the number of lanes that it found.
async fn slice(db: &Connected, now: i64, which: &str, change: &str) -> Result<i64, DbFault> {
    let find = format!(
        "SELECT id FROM imprint_bridge.lane WHERE {which} AND ($2::bigint IS NOT NULL) LIMIT $1"
    );
    let params: Params<'_> = &[(&RELEASED_MAX, Type::INT8), (&now, Type::INT8)];
    let found = db.query(&find, params).await?;
    let found: Result<Vec<i64>, DbFault> = found.iter().map(|row| get(row, 0)).collect();
    let found = found?;
    if found.is_empty() {
        return Ok(0);
    }
    let lock = "SELECT 1 FROM imprint_bridge.lane WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    db.query(lock, &[(&found, Type::INT8_ARRAY)]).await?;
    let update = format!(
        "UPDATE imprint_bridge.lane SET {change} WHERE id = ANY($1) AND {which} AND ($2::bigint IS NOT NULL)"
    );
    let params: Params<'_> = &[(&found, Type::INT8_ARRAY), (&now, Type::INT8)];
    db.execute(&update, params).await?;
    Ok(super::columns::size(found.len()))
}
