//! The SQL statements that find and load the lanes of customers.

use super::decode_cache::DecodeCache;
use super::statements::Statements;
use super::store_connection::StoreConnection;
use super::{columns, identity_link, lane, tombstones, versions, waiting};
use crate::imprint::CustomerRef;
use crate::outbox::customer::{CustomerKeys, LaneWait, named};
use crate::outbox::{ClaimBounds, LOAD_BYTES_MAX, LaneId, LaneKey, LoadedLane, Trials};
use crate::time::Timestamp;

/// Loads the lanes of these customers, in this order.
pub(super) fn load(
    connection: &StoreConnection,
    customers: &[CustomerRef],
    bounds: ClaimBounds,
) -> rusqlite::Result<Vec<LoadedLane>> {
    let statements = &Statements::of(connection);
    let mut loaded = Vec::with_capacity(customers.len());
    let mut bytes: usize = 0;
    for customer in customers {
        let keys = keys(statements, customer)?;
        let mut lane = LoadedLane::empty(&keys);
        for key in keys.all() {
            let Some(found) = lane::find(connection, &key)? else {
                continue;
            };
            lane.lanes.push(found);
            lane.waits.push(wait(connection, found, key.clone())?);
            if key == keys.key {
                lane.versions = versions::of_lane(connection, found)?;
            }
            if bytes < LOAD_BYTES_MAX {
                let mut cache = DecodeCache::default();
                let read = waiting::read(statements, found, Some(&key), &mut cache, bounds)?;
                bytes = bytes.saturating_add(read.bytes);
                lane.waiting.extend(read.entries);
            }
        }
        lane.waiting
            .sort_by_key(|waiting| std::cmp::Reverse(waiting.entry));
        lane.links = keys.links;
        lane.is_blocked = tombstones::is_blocked(connection, customer)?;
        loaded.push(lane);
    }
    Ok(loaded)
}

/// Returns what a lane waits for. A damaged column counts as empty.
fn wait(store: &StoreConnection, lane: LaneId, key: LaneKey) -> rusqlite::Result<LaneWait> {
    let sealer = store.sealer();
    let mut statement = store.prepare_cached(
        "SELECT due_at, failures, spent, tried_at, blamed_since, unproven_since, absence FROM lane WHERE id = ?1",
    )?;
    statement.query_row([lane.0], |row| {
        let time = |column| columns::or_default::<Option<i64>>(row, column);
        let time = |column| time(column).map(Timestamp::from_millis);
        Ok(LaneWait {
            key,
            due: time(0),
            trials: Trials {
                failures: columns::or_default(row, 1),
                attempts: columns::or_default(row, 2),
                tried_at: time(3),
                blamed_since: time(4),
            },
            unproven: columns::unproven(row, (5, 6), (lane, sealer)),
        })
    })
}

/// Returns the lanes of the customers that a text can name.
pub(super) fn lanes_named(
    connection: &StoreConnection,
    text: &str,
) -> rusqlite::Result<Vec<LaneId>> {
    let statements = &Statements::of(connection);
    let mut lanes = Vec::new();
    for customer in named(text) {
        for key in keys(statements, &customer)?.all() {
            lanes.extend(lane::find(connection, &key)?);
        }
    }
    Ok(lanes)
}

fn keys(statements: &Statements<'_>, customer: &CustomerRef) -> rusqlite::Result<CustomerKeys> {
    CustomerKeys::find(
        customer,
        |partner| identity_link::of_partner(statements, partner),
        |imprint| identity_link::of_imprint(statements, imprint),
    )
}
