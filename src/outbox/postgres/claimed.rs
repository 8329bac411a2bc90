//! Reads claimed lanes: their rows, their waiting entries, and the identity links of their customers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::Row;

use super::columns::{get, number, time, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::links::{self, FoundLinks};
use super::waiting::{self, LaneEntries};
use super::{customers, lane_row, lane_versions, receipt};
use crate::fold::LaneVersions;
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::{
    ClaimToken, ClaimedLane, EntryId, LaneId, LaneKey, Standing, Trials, Unproven, WaitingEntry,
};

/// A lane that this replica has claimed in the database.
pub(super) struct TakenLane {
    pub(super) id: LaneId,
    pub(super) token: ClaimToken,
    /// The columns of [`TAKEN`].
    pub(super) row: Row,
}

/// The columns of a claimed lane `l`.
pub(super) const TAKEN: &str =
    "l.id, l.epoch, l.kind, l.received, l.erased, l.failures, l.spent, l.tried_at, l.blamed_since,
    l.unfold_to, l.versions, l.low, l.maybe_sent, l.spelled, l.unproven_since, l.absence, l.customer";

/// The read lanes, and the lanes that wait for a missing sealing key.
pub(super) type ReadLanes = (Vec<ClaimedLane>, Vec<(LaneId, ClaimToken)>);

/// Reads claimed lanes.
pub(super) async fn read(
    db: &Connected,
    engine: &Engine,
    taken: &[TakenLane],
) -> Result<ReadLanes, DbFault> {
    let ids: Vec<i64> = taken.iter().map(|lane| number(lane.id.0)).collect();
    let entries = waiting::read(db, &ids, engine.bounds).await?;
    let (mut lanes, mut locked) = (Vec::new(), Vec::new());
    for lane in taken {
        match read_lane(engine, lane, entries.get(&lane.id)) {
            Ok(claimed) => lanes.push(claimed),
            Err(fault) if fault.missing_key().is_some() => locked.push((lane.id, lane.token)),
            Err(fault) => {
                // The lane stays claimed until the next start: a free lane would fail again in every claim.
                tracing::error!(lane.id = lane.id.0, fault = %fault, "the bridge cannot read the lane; the entries of the lane wait until the bridge starts again");
            }
        }
    }
    add_floors(db, engine, (&mut lanes, &mut locked)).await?;
    let found = find_links(db, engine, &lanes).await?;
    for lane in &mut lanes {
        lane.links = found.of(engine, &partners(lane), imprint(lane));
    }
    Ok((lanes, locked))
}

fn read_lane(
    engine: &Engine,
    lane: &TakenLane,
    entries: Option<&LaneEntries>,
) -> Result<ClaimedLane, DbFault> {
    let mut claimed = match claimed(lane, engine) {
        Err(fault) if fault.missing_key().is_none() => {
            ClaimedLane::empty(lane.id, lane.token, Trials::default())
        }
        claimed => claimed?,
    };
    let Some(entries) = entries else {
        return Ok(claimed);
    };
    let decoded = entries.decode(&engine.sealer, claimed.key.as_ref())?;
    let mut claims = engine.claims.borrow_mut();
    claims.remember(lane.id, decoded.newest);
    if entries.has_more || !decoded.unreadable.is_empty() {
        claimed.maybe_sent = claimed.maybe_sent.beyond_the_claim();
    }
    claimed.waiting = decoded.entries;
    claimed.unreadable = decoded.unreadable;
    Ok(claimed)
}

/// Decodes the row of a claimed lane, without its entries. Returns an error if the row is damaged, or if the process does
/// not have the sealing key of the versions or of the customer id.
fn claimed(lane: &TakenLane, engine: &Engine) -> Result<ClaimedLane, DbFault> {
    let (id, row, sealer) = (lane.id, &lane.row, &engine.sealer);
    let versions: Option<&[u8]> = get(row, 10)?;
    let versions = match versions {
        Some(bytes) => match codec::decode(sealer, BlobKind::LaneVersions, id.0, bytes) {
            Err(error) if error.missing_key().is_some() => return Err(error.into()),
            versions => versions.ok(),
        },
        None => Some(LaneVersions::default()),
    };
    // If the versions are unreadable, the bridge could send values that are older than the delivered values. If the lane is
    // found by the id of another customer, the bridge could send that customer's values. The claim therefore has no key, and
    // dispatch sends nothing.
    let key = match versions.is_some() {
        true => receipt::lane_key(row, (2, 3, 4), sealer, 0)?,
        false => None,
    };
    let digest: &[u8] = get(row, 16)?;
    let key = key.filter(|key| engine.digests.lane(key).customer.as_slice() == digest);
    let low: i16 = get(row, 11)?;
    let class = codec::class("lane.low", low.into());
    let absence: Option<&[u8]> = get(row, 15)?;
    let unfold_to: Option<i64> = get(row, 9)?;
    Ok(ClaimedLane {
        key,
        versions: versions.unwrap_or_default(),
        standing: class.map_or(Standing::Well, |class| class.standing),
        unproven: Unproven {
            since: time(row, 14)?,
            absence: absence.and_then(|bytes| codec::absence(sealer, id.0, bytes)),
        },
        unfold_to: unfold_to.map(unsigned).map(EntryId),
        maybe_sent: codec::maybe_sent(get(row, 12)?),
        is_gone: get::<i16>(row, 13)? == i16::from(codec::GONE),
        ..ClaimedLane::empty(id, lane.token, lane_row::trials(row, 5)?)
    })
}

/// Adds the version floors of the CRM's ids in events that also name an Imprint id: an operator possibly erased the customer by
/// the CRM's id before the bridge knew Imprint's id. A lane waits if the process does not have the sealing key of such a
/// floor.
async fn add_floors(
    db: &Connected,
    engine: &Engine,
    (lanes, locked): (&mut Vec<ClaimedLane>, &mut Vec<(LaneId, ClaimToken)>),
) -> Result<(), DbFault> {
    let waiting = lanes.iter().flat_map(|lane| &lane.waiting);
    let named: BTreeSet<PartnerCustomerId> = waiting
        .filter_map(WaitingEntry::second_id)
        .cloned()
        .collect();
    let keys: Vec<LaneKey> = named.iter().cloned().map(LaneKey::Partner).collect();
    let found = customers::find_lanes(db, engine, &keys).await?;
    let found = named.into_iter().zip(found);
    let ids: BTreeMap<PartnerCustomerId, LaneId> = found
        .filter_map(|(partner, lane)| Some((partner, lane?.id)))
        .collect();
    let versions = lane_versions::read(db, &engine.sealer, ids.values().copied()).await?;
    let floors: HashMap<LaneId, Result<Option<Arc<LaneVersions>>, DbFault>> = versions
        .into_iter()
        .map(|(lane, versions)| (lane, versions.map(|it| it.only_floors().map(Arc::new))))
        .collect();
    lanes.retain_mut(|lane| {
        let is_readable = lane.waiting.iter_mut().all(|entry| {
            let id = entry.second_id().and_then(|partner| ids.get(partner));
            match id.and_then(|id| floors.get(id)) {
                Some(Ok(floors)) => {
                    entry.floors.clone_from(floors);
                    true
                }
                Some(Err(_missing_key)) => false,
                None => true,
            }
        });
        locked.extend((!is_readable).then_some((lane.lane, lane.token)));
        is_readable
    });
    Ok(())
}

/// Returns the CRM's ids in the waiting entries of a lane.
fn partners(lane: &ClaimedLane) -> Vec<&PartnerCustomerId> {
    let waiting = lane.waiting.iter();
    let mut partners: Vec<_> = waiting.filter_map(|it| it.customer.partner()).collect();
    partners.sort_unstable();
    partners.dedup();
    partners
}

/// Returns the Imprint id of a lane whose entries contain a CRM's id.
fn imprint(lane: &ClaimedLane) -> Option<&ImprintId> {
    let has_partner = lane
        .waiting
        .iter()
        .any(|it| it.customer.partner().is_some());
    match &lane.key {
        Some(LaneKey::Imprint(imprint)) if has_partner => Some(imprint),
        Some(LaneKey::Imprint(_) | LaneKey::Partner(_)) | None => None,
    }
}

async fn find_links(
    db: &Connected,
    engine: &Engine,
    lanes: &[ClaimedLane],
) -> Result<FoundLinks, DbFault> {
    let readable = || lanes.iter().filter(|lane| lane.key.is_some());
    let partners = readable().flat_map(partners);
    let partners: Vec<_> = partners.map(|it| links::partner_key(engine, it)).collect();
    let imprints = readable().filter_map(imprint);
    let imprints: Vec<_> = imprints.map(|it| links::imprint_key(engine, it)).collect();
    links::find(db, &engine.sealer, &partners, &imprints).await
}
