//! The registration of a replica: its owner number, and its lease by the clock of the database.
//!
//! A lane belongs to the replica whose number it has, while the lease of the replica lasts. A replica extends its lease
//! every [`BEAT`]. After the lease has ended, another replica deletes the registration and frees the lanes. The late
//! replica then gets a new number, and all its earlier claims are stale: a settlement compares the number and the epoch
//! under the lock of the lane.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::fault::DbFault;

/// The time between two extensions of a lease.
pub(super) const BEAT: Duration = Duration::from_secs(3);

/// The lease of a replica, in seconds. Longer than any usual pause of a process, because a lease that ends during a
/// request allows two requests of one customer at once.
const LEASE_SECONDS: f64 = 15.0;

/// Registers a replica under a new number.
pub(super) async fn register(db: &Connected) -> Result<u64, DbFault> {
    let sql = "INSERT INTO imprint_bridge.replica (owner, lease_until)
         VALUES (nextval('imprint_bridge.replica_number'), clock_timestamp() + make_interval(secs => $1)) RETURNING owner";
    let row = db.query_opt(sql, &[(&LEASE_SECONDS, Type::FLOAT8)]).await?;
    let owner: i64 = row
        .as_ref()
        .map_or(Err(DbFault::Damaged("replica_number")), |row| get(row, 0))?;
    Ok(unsigned(owner))
}

/// Extends the lease of a replica. Returns `false` if another replica has ended the registration.
pub(super) async fn extend(db: &Connected, owner: u64) -> Result<bool, DbFault> {
    let sql = "UPDATE imprint_bridge.replica SET lease_until = clock_timestamp() + make_interval(secs => $2) WHERE owner = $1";
    let params = [number(owner)];
    let [owner] = &params;
    let extended = db
        .execute(sql, &[(owner, Type::INT8), (&LEASE_SECONDS, Type::FLOAT8)])
        .await?;
    Ok(extended > 0)
}

/// Ends the registrations whose leases have ended, and frees their lanes. Returns the numbers of these replicas.
pub(super) async fn take_over(db: &Connected) -> Result<Vec<i64>, DbFault> {
    let sql = "DELETE FROM imprint_bridge.replica WHERE owner IN (
             SELECT owner FROM imprint_bridge.replica WHERE lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
         RETURNING owner";
    let rows = db.query(sql, &[]).await?;
    let lost: Result<Vec<i64>, DbFault> = rows.iter().map(|row| get(row, 0)).collect();
    let lost = lost?;
    if !lost.is_empty() {
        free_lanes(db, &lost).await?;
    }
    Ok(lost)
}

/// Ends the registration of this replica, and frees its lanes.
pub(super) async fn leave(db: &Connected, owner: u64) -> Result<(), DbFault> {
    let owner = number(owner);
    let sql = "DELETE FROM imprint_bridge.replica WHERE owner = $1";
    db.execute(sql, &[(&owner, Type::INT8)]).await?;
    free_lanes(db, &[owner]).await
}

/// Frees the lanes of replicas that are gone. The replicas possibly have sent the entries of these lanes: every entry up
/// to the newest entry of the store.
async fn free_lanes(db: &Connected, owners: &[i64]) -> Result<(), DbFault> {
    let sql = "SELECT id FROM imprint_bridge.lane WHERE owner = ANY($1) ORDER BY id FOR UPDATE";
    let lanes = db.query(sql, &[(&owners, Type::INT8_ARRAY)]).await?;
    if lanes.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE imprint_bridge.lane SET owner = NULL,
             maybe_sent = CASE WHEN maybe_sent < 0 THEN -1 ELSE (SELECT coalesce(max(id), 1) FROM imprint_bridge.entry) END
         WHERE owner = ANY($1)";
    db.execute(sql, &[(&owners, Type::INT8_ARRAY)]).await?;
    Ok(())
}
