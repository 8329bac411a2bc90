//! The prepared statements that the writer thread uses for every event.
//!
//! rusqlite has a cache of prepared statements too, and most of this room uses that cache. The cache hashes the text of a
//! statement twice for every use, which costs 2 % of the work for an event. This module finds a statement by the address
//! of its text.

use std::cell::RefCell;
use std::ops::Deref;

use rusqlite::{PrepFlags, Statement};

use super::store_connection::StoreConnection;

/// A connection with prepared statements.
pub(super) struct Statements<'c> {
    connection: &'c StoreConnection,
    /// The prepared statements that are not in use, each with its text.
    idle: RefCell<Vec<(&'static str, Statement<'c>)>>,
}

impl<'c> Statements<'c> {
    /// Creates a set without statements. Each statement is prepared when it is used for the first time.
    pub(super) const fn of(connection: &'c StoreConnection) -> Self {
        Self {
            connection,
            idle: RefCell::new(Vec::new()),
        }
    }

    /// Runs a prepared statement.
    pub(super) fn with<T>(
        &self,
        sql: &'static str,
        run: impl FnOnce(&mut Statement<'c>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let mut statement = match self.take(sql) {
            Some(statement) => statement,
            None => {
                // The flag keeps the statement out of the small memory that SQLite reuses for short-lived objects.
                let flags = PrepFlags::SQLITE_PREPARE_PERSISTENT;
                self.connection.prepare_with_flags(sql, flags)?
            }
        };
        let result = run(&mut statement);
        // The memory of the bound values is freed.
        statement.clear_bindings();
        self.idle.borrow_mut().push((sql, statement));
        result
    }

    fn take(&self, sql: &'static str) -> Option<Statement<'c>> {
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().position(|(text, _)| std::ptr::eq(*text, sql))?;
        Some(idle.swap_remove(place).1)
    }
}

impl Deref for Statements<'_> {
    type Target = StoreConnection;

    fn deref(&self) -> &StoreConnection {
        self.connection
    }
}
