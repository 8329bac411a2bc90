//! The layout of the store in PostgreSQL: its creation, and the check that this program can read it.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::{Connected, Connector, DbLink};
use super::fault::DbFault;
use super::open_error::PostgresOpenError;

/// The version of the layout that this program writes.
const VERSION: i32 = 1;

/// The lowest version of a program that can read the layout of an unfinished transfer: no program can.
const UNFINISHED: i32 = i32::MAX;

const CREATE: &str = include_str!("migrations/1.sql");
/// The table that the store of an earlier program lacks.
const ADD: &str = include_str!("migrations/forgetting.sql");

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

    /// Returns whether the store is the target of an unfinished transfer.
    pub(super) const fn is_unfinished(self) -> bool {
        self.min_reader == UNFINISHED
    }

    /// Returns an error if this program cannot use the store.
    pub(super) const fn expect_readable(self) -> Result<(), PostgresOpenError> {
        match self {
            _ if self.is_readable() => Ok(()),
            _ if self.is_unfinished() => Err(PostgresOpenError::Unfinished),
            _ => Err(PostgresOpenError::TooNew(self.version)),
        }
    }
}

/// Finds the layout of the store, and creates the layout in a database without a store.
pub(super) async fn find_or_create(
    connector: &Connector,
    link: &DbLink,
) -> Result<Layout, DbFault> {
    let layout = match connector.read(link, find_if_any).await? {
        Some(layout) => layout,
        None => {
            create(connector, link, CREATE).await?;
            connector.read(link, find).await?
        }
    };
    if layout.is_readable() && connector.read(link, lacks_table).await? {
        create(connector, link, ADD).await?;
    }
    Ok(layout)
}

/// Creates a part of the layout.
async fn create(connector: &Connector, link: &DbLink, part: &str) -> Result<(), DbFault> {
    let created = connector.transact(link, async |db| db.batch(part).await);
    match created.await {
        // A replica that starts at the same moment has created the part.
        Err(DbFault::Database(error)) if is_present(&error) => Ok(()),
        created => created,
    }
}

/// Returns the statements that create the layout of the store. A store of an earlier program lacks a table until the next start.
pub(super) async fn statements(db: &Connected) -> Result<String, DbFault> {
    Ok(match lacks_table(db).await? {
        true => CREATE.to_owned(),
        false => format!("{CREATE}{ADD}"),
    })
}

/// Returns whether an earlier program has created the store.
async fn lacks_table(db: &Connected) -> Result<bool, DbFault> {
    let sql = "SELECT to_regclass('imprint_bridge.forgetting') IS NULL";
    let row = db.query_opt(sql, &[]).await?;
    row.map_or(Err(DbFault::Damaged("layout")), |row| get(&row, 0))
}

/// Finds the layout of the store. Returns `None` if the database has no store.
pub(super) async fn find_if_any(db: &Connected) -> Result<Option<Layout>, DbFault> {
    match find(db).await {
        Err(DbFault::Database(error)) if is_missing(&error) => Ok(None),
        found => found.map(Some),
    }
}

/// Returns whether the schema of a store has a table or another part. An administrator possibly creates the empty schema
/// before the first start.
pub(super) async fn has_parts(db: &Connected) -> Result<bool, DbFault> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('imprint_bridge'))";
    let row = db.query_opt(sql, &[]).await?;
    row.map_or(Ok(false), |row| get(&row, 0))
}

/// Creates the layout of the target of a transfer, which no program can read.
pub(super) async fn create_unfinished(db: &Connected) -> Result<(), DbFault> {
    db.batch(CREATE).await?;
    set_min_reader(db, UNFINISHED).await
}

/// Makes the target of a transfer readable.
pub(super) async fn complete(db: &Connected) -> Result<(), DbFault> {
    set_min_reader(db, 1).await
}

async fn set_min_reader(db: &Connected, min_reader: i32) -> Result<(), DbFault> {
    let sql = "UPDATE imprint_bridge.layout SET min_reader = $1";
    db.execute(sql, &[(&min_reader, Type::INT4)])
        .await
        .map(|_| ())
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
        // PostgreSQL can find the row type of the table first.
        SqlState::DUPLICATE_OBJECT,
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
