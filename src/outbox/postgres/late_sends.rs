//! The requests whose claims ended before the answer of Imprint.
//!
//! While the process stood still, its lease ended; or the database lost the claim in a crash. In both cases another replica
//! possibly delivered newer values meanwhile, and the late request overwrote them at Imprint. The replica notices it at
//! the settlement, and marks the lane: dispatch then sends the values again that the lane keeps or delivers from now on.
//!
//! A lane keeps the values that it delivers after a takeover only until the time of the doubt is over. If the late request
//! ends after this time, the store has no values to send again, and only an error in the log names the lane.

use tokio_postgres::types::Type;

use super::columns::{get, number};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use crate::outbox::{ClaimToken, Error, LaneId};

/// The result of a look at the lane of a stale settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LateSend {
    /// The database has recorded the settlement before, or the lane is gone.
    None,
    /// Another replica works on the lane now.
    Claimed,
    /// No other replica has sent a request since the claim, and the lane has its mark already.
    Marked,
    /// The lane got its mark, and has values to send.
    Repeated,
    /// The lane got its mark, but has no values.
    WithoutValues,
}

/// Records that a request of this claim was possibly sent although the claim had ended. Returns [`Error::Busy`] while
/// another replica works on the lane, because the settlement of that replica would remove the mark.
pub(super) async fn record(engine: &Engine, lane: LaneId, token: ClaimToken) -> Result<(), Error> {
    let late = engine
        .act(async |db: &Connected| mark(db, engine, (lane, token)).await)
        .await?;
    match late {
        LateSend::None => return Ok(()),
        LateSend::Claimed => return Err(Error::Busy),
        LateSend::Marked | LateSend::Repeated => tracing::warn!(
            lane.id = lane.0,
            "a request of this replica possibly reached Imprint after its claim had ended; the newest values are sent again"
        ),
        LateSend::WithoutValues => tracing::error!(
            lane.id = lane.0,
            "a request of this replica possibly reached Imprint after its claim had ended, and the store no longer has the newest values of the customer; send the customer's data again"
        ),
    }
    engine.connector.counts.late_send();
    Ok(())
}

async fn mark(
    db: &Connected,
    engine: &Engine,
    (lane, token): (LaneId, ClaimToken),
) -> Result<LateSend, DbFault> {
    let sql = "SELECT owner IS NOT NULL, epoch, due_at IS NOT NULL, EXISTS (
             SELECT 1 FROM imprint_bridge.replica WHERE owner = $2 AND process = $3)
         FROM imprint_bridge.lane WHERE id = $1 FOR UPDATE";
    let lane = number(lane.0);
    let params: Params<'_> = &[
        (&lane, Type::INT8),
        (&number(token.owner), Type::INT8),
        (&engine.registration().process, Type::INT8),
    ];
    let Some(row) = db.query_opt(sql, params).await? else {
        return Ok(LateSend::None);
    };
    let (is_claimed, epoch): (bool, i64) = (get(&row, 0)?, get(&row, 1)?);
    let (has_values, is_registered): (bool, bool) = (get(&row, 2)?, get(&row, 3)?);
    match (is_claimed, epoch == number(token.epoch)) {
        (true, _) => return Ok(LateSend::Claimed),
        (false, true) if is_registered => return Ok(LateSend::None),
        (false, true) => return Ok(LateSend::Marked),
        (false, false) => {}
    }
    let sql = "UPDATE imprint_bridge.lane SET maybe_sent = -1 WHERE id = $1";
    db.execute(sql, &[(&lane, Type::INT8)]).await?;
    Ok(match has_values {
        true => LateSend::Repeated,
        false => LateSend::WithoutValues,
    })
}
