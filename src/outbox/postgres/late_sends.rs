//! The requests whose claims ended before the answer of Imprint.
//!
//! While the process stood still, its lease ended; or the database lost the claim in a crash. In both cases another replica
//! possibly delivered newer values meanwhile, and the late request overwrote them at Imprint. The transaction of the stale
//! settlement marks the lane, even while another replica has claimed it: dispatch then sends the values again that the
//! lane keeps or delivers from now on.
//!
//! A lane keeps the values that it delivers after a takeover only until the time of the doubt is over. If the late request
//! ends after this time, the store has no values to send again, and only an error in the log names the lane.

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::connection_counts::ConnectionCounts;
use super::fault::DbFault;
use super::lane_table::LaneTable;
use crate::outbox::{LaneId, Settlement};

/// A request whose claim ended before the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateSend {
    lane: LaneId,
    /// True if the lane has values, or gets values from the replica that has claimed it.
    has_values: bool,
}

/// Returns the lanes of these settlements that still exist, if dispatch has possibly sent an update. The replica does not
/// know the claims of the settlements.
pub(super) async fn lanes(
    db: &Connected,
    stale: impl Iterator<Item = &Settlement>,
) -> Result<Vec<LaneId>, DbFault> {
    let sent = stale.filter(|settlement| settlement.has_possibly_updated());
    let sent: Vec<i64> = sent.map(|settlement| number(settlement.lane.0)).collect();
    if sent.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT id FROM imprint_bridge.lane WHERE id = ANY($1)";
    let rows = db.query(sql, &[(&sent, Type::INT8_ARRAY)]).await?;
    let lanes = rows.iter().map(|row| get(row, 0).map(unsigned).map(LaneId));
    lanes.collect()
}

/// Marks the lane of a stale settlement. Returns `None` if no request was late: dispatch has sent no update, the store has
/// recorded the settlement before, or the lane is gone.
pub(super) fn mark(lanes: &mut LaneTable, settlement: &Settlement) -> Option<LateSend> {
    let lane = settlement.lane;
    let row = lanes.row_mut(lane).ok();
    let row = row.filter(|_| settlement.has_possibly_updated())?;
    let has_values = row.owner.is_some() || row.due.is_some();
    let late_send = Some(LateSend { lane, has_values });
    if row.epoch != number(settlement.token.epoch) {
        row.notice_late_request();
        return late_send;
    }
    // No other replica has claimed the lane since this claim. A settlement has removed the mark of the lane, and the end of
    // a lease has set it.
    late_send.filter(|_| row.owner.is_none() && row.maybe_sent != 0)
}

/// Counts and logs the late requests of a committed group.
pub(super) fn report(late_sends: &[LateSend], counts: &ConnectionCounts) {
    for late_send in late_sends {
        let lane = late_send.lane.0;
        if late_send.has_values {
            tracing::warn!(
                lane.id = lane,
                "a request of this replica possibly reached Imprint after its claim had ended; the newest values are sent again"
            );
        } else {
            tracing::error!(
                lane.id = lane,
                "a request of this replica possibly reached Imprint after its claim had ended, and the store no longer has the newest values of the customer; send the customer's data again"
            );
        }
        counts.late_send();
    }
}
