//! The registration of a replica: its owner number, and its lease by the clock of the database.
//!
//! A lane belongs to the replica whose number it has, while the lease of the replica lasts. A replica extends its lease
//! every [`BEAT`]. After the lease has ended, another replica deletes the registration and frees the lanes. The late
//! replica then gets a new number, and all its earlier claims are stale: a settlement compares the number and the epoch
//! under the lock of the lane.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::{Connected, Params};
use super::fault::DbFault;

/// The time between two extensions of a lease.
pub(super) const BEAT: Duration = Duration::from_secs(3);

/// The lease of a replica. Longer than any usual pause of a process, because a lease that ends during a request allows two
/// requests of one customer at once.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// The registration of a replica.
#[derive(Clone, Copy)]
pub(super) struct Registration {
    pub(super) owner: u64,
    /// The random number of the process.
    pub(super) process: i64,
}

/// Registers a replica with its sealing keys under a new number.
pub(super) async fn register(
    db: &Connected,
    process: i64,
    keys: &[Vec<u8>],
) -> Result<u64, DbFault> {
    let sql = "INSERT INTO imprint_bridge.replica (owner, process, keys, lease_until)
         VALUES (nextval('imprint_bridge.replica_number'), $2, $3, clock_timestamp() + make_interval(secs => $1)) RETURNING owner";
    let params: Params<'_> = &[
        (&LEASE.as_secs_f64(), Type::FLOAT8),
        (&process, Type::INT8),
        (&keys, Type::BYTEA_ARRAY),
    ];
    let row = db.query_opt(sql, params).await?;
    let owner: i64 = row
        .as_ref()
        .map_or(Err(DbFault::Damaged("replica_number")), |row| get(row, 0))?;
    Ok(unsigned(owner))
}

/// Extends the lease of a replica. Returns `false` if the registration has ended.
pub(super) async fn extend(db: &Connected, registration: Registration) -> Result<bool, DbFault> {
    let sql = "UPDATE imprint_bridge.replica SET lease_until = clock_timestamp() + make_interval(secs => $3)
         WHERE owner = $1 AND process = $2";
    let params: Params<'_> = &[
        (&number(registration.owner), Type::INT8),
        (&registration.process, Type::INT8),
        (&LEASE.as_secs_f64(), Type::FLOAT8),
    ];
    Ok(db.execute(sql, params).await? > 0)
}

/// Keeps the registration until the commit. Without a registration, nobody would free the lanes that the transaction
/// gives to the replica.
pub(super) async fn lock(db: &Connected, registration: Registration) -> Result<(), DbFault> {
    let sql =
        "SELECT 1 FROM imprint_bridge.replica WHERE owner = $1 AND process = $2 FOR KEY SHARE";
    let params: Params<'_> = &[
        (&number(registration.owner), Type::INT8),
        (&registration.process, Type::INT8),
    ];
    let found = db.query_opt(sql, params).await?;
    found.map(|_row| ()).ok_or(DbFault::Raced)
}

/// Ends the registrations whose leases have ended, and frees their lanes. For the start of a replica. Returns the numbers of
/// these replicas.
pub(super) async fn take_over_ended(db: &Connected) -> Result<Vec<i64>, DbFault> {
    let sql = "SELECT owner, extract(epoch FROM lease_until)::text FROM imprint_bridge.replica WHERE lease_until < clock_timestamp()";
    let rows = db.query(sql, &[]).await?;
    let ended = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
    take_over(db, &ended.collect::<Result<Vec<LeaseEnd>, DbFault>>()?).await
}

/// The number of a replica, and the end of its lease as a text that does not depend on the time zone of the session.
pub(super) type LeaseEnd = (i64, String);

/// Reads the ends of the leases of all replicas.
pub(super) async fn leases(db: &Connected) -> Result<Vec<LeaseEnd>, DbFault> {
    let sql = "SELECT owner, extract(epoch FROM lease_until)::text FROM imprint_bridge.replica";
    let rows = db.query(sql, &[]).await?;
    let leases = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
    leases.collect()
}

/// Returns the number of replicas whose leases have not ended, at least 1.
pub(super) async fn count(db: &Connected) -> Result<NonZeroUsize, DbFault> {
    let sql = "SELECT count(*) FROM imprint_bridge.replica WHERE lease_until >= clock_timestamp()";
    let count = match db.query_opt(sql, &[]).await? {
        Some(row) => get::<i64>(&row, 0)?,
        None => 0,
    };
    let count = usize::try_from(count).ok().and_then(NonZeroUsize::new);
    Ok(count.unwrap_or(NonZeroUsize::MIN))
}

/// Ends these registrations unless their replicas have extended their leases, and frees their lanes. Returns the numbers of
/// the ended replicas.
pub(super) async fn take_over(db: &Connected, lost: &[LeaseEnd]) -> Result<Vec<i64>, DbFault> {
    let owners: Vec<i64> = lost.iter().map(|(owner, _)| *owner).collect();
    let leases: Vec<&str> = lost.iter().map(|(_, lease)| lease.as_str()).collect();
    let sql = "DELETE FROM imprint_bridge.replica WHERE owner IN (
             SELECT r.owner FROM imprint_bridge.replica r
             JOIN unnest($1::bigint[], $2::text[]) AS u(owner, lease)
                 ON r.owner = u.owner AND extract(epoch FROM r.lease_until)::text = u.lease
             FOR UPDATE OF r SKIP LOCKED)
         RETURNING owner";
    let params: Params<'_> = &[(&owners, Type::INT8_ARRAY), (&leases, Type::TEXT_ARRAY)];
    let rows = db.query(sql, params).await?;
    let lost: Result<Vec<i64>, DbFault> = rows.iter().map(|row| get(row, 0)).collect();
    let lost = lost?;
    if !lost.is_empty() {
        free_lanes(db, &lost).await?;
    }
    Ok(lost)
}

/// Ends the registration of this replica, and frees its lanes.
pub(super) async fn leave(db: &Connected, registration: Registration) -> Result<(), DbFault> {
    let owner = number(registration.owner);
    let sql = "DELETE FROM imprint_bridge.replica WHERE owner = $1 AND process = $2";
    let params: Params<'_> = &[(&owner, Type::INT8), (&registration.process, Type::INT8)];
    match db.execute(sql, params).await? {
        0 => Ok(()),
        _ => free_lanes(db, &[owner]).await,
    }
}

/// Frees all claimed lanes. No replica is left.
pub(super) async fn free_all(db: &Connected) -> Result<(), DbFault> {
    let sql = "SELECT id FROM imprint_bridge.lane WHERE owner IS NOT NULL ORDER BY id FOR UPDATE";
    let rows = db.query(sql, &[]).await?;
    let lanes: Result<Vec<i64>, DbFault> = rows.iter().map(|row| get(row, 0)).collect();
    free_sent(db, &lanes?).await
}

/// Frees the lanes of replicas that are gone.
async fn free_lanes(db: &Connected, owners: &[i64]) -> Result<(), DbFault> {
    let sql = "SELECT id FROM imprint_bridge.lane WHERE owner = ANY($1) ORDER BY id FOR UPDATE";
    let rows = db.query(sql, &[(&owners, Type::INT8_ARRAY)]).await?;
    let lanes: Result<Vec<i64>, DbFault> = rows.iter().map(|row| get(row, 0)).collect();
    free_sent(db, &lanes?).await
}

/// Frees locked lanes whose entries were possibly sent: every entry up to the newest entry of the store.
pub(super) async fn free_sent(db: &Connected, lanes: &[i64]) -> Result<(), DbFault> {
    if lanes.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE imprint_bridge.lane SET owner = NULL,
             maybe_sent = CASE WHEN maybe_sent < 0 THEN -1 ELSE (SELECT coalesce(max(id), 1) FROM imprint_bridge.entry) END
         WHERE id = ANY($1)";
    db.execute(sql, &[(&lanes, Type::INT8_ARRAY)]).await?;
    Ok(())
}
