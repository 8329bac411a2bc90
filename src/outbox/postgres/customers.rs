//! Finds and loads the lanes of customers, for operators.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, number, time, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::keys::CustomerKey;
use super::lane_table::{IGNORED, RETIRED, keys_of};
use super::link_table::LinkTable;
use super::waiting::{self, LaneEntries};
use super::{lane_row, lane_versions, moved_tombstones};
use crate::imprint::CustomerRef;
use crate::outbox::codec;
use crate::outbox::customer::{CustomerKeys, LaneWait, named};
use crate::outbox::{LOAD_BYTES_MAX, LaneId, LaneKey, LoadedLane, Unproven};

/// The maximum number of identity links of one Imprint id. One link is normal. Two links contradict each other.
const LINKS_MAX: usize = 4;
/// The number of lanes whose waiting entries one statement reads.
const CHUNK: usize = 16;

/// The lane of a customer, or its tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownLane {
    pub(super) id: LaneId,
    /// True if the row is the tombstone of an erased or retired customer.
    pub(super) is_erased: bool,
    /// True if the bridge ignores the events of the erased customer.
    is_blocked: bool,
    /// True if the row is the tombstone of a retired customer.
    pub(super) is_retired: bool,
}

/// Finds the lanes and tombstones of these keys, in this order. Also finds moved tombstones, without a change of the store,
/// because operators read in a transaction that only reads.
pub(super) async fn find_lanes(
    db: &Connected,
    engine: &Engine,
    keys: &[LaneKey],
) -> Result<Vec<Option<KnownLane>>, DbFault> {
    let mut found = vec![None; keys.len()];
    let moved = moved_tombstones::names(engine, keys);
    let keys: Vec<CustomerKey> = keys.iter().map(|key| engine.digests.lane(key)).collect();
    if keys.is_empty() {
        return Ok(found);
    }
    let kinds: Vec<i16> = keys.iter().map(|key| key.kind.into()).collect();
    if let Some(moved) = moved {
        // The kind of a moved tombstone is 2 or 4 higher than the kind of the lane.
        let sql = "SELECT k.place, l.id, l.erased FROM unnest($1::smallint[], $2::text[]) WITH ORDINALITY AS k(kind, moved, place)
             JOIN imprint_bridge.lane l ON l.kind = ANY(ARRAY[k.kind + 2, k.kind + 4]::smallint[]) AND l.customer = decode(k.moved, 'hex')";
        let names = db
            .query(
                sql,
                &[(&kinds, Type::INT2_ARRAY), (&moved, Type::TEXT_ARRAY)],
            )
            .await?;
        place_lanes(&names, &mut found)?;
    }
    let customers: Vec<&[u8]> = keys.iter().map(|key| key.customer.as_slice()).collect();
    let sql = "SELECT k.place, l.id, l.erased FROM unnest($1::smallint[], $2::bytea[]) WITH ORDINALITY AS k(kind, customer, place)
         JOIN imprint_bridge.lane l ON l.kind = k.kind AND l.customer = k.customer";
    let rows = db
        .query(
            sql,
            &[(&kinds, Type::INT2_ARRAY), (&customers, Type::BYTEA_ARRAY)],
        )
        .await?;
    place_lanes(&rows, &mut found)?;
    Ok(found)
}

/// Puts the lanes of rows with a place, the number of a lane, and the kind of the tombstone into these places.
fn place_lanes(rows: &[Row], found: &mut [Option<KnownLane>]) -> Result<(), DbFault> {
    for row in rows {
        let place = unsigned(get(row, 0)?).saturating_sub(1);
        let place = usize::try_from(place).ok();
        if let Some(slot) = place.and_then(|place| found.get_mut(place)) {
            let tombstone: Option<i16> = get(row, 2)?;
            *slot = Some(KnownLane {
                id: LaneId(unsigned(get(row, 1)?)),
                is_erased: tombstone.is_some(),
                is_blocked: tombstone == Some(IGNORED),
                is_retired: tombstone == Some(RETIRED),
            });
        }
    }
    Ok(())
}

/// Finds the lanes of these keys, without tombstones.
async fn live_lanes(
    db: &Connected,
    engine: &Engine,
    keys: &[LaneKey],
) -> Result<Vec<Option<LaneId>>, DbFault> {
    let found = find_lanes(db, engine, keys).await?.into_iter();
    let live = found.map(|found| found.filter(|lane| !lane.is_erased).map(|lane| lane.id));
    Ok(live.collect())
}

/// Finds the lane of this key. Returns `None` for a tombstone.
pub(super) async fn live_lane(
    db: &Connected,
    engine: &Engine,
    key: &LaneKey,
) -> Result<Option<LaneId>, DbFault> {
    let found = live_lanes(db, engine, std::slice::from_ref(key)).await?;
    Ok(found.into_iter().flatten().next())
}

/// Finds the keys of these customers, with the identity links of their ids.
async fn keys(
    db: &Connected,
    engine: &Engine,
    customers: &[CustomerRef],
) -> Result<Vec<CustomerKeys>, DbFault> {
    let mut asked: Vec<LaneKey> = Vec::new();
    for customer in customers {
        asked.extend(customer.imprint().cloned().map(LaneKey::Imprint));
        asked.extend(customer.partner().cloned().map(LaneKey::Partner));
    }
    let mut links = LinkTable::default();
    links.read(db, engine, &asked).await?;
    let partners = customers.iter().filter_map(CustomerRef::partner);
    let linked = partners.filter_map(|partner| links.of_partner(engine, partner));
    let linked = linked.filter_map(|link| link.imprint.clone().map(LaneKey::Imprint));
    let linked: Vec<LaneKey> = linked.collect();
    links.read(db, engine, &linked).await?;
    let keys = customers.iter().map(|customer| {
        let Ok(keys) = CustomerKeys::find(
            customer,
            |partner| Ok::<_, Infallible>(links.of_partner(engine, partner).cloned()),
            |imprint| {
                let links = links.of_imprint(engine, imprint).iter();
                Ok(links.take(LINKS_MAX).cloned().collect())
            },
        );
        keys
    });
    Ok(keys.collect())
}

/// Returns the lanes of the customers that a text can name.
pub(super) async fn lanes_named(
    db: &Connected,
    engine: &Engine,
    text: &str,
) -> Result<Vec<LaneId>, DbFault> {
    let customers: Vec<CustomerRef> = named(text).collect();
    let keys = keys(db, engine, &customers).await?;
    let keys: Vec<LaneKey> = keys.iter().flat_map(CustomerKeys::all).collect();
    Ok(live_lanes(db, engine, &keys)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// Loads the lanes of these customers, in this order.
pub(super) async fn load(
    db: &Connected,
    engine: &Engine,
    customers: &[CustomerRef],
) -> Result<Vec<LoadedLane>, DbFault> {
    let blocked = blocked(db, engine, customers).await?;
    let found = keys(db, engine, customers).await?;
    let all: Vec<LaneKey> = found.iter().flat_map(CustomerKeys::all).collect();
    let lanes = live_lanes(db, engine, &all).await?;
    let mut own = all.into_iter().zip(&lanes);
    let ids: Vec<LaneId> = lanes.iter().copied().flatten().collect();
    let mut rows = wait_rows(db, &ids).await?;
    let mut loaded = Vec::with_capacity(found.len());
    let mut keys_of_lanes: HashMap<LaneId, LaneKey> = HashMap::new();
    for (keys, is_blocked) in found.into_iter().zip(blocked) {
        let mut lane = LoadedLane::empty(&keys);
        lane.is_blocked = is_blocked;
        for (key, found) in own.by_ref().take(lane.keys.len()) {
            let Some(id) = *found else {
                continue;
            };
            let row = rows.get_mut(&id).ok_or(DbFault::Raced)?;
            lane.lanes.push(id);
            lane.waits.push(wait(row, engine, (id, key.clone()))?);
            if key == keys.key {
                lane.versions = lane_versions::decode(&engine.sealer, id, get(row, 8)?)?;
            }
            keys_of_lanes.insert(id, key);
        }
        lane.links = keys.links;
        loaded.push(lane);
    }
    read_waiting(db, engine, &mut loaded, &keys_of_lanes).await?;
    Ok(loaded)
}

/// Returns whether the bridge ignores the events of these customers, in this order.
async fn blocked(
    db: &Connected,
    engine: &Engine,
    customers: &[CustomerRef],
) -> Result<Vec<bool>, DbFault> {
    let keys: Vec<Vec<LaneKey>> = customers.iter().map(|one| keys_of(one).collect()).collect();
    let mut lanes = find_lanes(db, engine, &keys.concat()).await?.into_iter();
    let blocked = keys.iter().map(|keys| {
        let own = lanes.by_ref().take(keys.len()).flatten();
        own.filter(|lane| lane.is_blocked).count() > 0
    });
    Ok(blocked.collect())
}

/// Reads the waiting entries of the lanes, until they have too many bytes.
async fn read_waiting(
    db: &Connected,
    engine: &Engine,
    loaded: &mut [LoadedLane],
    keys: &HashMap<LaneId, LaneKey>,
) -> Result<(), DbFault> {
    let mut bytes: usize = 0;
    for chunk in loaded.chunks_mut(CHUNK) {
        if bytes >= LOAD_BYTES_MAX {
            break;
        }
        let lanes: HashSet<LaneId> = chunk.iter().flat_map(|lane| &lane.lanes).copied().collect();
        let lanes: Vec<i64> = lanes.iter().map(|lane| number(lane.0)).collect();
        let entries = waiting::read(db, &lanes, engine.bounds).await?;
        for lane in chunk {
            fill(engine, lane, (&entries, keys), &mut bytes)?;
        }
    }
    Ok(())
}

/// Adds the waiting entries to a customer, until the entries of all customers have too many bytes.
fn fill(
    engine: &Engine,
    lane: &mut LoadedLane,
    (entries, keys): (&HashMap<LaneId, LaneEntries>, &HashMap<LaneId, LaneKey>),
    bytes: &mut usize,
) -> Result<(), DbFault> {
    for id in &lane.lanes {
        if let Some(found) = entries.get(id).filter(|_| *bytes < LOAD_BYTES_MAX) {
            *bytes = bytes.saturating_add(found.bytes()?);
            let decoded = found.decode(&engine.sealer, keys.get(id))?;
            lane.waiting.extend(decoded.entries);
        }
    }
    lane.waiting
        .sort_by_key(|waiting| std::cmp::Reverse(waiting.entry));
    Ok(())
}

async fn wait_rows(db: &Connected, lanes: &[LaneId]) -> Result<HashMap<LaneId, Row>, DbFault> {
    let lanes: Vec<i64> = lanes.iter().map(|lane| number(lane.0)).collect();
    let sql = "SELECT id, due_at, failures, spent, tried_at, blamed_since, unproven_since, absence, versions
         FROM imprint_bridge.lane WHERE id = ANY($1)";
    let rows = db.query(sql, &[(&lanes, Type::INT8_ARRAY)]).await?;
    let rows = rows.into_iter();
    rows.map(|row| Ok((LaneId(unsigned(get(&row, 0)?)), row)))
        .collect()
}

/// Returns what a lane waits for.
fn wait(row: &Row, engine: &Engine, (lane, key): (LaneId, LaneKey)) -> Result<LaneWait, DbFault> {
    let absence: Option<&[u8]> = get(row, 7)?;
    Ok(LaneWait {
        key,
        due: time(row, 1)?,
        trials: lane_row::trials(row, 2)?,
        unproven: Unproven {
            since: time(row, 6)?,
            absence: absence.and_then(|bytes| codec::absence(&engine.sealer, lane.0, bytes)),
        },
    })
}
