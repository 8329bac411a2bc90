//! Counts the entries in each state that is not final, and adds up the sizes of their events.
//!
//! The store counts the entries when it opens, and corrects the counts with every commit. The store keeps the total
//! sizes in the table `stored_bytes`, because adding up the sizes at every start would read the whole store.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::{columns, payload};
use crate::event::SourceName;
use crate::outbox::{Depth, ENTRY_MAX, State};
use crate::time::Timestamp;

/// The number of entries in each state that is not final, and the total size of their events. The counts change only
/// together with a commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) waiting: u64,
    pub(super) parked: u64,
    pub(super) held: u64,
    pub(super) undecided: u64,
    /// The total size of the events of the counted entries in bytes, for each source.
    pub(super) stored_bytes: BTreeMap<SourceName, u64>,
}

/// The source of an entry, and the size of the entry's event in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventSize {
    pub(super) source: SourceName,
    pub(super) bytes: u64,
}

impl Counts {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            waiting: count(connection, "waiting")?,
            parked: count(connection, "parked")?,
            held: count(connection, "held")?,
            undecided: count(connection, "undecided")?,
            stored_bytes: stored_bytes(connection)?,
        })
    }

    /// Adds an entry that is now in this state to the counts.
    pub(super) fn enter(&mut self, state: State) {
        if let Some(count) = self.of(state) {
            *count = count.saturating_add(1);
        }
    }

    /// Removes an entry that is no longer in this state from the counts.
    pub(super) fn leave(&mut self, state: State) {
        if let Some(count) = self.of(state) {
            *count = count.saturating_sub(1);
        }
    }

    /// Adds the size of a new event.
    pub(super) fn store(&mut self, source: &SourceName, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(stored) = self.stored_bytes.get_mut(source) {
            *stored = stored.saturating_add(bytes);
        } else {
            self.stored_bytes.insert(source.clone(), bytes);
        }
    }

    /// Subtracts the size of an event that the store has erased.
    pub(super) fn erase(&mut self, erased: &EventSize) {
        if let Some(stored) = self.stored_bytes.get_mut(&erased.source) {
            *stored = stored.saturating_sub(erased.bytes);
        }
    }

    /// Writes the total size of each source to the store if the transaction has changed the total size. If the store
    /// has no entries, the total size becomes 0: this corrects a damaged row.
    pub(super) fn save_bytes(
        &mut self,
        connection: &Connection,
        before: &Self,
    ) -> rusqlite::Result<()> {
        let is_empty = [self.waiting, self.parked, self.held, self.undecided] == [0; 4];
        for (source, bytes) in &mut self.stored_bytes {
            *bytes = if is_empty { 0 } else { (*bytes).min(ENTRY_MAX) };
            if before.stored_bytes.get(source) == Some(bytes) {
                continue;
            }
            connection
                .prepare_cached(
                    "INSERT INTO stored_bytes (source, bytes) VALUES (?1, ?2)
                     ON CONFLICT (source) DO UPDATE SET bytes = excluded.bytes",
                )?
                .execute(params![source.as_str(), *bytes])?;
        }
        Ok(())
    }

    /// Returns the counts, and the time of acceptance of the oldest waiting entry.
    pub(super) fn depth(&self, connection: &Connection) -> rusqlite::Result<Depth> {
        Ok(Depth {
            waiting: self.waiting,
            parked: self.parked,
            held: self.held,
            undecided: self.undecided,
            stored_bytes: self.stored_bytes.clone(),
            oldest: oldest(connection)?,
        })
    }

    const fn of(&mut self, state: State) -> Option<&mut u64> {
        match state {
            State::Waiting => Some(&mut self.waiting),
            State::Parked => Some(&mut self.parked),
            State::Held => Some(&mut self.held),
            State::Undecided => Some(&mut self.undecided),
            State::Delivered | State::Superseded | State::Ignored | State::Discarded => None,
        }
    }
}

/// Returns the time when the bridge accepted the oldest waiting entry.
fn oldest(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT accepted_at FROM entry WHERE id = (SELECT entry FROM waiting ORDER BY entry LIMIT 1)",
        )?
        .query_row([], |row| Ok(Timestamp::from_millis(columns::or_default(row, 0))))
        .optional()
}

/// Reads the total size of each source's events. If a row is damaged, adds up the sizes of all events again.
fn stored_bytes(connection: &Connection) -> rusqlite::Result<BTreeMap<SourceName, u64>> {
    if let Some(bytes) = read_bytes(connection)? {
        return Ok(bytes);
    }
    tracing::error!("a stored total size of events is damaged: the store computes it again");
    let mut counted = BTreeMap::new();
    for state in State::ALL {
        if let Some(table) = payload::table(state) {
            count_bytes(connection, table, &mut counted)?;
        }
    }
    connection.execute("DELETE FROM stored_bytes", [])?;
    for (source, bytes) in &counted {
        connection.execute(
            "INSERT INTO stored_bytes (source, bytes) VALUES (?1, ?2)",
            params![source.as_str(), bytes],
        )?;
    }
    Ok(counted)
}

/// Returns `None` if a row is damaged.
fn read_bytes(connection: &Connection) -> rusqlite::Result<Option<BTreeMap<SourceName, u64>>> {
    let mut statement = connection.prepare("SELECT source, bytes FROM stored_bytes")?;
    let mut rows = statement.query([])?;
    let mut read = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let source = row.get_ref(0)?.as_str().ok();
        let source = source.and_then(|name| SourceName::parse(name).ok());
        let Some((source, bytes)) = source.zip(row.get(1).ok()) else {
            return Ok(None);
        };
        read.insert(source, bytes);
    }
    Ok(Some(read))
}

fn count_bytes(
    connection: &Connection,
    table: &str,
    counted: &mut BTreeMap<SourceName, u64>,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT e.source, sum(coalesce(p.event_bytes, length(p.event))) FROM {table} p JOIN entry e ON e.id = p.entry GROUP BY e.source"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let source = row.get_ref(0)?.as_str().ok();
        if let Some(source) = source.and_then(|name| SourceName::parse(name).ok()) {
            let bytes: u64 = row.get(1).unwrap_or_default();
            let sum = counted.entry(source).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
    Ok(())
}

/// Returns the number of rows in a table of the store.
pub(super) fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
        row.get(0)
    })
}
