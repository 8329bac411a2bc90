//! The SQL statements that find the candidates of a filter: entries that the filter possibly selects.
//!
//! A store can have millions of entries, so each statement reads an index, and at most a limited number of rows.

use std::collections::BTreeSet;

use rusqlite::params;

use super::store_connection::StoreConnection;
use super::{customer, payload, receipt, tombstones};
use crate::event::{Attribute, SourceName};
use crate::outbox::{EntryFilter, EntryOrder, LaneId, Lookup, SCAN_MAX};

/// The candidates of a filter.
pub(super) enum Candidates {
    /// The entries that this condition selects. `?1` is the number from which the list starts, and `?2` is the limit.
    Condition(String),
    /// The entries with these numbers.
    Numbers(Vec<u64>),
}

/// Finds at most [`SCAN_MAX`] candidates that follow `filter.start()` in the order of the filter.
pub(super) fn candidates(
    connection: &StoreConnection,
    filter: &EntryFilter,
) -> rusqlite::Result<Candidates> {
    let lanes = filter.customer.as_deref();
    let lanes = lanes.map(|text| customer::lanes_named(connection, text));
    Ok(match (&filter.id, lanes.transpose()?) {
        (Some(id), lanes) => {
            let mut found = with_event_id(connection, id, filter, "TRUE")?;
            for id in erased_ids(connection, id)? {
                found.extend(with_event_id(connection, &id, filter, receipt::ERASED)?);
            }
            let is_of = |lane: Option<LaneId>| {
                let lanes = lanes.as_ref();
                lanes.is_none_or(|lanes| lane.is_some_and(|lane| lanes.contains(&lane)))
            };
            let found = found.into_iter().filter(|(_, lane)| is_of(*lane));
            Candidates::Numbers(found.map(|(entry, _)| entry).collect())
        }
        (None, Some(lanes)) => Candidates::Numbers(in_lanes(connection, &lanes, filter)?),
        (None, None) => Candidates::Condition(in_states(filter)),
    })
}

/// Returns the condition for entries in these states.
///
/// Each state that is not final has its own small table, so the condition first selects from these tables.
fn in_states(filter: &EntryFilter) -> String {
    let (follows, direction) = (comparison(filter.order), direction(filter.order));
    let states = filter.states.iter();
    let tables: Option<Vec<&str>> = states.map(|state| payload::table(*state)).collect();
    let Some(tables) = tables else {
        return format!("e.id {follows} ?1");
    };
    let selects = tables.iter().map(|table| {
        format!(
            "SELECT entry FROM
             (SELECT entry FROM {table} WHERE entry {follows} ?1 ORDER BY entry {direction} LIMIT ?2)"
        )
    });
    let selects: Vec<String> = selects.collect();
    format!("e.id IN ({})", selects.join(" UNION ALL "))
}

/// Finds the entries with this event id that fulfil a condition, in all sources, each with its lane.
fn with_event_id(
    connection: &StoreConnection,
    id: &Attribute,
    filter: &EntryFilter,
    condition: &str,
) -> rusqlite::Result<Vec<(u64, Option<LaneId>)>> {
    let (follows, direction) = (comparison(filter.order), direction(filter.order));
    connection
        .prepare_cached(&format!(
            "{KNOWN_SOURCES}
             SELECT e.id, e.lane FROM known CROSS JOIN entry e INDEXED BY receipt_identity
             ON e.source = known.source AND e.event_id = ?1 WHERE e.id {follows} ?2 AND {condition}
             ORDER BY e.id {direction} LIMIT ?3",
        ))?
        .query_map(params![id.as_str(), filter.start().0, SCAN_MAX], |row| {
            Ok((row.get(0)?, row.get::<_, Option<u64>>(1)?.map(LaneId)))
        })?
        .collect()
}

/// Returns the event ids of the tombstones of events with this id, in all sources.
fn erased_ids(connection: &StoreConnection, id: &Attribute) -> rusqlite::Result<Vec<Attribute>> {
    let mut ids = Vec::new();
    if !tombstones::exist(connection)? {
        return Ok(ids);
    }
    let sources = format!("{KNOWN_SOURCES} SELECT source FROM known WHERE source IS NOT NULL");
    let mut statement = connection.prepare_cached(&sources)?;
    for source in statement.query_map([], |row| row.get::<_, String>(0))? {
        let Ok(source) = SourceName::parse(&source?) else {
            continue;
        };
        let lookup = Lookup {
            source,
            ce_source: None,
            id: id.clone(),
        };
        let lookups = receipt::erased_lookups(connection, &lookup)?.into_iter();
        ids.extend(lookups.map(|lookup| lookup.id));
    }
    Ok(ids)
}

/// Finds the entries in these lanes. Reads only the tables and the index of the states in the filter.
fn in_lanes(
    connection: &StoreConnection,
    lanes: &[LaneId],
    filter: &EntryFilter,
) -> rusqlite::Result<Vec<u64>> {
    let (follows, direction) = (comparison(filter.order), direction(filter.order));
    let order = format!("{follows} ?2 ORDER BY id {direction} LIMIT ?3");
    let tables = filter
        .states
        .iter()
        .filter_map(|state| payload::table(*state));
    let mut statements: Vec<String> = tables
        .map(|table| format!("SELECT entry AS id FROM {table} WHERE lane = ?1 AND entry {order}"))
        .collect();
    if filter.states.iter().any(|state| state.is_final()) {
        statements.push(format!("{ENDED_IN_LANE} {order}"));
    }
    let mut found: BTreeSet<u64> = BTreeSet::new();
    for lane in lanes {
        for sql in &statements {
            let mut statement = connection.prepare_cached(sql)?;
            let params = params![lane.0, filter.start().0, SCAN_MAX];
            for entry in statement.query_map(params, |row| row.get(0))? {
                found.insert(entry?);
            }
        }
    }
    let found = found.into_iter();
    Ok(match filter.order {
        EntryOrder::OldestFirst => found.take(SCAN_MAX).collect(),
        EntryOrder::NewestFirst => found.rev().take(SCAN_MAX).collect(),
    })
}

/// Returns the comparison with the start of a list that holds for the listed entries.
const fn comparison(order: EntryOrder) -> &'static str {
    match order {
        EntryOrder::OldestFirst => ">",
        EntryOrder::NewestFirst => "<",
    }
}

/// Returns the direction of an SQL statement that lists entries.
pub(super) const fn direction(order: EntryOrder) -> &'static str {
    match order {
        EntryOrder::OldestFirst => "ASC",
        EntryOrder::NewestFirst => "DESC",
    }
}

/// Jumps from source to source in the index of event ids, which begins with the source.
const KNOWN_SOURCES: &str = "WITH RECURSIVE known (source) AS (
    SELECT min(source) FROM entry
    UNION ALL SELECT (SELECT min(source) FROM entry WHERE source > known.source) FROM known
    WHERE known.source IS NOT NULL)";

/// Finds the entries of a lane in a final state; the comparison and the order of the numbers follow. The index contains the ended entries and the parked entries.
const ENDED_IN_LANE: &str = "SELECT id FROM entry INDEXED BY entry_ended
    WHERE lane = ?1 AND settled_at IS NOT NULL AND state IN (1, 2, 3, 5) AND id";

#[cfg(test)]
mod tests {
    use crate::outbox::{State, codec};

    #[test]
    fn the_statement_selects_all_final_states() {
        let states = State::ALL.into_iter().filter(|state| state.is_final());
        let mut numbers: Vec<u8> = states.map(codec::state_number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 5]);
    }
}
