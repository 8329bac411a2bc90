//! Reads the versions of lanes: the versions of delivered values, and of values that Imprint has possibly received.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::fault::DbFault;
use crate::fold::LaneVersions;
use crate::outbox::LaneId;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;

/// Decodes the column `lane.versions`. Damaged versions are empty.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of the versions: a caller must not take them for empty.
pub(super) fn decode(
    sealer: &Sealer,
    lane: LaneId,
    stored: Option<&[u8]>,
) -> Result<LaneVersions, DbFault> {
    let Some(stored) = stored else {
        return Ok(LaneVersions::default());
    };
    match codec::decode(sealer, BlobKind::LaneVersions, lane.0, stored) {
        Err(error) if error.missing_key().is_some() => Err(error.into()),
        versions => Ok(versions.unwrap_or_default()),
    }
}

/// Reads the versions of these lanes. Each is an error if the process does not have its sealing key.
pub(super) async fn read(
    db: &Connected,
    sealer: &Sealer,
    lanes: impl Iterator<Item = LaneId>,
) -> Result<HashMap<LaneId, Result<LaneVersions, DbFault>>, DbFault> {
    let lanes: Vec<i64> = lanes.map(|lane| number(lane.0)).collect();
    if lanes.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT id, versions FROM imprint_bridge.lane WHERE id = ANY($1)";
    let rows = db.query(sql, &[(&lanes, Type::INT8_ARRAY)]).await?;
    let versions = rows.iter().map(|row| {
        let lane = LaneId(unsigned(get(row, 0)?));
        Ok((lane, decode(sealer, lane, get(row, 1)?)))
    });
    versions.collect()
}

/// Reads the versions of one lane.
pub(super) async fn of_lane(
    db: &Connected,
    sealer: &Sealer,
    lane: LaneId,
) -> Result<LaneVersions, DbFault> {
    let mut versions = read(db, sealer, std::iter::once(lane)).await?;
    versions
        .remove(&lane)
        .unwrap_or_else(|| Ok(LaneVersions::default()))
}
