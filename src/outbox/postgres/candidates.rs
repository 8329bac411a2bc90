//! Finds the candidates of a filter: entries that the filter possibly selects. Each statement reads an index, and at most
//! a limited number of rows.

use tokio_postgres::types::Type;

use super::columns::{get, number, size};
use super::connection::Connected;
use super::customers;
use super::engine::Engine;
use super::fault::DbFault;
use super::moved_tombstones;
use crate::event::{Attribute, SourceName};
use crate::outbox::{EntryFilter, EntryOrder, LaneId, Lookup, SCAN_MAX, codec};

/// Finds at most [`SCAN_MAX`] candidates that follow `filter.start()`, in the order of the filter.
pub(super) async fn find(
    db: &Connected,
    engine: &Engine,
    filter: &EntryFilter,
) -> Result<Vec<i64>, DbFault> {
    let lanes = match filter.customer.as_deref() {
        Some(text) => Some(customers::lanes_named(db, engine, text).await?),
        None => None,
    };
    match (&filter.id, lanes) {
        (Some(id), lanes) => with_event_id(db, engine, (id, filter), lanes.as_deref()).await,
        (None, Some(lanes)) => in_lanes(db, &lanes, filter).await,
        (None, None) => in_states(db, filter).await,
    }
}

/// Finds the entries in the states of the filter. Entries that have not ended have a payload.
async fn in_states(db: &Connected, filter: &EntryFilter) -> Result<Vec<i64>, DbFault> {
    let (follows, direction) = (comparison(filter.order), direction(filter.order));
    let has_final = filter.states.iter().any(|state| state.is_final());
    let sql = if has_final {
        format!(
            "SELECT id FROM imprint_bridge.entry WHERE id {follows} $1 ORDER BY id {direction} LIMIT $2"
        )
    } else {
        let selects = filter.states.iter().map(|state| {
            let number = codec::state_number(*state);
            format!(
                "(SELECT entry AS id FROM imprint_bridge.payload WHERE state = {number} AND entry {follows} $1
                  ORDER BY entry {direction} LIMIT $2)"
            )
        });
        let selects: Vec<String> = selects.collect();
        if selects.is_empty() {
            return Ok(Vec::new());
        }
        format!(
            "SELECT id FROM ({}) AS c ORDER BY id {direction} LIMIT $2",
            selects.join(" UNION ALL ")
        )
    };
    let (start, max) = (number(filter.start().0), size(SCAN_MAX));
    let rows = db
        .query(&sql, &[(&start, Type::INT8), (&max, Type::INT8)])
        .await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Finds the entries with this event id, in all sources. The store knows events by the digests of their source and id.
async fn with_event_id(
    db: &Connected,
    engine: &Engine,
    (id, filter): (&Attribute, &EntryFilter),
    lanes: Option<&[LaneId]>,
) -> Result<Vec<i64>, DbFault> {
    let sources = db
        .query("SELECT DISTINCT source FROM imprint_bridge.tally", &[])
        .await?;
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for row in &sources {
        let Ok(source) = SourceName::parse(get(row, 0)?) else {
            continue;
        };
        let (ce_source, id) = (None, id.clone());
        let lookup = Lookup {
            source,
            ce_source,
            id,
        };
        keys.push(engine.digests.lookup(&lookup).0.to_vec());
        let moved = moved_tombstones::event_keys(engine, &lookup);
        keys.extend(moved.iter().map(|moved| moved.event.to_vec()));
    }
    let (follows, direction) = (comparison(filter.order), direction(filter.order));
    let sql = format!(
        "SELECT id FROM imprint_bridge.entry WHERE event_key = ANY($3) AND id {follows} $1
             AND ($4::bigint[] IS NULL OR lane = ANY($4)) ORDER BY id {direction} LIMIT $2"
    );
    let lanes: Option<Vec<i64>> =
        lanes.map(|lanes| lanes.iter().map(|lane| number(lane.0)).collect());
    let (start, max) = (number(filter.start().0), size(SCAN_MAX));
    let rows = db
        .query(
            &sql,
            &[
                (&start, Type::INT8),
                (&max, Type::INT8),
                (&keys, Type::BYTEA_ARRAY),
                (&lanes, Type::INT8_ARRAY),
            ],
        )
        .await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Finds the entries in these lanes. Reads only the indexes of the states in the filter.
async fn in_lanes(
    db: &Connected,
    lanes: &[LaneId],
    filter: &EntryFilter,
) -> Result<Vec<i64>, DbFault> {
    let (follows, direction) = (comparison(filter.order), direction(filter.order));
    let mut selects: Vec<String> = Vec::new();
    for state in filter.states.iter().filter(|state| !state.is_final()) {
        let number = codec::state_number(*state);
        selects.push(format!(
            "(SELECT entry AS id FROM imprint_bridge.payload WHERE lane = l.lane AND state = {number} AND entry {follows} $1
              ORDER BY entry {direction} LIMIT $2)"
        ));
    }
    if filter.states.iter().any(|state| state.is_final()) {
        selects.push(format!(
            "(SELECT id FROM imprint_bridge.entry WHERE lane = l.lane AND {ENDED} AND id {follows} $1
              ORDER BY id {direction} LIMIT $2)"
        ));
    }
    if selects.is_empty() || lanes.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT DISTINCT e.id FROM unnest($3::bigint[]) AS l(lane) CROSS JOIN LATERAL ({}) AS e ORDER BY e.id {direction} LIMIT $2",
        selects.join(" UNION ALL ")
    );
    let lanes: Vec<i64> = lanes.iter().map(|lane| number(lane.0)).collect();
    let (start, max) = (number(filter.start().0), size(SCAN_MAX));
    let rows = db
        .query(
            &sql,
            &[
                (&start, Type::INT8),
                (&max, Type::INT8),
                (&lanes, Type::INT8_ARRAY),
            ],
        )
        .await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// The condition for entries in a final state. The index of ended entries also contains the parked entries.
pub(super) const ENDED: &str = "settled_at IS NOT NULL AND state IN (1, 2, 3, 5)";

/// Returns the comparison with the start of a list that holds for the listed entries.
const fn comparison(order: EntryOrder) -> &'static str {
    match order {
        EntryOrder::OldestFirst => ">",
        EntryOrder::NewestFirst => "<",
    }
}

/// Returns the direction of a statement that lists entries.
pub(super) const fn direction(order: EntryOrder) -> &'static str {
    match order {
        EntryOrder::OldestFirst => "ASC",
        EntryOrder::NewestFirst => "DESC",
    }
}

#[cfg(test)]
mod tests {
    use crate::outbox::{State, codec};

    #[test]
    fn the_condition_names_all_final_states() {
        let states = State::ALL.into_iter().filter(|state| state.is_final());
        let mut numbers: Vec<u8> = states.map(codec::state_number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 5]);
    }
}
