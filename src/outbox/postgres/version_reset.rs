//! An operator's reset of a customer's versions.

use std::collections::BTreeSet;

use super::columns::{get, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::lane_table::LaneTable;
use super::link_table::LinkTable;
use super::{audit, customers, lane_versions};
use crate::outbox::audit_chain::AuditKeys;
use crate::outbox::{AuditEvent, AuditHead, LaneId, LaneKey, VersionReset};

/// Resets the versions of the customer's lane. If the lane is claimed, changes nothing, because the settlement of the lane
/// would restore the old versions.
pub(super) async fn reset(
    db: &Connected,
    engine: &Engine,
    customer: &LaneKey,
    (event, keys): (&AuditEvent, &AuditKeys),
) -> Result<(VersionReset, Option<AuditHead>), DbFault> {
    let Some(lane) = lane_of(db, engine, customer).await? else {
        return Ok((VersionReset::UnknownCustomer, None));
    };
    let mut lanes = LaneTable::default();
    lanes.lock(db, BTreeSet::from([lane])).await?;
    if lanes.row(lane)?.owner.is_some() {
        return Ok((VersionReset::InFlight, None));
    }
    let versions = lane_versions::of_lane(db, &engine.sealer, lane).await?;
    let sql = "SELECT coalesce(max(id), 0) FROM imprint_bridge.entry";
    let newest = match db.query_opt(sql, &[]).await? {
        Some(row) => unsigned(get(&row, 0)?),
        None => 0,
    };
    let reset = versions.reset(newest);
    lanes.row_mut(lane)?.set_versions(&engine.sealer, &reset)?;
    lanes.write(db).await?;
    let target = format!("lane {}", lane.0);
    let event = AuditEvent {
        target,
        ..event.clone()
    };
    let head = audit::append(db, engine, (&event, keys), 0).await?;
    Ok((VersionReset::of(lane, &reset), Some(head)))
}

/// Finds the lane that has the versions of a customer. Only a lane with an Imprint id has versions, so a CRM's id needs a
/// confirmed identity link.
async fn lane_of(
    db: &Connected,
    engine: &Engine,
    customer: &LaneKey,
) -> Result<Option<LaneId>, DbFault> {
    let imprint = match customer {
        LaneKey::Imprint(imprint) => Some(imprint.clone()),
        LaneKey::Partner(partner) => {
            let mut links = LinkTable::default();
            links
                .read(db, engine, std::slice::from_ref(customer))
                .await?;
            let link = links.of_partner(engine, partner);
            link.and_then(|link| link.imprint.clone())
        }
    };
    match imprint {
        Some(imprint) => customers::live_lane(db, engine, &LaneKey::Imprint(imprint)).await,
        None => Ok(None),
    }
}
