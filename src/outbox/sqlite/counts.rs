//! Counts the entries in each state that is not final: once when the store opens, then with every commit.

use rusqlite::Connection;

use crate::outbox::State;

/// The number of entries in each state that is not final. The counts change only together with a commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) waiting: u64,
    pub(super) parked: u64,
    pub(super) held: u64,
    pub(super) undecided: u64,
}

impl Counts {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            waiting: count(connection, "waiting")?,
            parked: count(connection, "parked")?,
            held: count(connection, "held")?,
            undecided: count(connection, "undecided")?,
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

/// Returns the number of rows in a table of the store.
pub(super) fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
        row.get(0)
    })
}
