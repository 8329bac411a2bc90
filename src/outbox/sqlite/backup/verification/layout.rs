//! Compares the layout of a store with the layout that the migrations create.

use rusqlite::Connection;

use crate::outbox::Finding;
use crate::outbox::sqlite::open::MIGRATIONS;
use crate::outbox::sqlite::open_error::OpenError;
use crate::outbox::store_layout::{LayoutDifferences, StoreLayout};

/// Compares each table, index and trigger with a new store that has the same number of migrations. So the copy of an older
/// program's store is not an error.
pub(super) fn differences(store: &Connection) -> Result<LayoutDifferences, OpenError> {
    let doing = OpenError::sqlite("comparing its layout");
    let found: i64 = store
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(&doing)?;
    let applied = usize::try_from(found).unwrap_or(usize::MAX);
    if applied > MIGRATIONS.len() {
        return Err(OpenError::Newer {
            found: applied,
            known: MIGRATIONS.len(),
        });
    }
    let expected = created(applied).map_err(&doing)?;
    let found = definitions(store).map_err(doing)?;
    let mut differences = expected.differences(&found);
    if applied == 0 {
        let number = Finding::Missing("number of the layout".to_owned());
        differences.tables.push(number);
    }
    Ok(differences)
}

/// Creates the indexes again that a store lacks. Returns their names.
pub(in crate::outbox::sqlite::backup) fn create_missing_indexes(
    store: &Connection,
) -> rusqlite::Result<Vec<String>> {
    let applied: usize = store.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let (expected, found) = (created(applied)?, definitions(store)?);
    let mut names = Vec::new();
    for (name, definition) in expected.missing("index", &found) {
        store.execute_batch(definition)?;
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Returns the layout after the first migrations.
fn created(migrations: usize) -> rusqlite::Result<StoreLayout> {
    let new = Connection::open_in_memory()?;
    for step in MIGRATIONS.iter().take(migrations) {
        new.execute_batch(step)?;
    }
    definitions(&new)
}

fn definitions(connection: &Connection) -> rusqlite::Result<StoreLayout> {
    let sql = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut layout = StoreLayout::default();
    while let Some(row) = rows.next()? {
        layout.add(row.get(0)?, row.get(1)?, row.get(2)?);
    }
    Ok(layout)
}
