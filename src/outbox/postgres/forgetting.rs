//! The erased customers that other replicas possibly still have in memory: as witnesses, and in shadow records.
//!
//! The transaction of an erasure gives each other replica an order to forget the lanes. A replica finds its orders when it
//! looks at what the replicas share, forgets the customers and deletes its orders. The orders end with the registration of
//! a replica: a replica whose lease has ended forgets all customers when it registers again.

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::{Connected, Params};
use super::fault::DbFault;
use crate::outbox::{Forgotten, LaneId};

/// Orders all other replicas to forget the customers of these lanes. Leaves out a replica that another transaction removes.
pub(super) async fn order(
    db: &Connected,
    me: u64,
    lanes: impl Iterator<Item = LaneId>,
) -> Result<(), DbFault> {
    let (me, lanes) = (number(me), numbers(lanes));
    let sql = "INSERT INTO imprint_bridge.forgetting (owner, lane)
         SELECT r.owner, l.lane FROM (SELECT owner FROM imprint_bridge.replica WHERE owner <> $1
                 ORDER BY owner FOR KEY SHARE SKIP LOCKED) AS r
             CROSS JOIN (SELECT DISTINCT lane FROM unnest($2::bigint[]) AS u(lane)) AS l
         ON CONFLICT (owner, lane) DO NOTHING";
    let params: Params<'_> = &[(&me, Type::INT8), (&lanes, Type::INT8_ARRAY)];
    db.execute(sql, params).await?;
    Ok(())
}

/// Returns the orders of this replica.
pub(super) async fn ordered(db: &Connected, me: u64) -> Result<Forgotten, DbFault> {
    let sql = "SELECT lane FROM imprint_bridge.forgetting WHERE owner = $1";
    let rows = db.query(sql, &[(&number(me), Type::INT8)]).await?;
    let lanes = rows.iter().map(|row| get(row, 0).map(unsigned).map(LaneId));
    let lanes: Vec<LaneId> = lanes.collect::<Result<_, DbFault>>()?;
    Ok(match lanes.is_empty() {
        true => Forgotten::Nobody,
        false => Forgotten::Lanes(lanes),
    })
}

/// Deletes the orders of this replica about these lanes.
pub(super) async fn confirm(db: &Connected, me: u64, lanes: &[LaneId]) -> Result<(), DbFault> {
    let (me, lanes) = (number(me), numbers(lanes.iter().copied()));
    let sql = "DELETE FROM imprint_bridge.forgetting WHERE owner = $1 AND lane = ANY($2)";
    let params: Params<'_> = &[(&me, Type::INT8), (&lanes, Type::INT8_ARRAY)];
    db.execute(sql, params).await?;
    Ok(())
}

/// Returns the numbers of the replicas with orders.
pub(super) async fn replicas(db: &Connected) -> Result<Vec<u64>, DbFault> {
    let sql = "SELECT DISTINCT owner FROM imprint_bridge.forgetting ORDER BY owner";
    let rows = db.query(sql, &[]).await?;
    rows.iter().map(|row| get(row, 0).map(unsigned)).collect()
}

fn numbers(lanes: impl Iterator<Item = LaneId>) -> Vec<i64> {
    lanes.map(|lane| number(lane.0)).collect()
}
