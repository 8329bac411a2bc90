//! The SQL statements of an operator's reset of a customer's versions.

use super::claimed_lanes::ClaimedLanes;
use super::counts::Counts;
use super::signed_event::SignedEvent;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::writer::job::{ActJob, Reply, Wakes};
use super::{audit, claimed_lanes, identity_link, lane, versions};
use crate::outbox::{LaneId, LaneKey, VersionReset};

/// Returns the command that resets the versions of a customer.
pub(super) fn act(reply: Reply<VersionReset>, customer: LaneKey, event: SignedEvent) -> ActJob {
    let reset = move |connection: &StoreConnection, _: &mut Counts, claimed: &ClaimedLanes| {
        reset(connection, &customer, event, claimed)
    };
    ActJob::with_claims(reply, Wakes::Nobody, reset)
}

/// Resets the versions of the customer's lane. If the lane is claimed, changes nothing, because the settlement of the
/// lane would restore the old versions.
fn reset(
    connection: &StoreConnection,
    customer: &LaneKey,
    mut event: SignedEvent,
    claimed: &ClaimedLanes,
) -> rusqlite::Result<VersionReset> {
    let Some(lane) = lane_of(connection, customer)? else {
        return Ok(VersionReset::UnknownCustomer);
    };
    if claimed.is_claimed(lane) {
        return Ok(VersionReset::InFlight);
    }
    let newest = claimed_lanes::newest_entry(connection)?;
    let reset = versions::of_lane(connection, lane)?.reset(newest.0);
    versions::store(connection, lane, &reset)?;
    event.target = format!("lane {}", lane.0);
    audit::append(connection, &event, 0)?;
    Ok(VersionReset::of(lane, &reset))
}

/// Finds the lane that has the versions of a customer. Only a lane with an Imprint id has versions, so a partner
/// customer id needs a confirmed identity link.
fn lane_of(connection: &StoreConnection, customer: &LaneKey) -> rusqlite::Result<Option<LaneId>> {
    let imprint = match customer {
        LaneKey::Imprint(imprint) => Some(imprint.clone()),
        LaneKey::Partner(partner) => {
            identity_link::of_partner(&Statements::of(connection), partner)?
                .and_then(|link| link.imprint)
        }
    };
    let Some(imprint) = imprint else {
        return Ok(None);
    };
    lane::find(connection, &LaneKey::Imprint(imprint))
}
