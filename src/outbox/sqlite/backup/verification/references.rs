//! Finds entries that lack a row without which the bridge never delivers them, or does not recognize their events.

use rusqlite::{Connection, OptionalExtension};

use crate::outbox::{Finding, FoundEntries, State, codec};

/// The tables with the events of entries that have not ended.
const TABLES: [(&str, State); 4] = [
    ("waiting", State::Waiting),
    ("parked", State::Parked),
    ("held", State::Held),
    ("undecided", State::Undecided),
];

pub(super) fn errors(store: &Connection) -> rusqlite::Result<Vec<Finding>> {
    let mut found = Vec::new();
    for (table, state) in TABLES {
        // The store of an older program lacks some of the tables.
        if exists(store, table)? {
            found.extend(of_table(store, table, state)?);
        }
    }
    let never_due = entries(
        store,
        "SELECT count(*), min(entry) FROM waiting WHERE lane IN (SELECT id FROM lane WHERE due_at IS NULL)",
    )?;
    found.extend(never_due.map(Finding::NeverDue));
    Ok(found)
}

fn of_table(store: &Connection, table: &str, state: State) -> rusqlite::Result<Vec<Finding>> {
    let number = codec::state_number(state);
    let without_event = format!(
        "SELECT count(*), min(id) FROM entry WHERE state = {number} AND id NOT IN (SELECT entry FROM {table})"
    );
    let without_receipt = format!(
        "SELECT count(*), min(entry) FROM {table} p WHERE NOT EXISTS
             (SELECT 1 FROM entry WHERE id = p.entry AND state = {number})"
    );
    // Only an invalid event, which is parked, belongs to no lane.
    let laneless = if state == State::Parked {
        "lane <> 0 AND"
    } else {
        ""
    };
    let without_lane = format!(
        "SELECT count(*), min(entry) FROM {table} WHERE {laneless} lane NOT IN (SELECT id FROM lane)"
    );
    let event = entries(store, &without_event)?;
    let receipt = entries(store, &without_receipt)?;
    let lane = entries(store, &without_lane)?;
    let found = [
        event.map(|found| Finding::NoEvent(state, found)),
        receipt.map(|found| Finding::NoReceipt(state, found)),
        lane.map(|found| Finding::NoLane(state, found)),
    ];
    Ok(found.into_iter().flatten().collect())
}

/// Runs a statement that counts entries, and names the first of them.
fn entries(store: &Connection, sql: &str) -> rusqlite::Result<Option<FoundEntries>> {
    store.query_row(sql, [], |row| {
        let first: Option<i64> = row.get(1)?;
        let entries = row.get(0)?;
        Ok(first.map(|first| FoundEntries { entries, first }))
    })
}

fn exists(store: &Connection, table: &str) -> rusqlite::Result<bool> {
    let found = store
        .prepare_cached("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1")?
        .query_row([table], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}
