//! The layout of the store in PostgreSQL: its creation, and the check that this program can read it.

use tokio_postgres::error::SqlState;

use super::connection::{Connected, Connector, DbLink};
use super::fault::DbFault;

/// The version of the layout that this program writes.
const VERSION: i32 = 1;

const CREATE: &str = include_str!("migrations/1.sql");

/// The version of a layout, and the lowest version of a program that can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) version: i32,
    min_reader: i32,
}

impl Layout {
    /// Returns whether this program can read and write the layout.
    pub(super) const fn is_readable(self) -> bool {
        self.min_reader <= VERSION
    }
}

/// Finds the layout of the store, and creates the layout in a database without a store.
pub(super) async fn find_or_create(
    connector: &Connector,
    link: &DbLink,
) -> Result<Layout, DbFault> {
    let found = connector.read(link, find).await;
    match found {
        Err(DbFault::Database(error)) if is_missing(&error) => {}
        found => return found,
    }
    let created = connector.transact(link, async |db| db.batch(CREATE).await);
    match created.await {
        // A replica that starts at the same moment has created the layout.
        Err(DbFault::Database(error)) if is_present(&error) => {}
        created => created?,
    }
    connector.read(link, find).await
}

async fn find(db: &Connected) -> Result<Layout, DbFault> {
    let sql = "SELECT version, min_reader FROM imprint_bridge.layout";
    let row = db.query_opt(sql, &[]).await?;
    let row = row.ok_or(DbFault::Damaged("layout"))?;
    Ok(Layout {
        version: row.try_get(0)?,
        min_reader: row.try_get(1)?,
    })
}

fn is_missing(error: &tokio_postgres::Error) -> bool {
    let missing = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| missing.contains(code))
}

fn is_present(error: &tokio_postgres::Error) -> bool {
    let present = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
    ];
    error.code().is_some_and(|code| present.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_layout_is_readable_while_it_says_so() {
        for (min_reader, expected) in [(1, true), (2, false)] {
            let layout = Layout {
                version: 9,
                min_reader,
            };
            assert_eq!(layout.is_readable(), expected);
        }
    }
}
