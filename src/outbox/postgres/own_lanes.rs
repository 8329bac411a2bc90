//! The agreement between a replica and the database about the lanes of the replica.
//!
//! A crash of the database can lose its last commits: with `synchronous_commit` off, or at the failover to a standby that
//! lacked them. The database then has an earlier state of some lanes, and the replica a later one:
//!
//! - The settlement is lost: the lane still has the owner number of the replica, but the replica has ended the claim. The
//!   replica frees the lane, and records that it possibly has sent the values of the lane.
//! - The claim is lost: the lane is free, but its request is in flight. The replica claims the lane again under the same
//!   token, before it claims any other lane. If another replica has claimed the lane meanwhile, the claim is lost as after
//!   the end of a lease.
//!
//! Without a crash, the database can also have a claim that dispatch never got: the commit of the claim was in doubt, or the
//! replica could not read the claimed lane. The replica has sent nothing under such a claim, so it frees the lane without a
//! record. It knows these claims by their tokens: a crash possibly comes before the agreement.
//!
//! A connection through a pooler survives a crash of the database, so a replica does not rely on broken connections: it
//! also compares its claims with the database after each extension of its lease.

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use super::replica;
use crate::outbox::{ClaimToken, LaneId};

/// Compares the claims of the replica with the database, and agrees with the database if they differ. A claim or a
/// settlement of this moment also counts as a difference, which the agreement does not find any more.
pub(super) async fn compare(engine: &Engine) -> Result<(), DbFault> {
    let me = number(engine.owner.get());
    let (connector, link) = (&engine.connector, &engine.links.tidy);
    let rows = connector.read(link, async |db: &Connected| {
        let sql = "SELECT id, epoch FROM imprint_bridge.lane WHERE owner = $1";
        db.query(sql, &[(&me, Type::INT8)]).await
    });
    let mut known = 0;
    let rows = rows.await?;
    for row in &rows {
        let token = token(engine, unsigned(get(row, 1)?));
        let lane = LaneId(unsigned(get(row, 0)?));
        known += usize::from(engine.claims.borrow().holds(lane, token));
    }
    if known < rows.len() || known < engine.claims.borrow().lanes().count() {
        engine.claims.borrow_mut().suspect();
    }
    if !engine.claims.borrow().needs_agreement() {
        return Ok(());
    }
    let _turn = engine.claiming.lock().await;
    agree(engine).await?;
    engine.shared.woken.notify_waiters();
    Ok(())
}

/// What the replica and the database did not agree about.
#[derive(Default)]
struct Disagreement {
    /// The lanes that the database gives to the replica, but that the replica does not know.
    unknown: Vec<i64>,
    /// The lanes that the database gives to the replica under claims that dispatch never got.
    unsent: Vec<i64>,
    /// The lanes that the replica has claimed, but that are free in the database, and the epochs of the claims.
    lost: (Vec<i64>, Vec<i64>),
}

/// Frees the lanes that the database gives to this replica, but that the replica does not know as claimed, and claims again
/// the lanes whose claims the database has lost. The caller holds the turn of the claims.
pub(super) async fn agree(engine: &Engine) -> Result<(), DbFault> {
    wait_for_unsent(engine).await?;
    let agreed = engine
        .connector
        .transact(&engine.links.claims, async |db: &Connected| {
            replica::lock(db, engine.registration()).await?;
            let found = find(db, engine).await?;
            replica::free_sent(db, &found.unknown).await?;
            free(db, &found.unsent).await?;
            claim_again(db, engine, &found.lost).await?;
            Ok(found)
        });
    let found = agreed.await?;
    engine.claims.borrow_mut().agreed();
    if !(found.unknown.is_empty() && found.unsent.is_empty()) {
        engine.floors.borrow_mut().ask();
    }
    let lost = found.lost.0.len();
    if lost > 0 {
        tracing::error!(
            claims = lost,
            freed = found.unknown.len(),
            "the database has lost its last commits; this replica recorded its claims again"
        );
    } else if !found.unknown.is_empty() {
        tracing::warn!(
            freed = found.unknown.len(),
            "this replica had lanes that it did not know, as after a lost commit; it freed them"
        );
    }
    Ok(())
}

/// Waits until the database has committed or ended the claims that dispatch never got. The agreement locks all lanes of the
/// replica, and would otherwise hold up their events during this wait.
async fn wait_for_unsent(engine: &Engine) -> Result<(), DbFault> {
    let lanes: Vec<i64> = {
        let claims = engine.claims.borrow();
        claims.unsent_lanes().map(|lane| number(lane.0)).collect()
    };
    if lanes.is_empty() {
        return Ok(());
    }
    let wait = engine
        .connector
        .transact(&engine.links.claims, async |db: &Connected| {
            let sql =
                "SELECT id FROM imprint_bridge.lane WHERE id = ANY($1) ORDER BY id FOR UPDATE";
            db.query(sql, &[(&lanes, Type::INT8_ARRAY)]).await?;
            Ok(())
        });
    wait.await
}

/// Locks the lanes of the replica, and compares them. A settlement ends the claim of the replica after its commit, so a
/// lane that is free and has the epoch of its claim is settled. The database possibly still commits a claim that dispatch
/// never got: the locks wait for it.
async fn find(db: &Connected, engine: &Engine) -> Result<Disagreement, DbFault> {
    let me = number(engine.owner.get());
    let held: Vec<i64> = {
        let claims = engine.claims.borrow();
        let lanes = claims.lanes().chain(claims.unsent_lanes());
        lanes.map(|lane| number(lane.0)).collect()
    };
    let sql = "SELECT id, owner, epoch FROM imprint_bridge.lane WHERE owner = $1 OR id = ANY($2) ORDER BY id FOR UPDATE";
    let params: Params<'_> = &[(&me, Type::INT8), (&held, Type::INT8_ARRAY)];
    let mut found = Disagreement::default();
    for row in &db.query(sql, params).await? {
        let id: i64 = get(row, 0)?;
        let owner: Option<i64> = get(row, 1)?;
        let epoch = unsigned(get(row, 2)?);
        let lane = LaneId(unsigned(id));
        let claims = engine.claims.borrow();
        let claim = claims.token(lane);
        let claim = claim.filter(|claim| number(claim.owner) == me);
        let is_unsent = claims.is_unsent(lane, token(engine, epoch));
        match (owner, claim) {
            (None, Some(claim)) if claim.epoch > epoch => {
                found.lost.0.push(id);
                found.lost.1.push(number(claim.epoch));
            }
            (Some(owner), Some(claim)) if owner == me && claim.epoch > epoch => {
                found.lost.0.push(id);
                found.lost.1.push(number(claim.epoch));
            }
            (Some(owner), None) if owner == me && is_unsent => found.unsent.push(id),
            (Some(owner), None) if owner == me => found.unknown.push(id),
            (Some(_) | None, Some(_) | None) => {}
        }
    }
    Ok(found)
}

/// Frees locked lanes of which nothing was sent.
async fn free(db: &Connected, lanes: &[i64]) -> Result<(), DbFault> {
    if lanes.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE imprint_bridge.lane SET owner = NULL WHERE id = ANY($1)";
    db.execute(sql, &[(&lanes, Type::INT8_ARRAY)]).await?;
    Ok(())
}

/// Gives locked lanes to this replica under the tokens of its claims.
async fn claim_again(
    db: &Connected,
    engine: &Engine,
    (lanes, epochs): &(Vec<i64>, Vec<i64>),
) -> Result<(), DbFault> {
    if lanes.is_empty() {
        return Ok(());
    }
    let me = number(engine.owner.get());
    let sql = "UPDATE imprint_bridge.lane AS l SET owner = $1, epoch = u.epoch
         FROM unnest($2::bigint[], $3::bigint[]) AS u(id, epoch) WHERE l.id = u.id";
    let params: Params<'_> = &[
        (&me, Type::INT8),
        (lanes, Type::INT8_ARRAY),
        (epochs, Type::INT8_ARRAY),
    ];
    db.execute(sql, params).await?;
    Ok(())
}

fn token(engine: &Engine, epoch: u64) -> ClaimToken {
    let owner = engine.owner.get();
    ClaimToken { owner, epoch }
}
