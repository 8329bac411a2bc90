//! Finds every id of a customer, for the erasure of the customer.

use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::customers;
use super::engine::Engine;
use super::fault::DbFault;
use super::link_table::LinkTable;
use crate::imprint::PartnerCustomerId;
use crate::outbox::LaneKey;
use crate::outbox::codec;

/// Follows the identity links of some keys, also the expired ones, until no link leads to a further key.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of a link or of an update.
pub(super) async fn all(
    db: &Connected,
    engine: &Engine,
    keys: &[LaneKey],
) -> Result<Vec<LaneKey>, DbFault> {
    let mut known: Vec<LaneKey> = Vec::new();
    let mut found = keys.to_vec();
    loop {
        let mut fresh: Vec<LaneKey> = Vec::new();
        for key in found {
            if !known.contains(&key) {
                known.push(key.clone());
                fresh.push(key);
            }
        }
        if fresh.is_empty() {
            return Ok(known);
        }
        found = linked(db, engine, &fresh).await?;
    }
}

async fn linked(
    db: &Connected,
    engine: &Engine,
    keys: &[LaneKey],
) -> Result<Vec<LaneKey>, DbFault> {
    let mut links = LinkTable::default();
    links.read(db, engine, keys).await?;
    let mut found = Vec::new();
    for key in keys {
        match key {
            LaneKey::Imprint(imprint) => {
                let links = links.of_imprint(engine, imprint).iter();
                found.extend(links.map(|link| LaneKey::Partner(link.partner.clone())));
            }
            LaneKey::Partner(partner) => {
                let link = links.of_partner(engine, partner);
                let imprint = link.and_then(|link| link.imprint.clone());
                found.extend(imprint.map(LaneKey::Imprint));
            }
        }
    }
    let imprints = keys.iter();
    let imprints = imprints.filter(|key| matches!(key, LaneKey::Imprint(_)));
    let imprints: Vec<LaneKey> = imprints.cloned().collect();
    let partners = partners_of_moved(db, engine, &imprints).await?;
    found.extend(partners.into_iter().map(LaneKey::Partner));
    Ok(found)
}

/// Returns the CRM's ids in the events of entries that a search moved into the lanes of these Imprint ids: such an event
/// had only the CRM's id.
async fn partners_of_moved(
    db: &Connected,
    engine: &Engine,
    imprints: &[LaneKey],
) -> Result<Vec<PartnerCustomerId>, DbFault> {
    let lanes = customers::find_lanes(db, engine, imprints).await?;
    let lanes = lanes.into_iter().flatten().filter(|lane| !lane.is_erased);
    let lanes: Vec<i64> = lanes.map(|lane| number(lane.id.0)).collect();
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT entry, facts, partner FROM imprint_bridge.payload WHERE lane = ANY($1) AND state = 0 AND NOT stated
         UNION ALL SELECT entry, facts, partner FROM imprint_bridge.payload WHERE lane = ANY($1) AND state <> 0 AND NOT stated";
    let mut partners = Vec::new();
    for row in db.query(sql, &[(&lanes, Type::INT8_ARRAY)]).await? {
        let column: Option<&str> = get(&row, 2)?;
        if let Some(column) = column {
            partners.extend(PartnerCustomerId::parse(column).ok());
            continue;
        }
        match codec::decode_update(&engine.sealer, unsigned(get(&row, 0)?), get(&row, 1)?) {
            Ok(stored) => partners.extend(stored.partner),
            Err(error) if error.missing_key().is_some() => return Err(error.into()),
            Err(_damaged) => {}
        }
    }
    partners.sort_unstable();
    partners.dedup();
    Ok(partners)
}
