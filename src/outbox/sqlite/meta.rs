//! The SQL of what an operator changes: notes, and lanes that rest no longer.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::outbox::Setting;
use crate::time::Timestamp;

/// Makes every lane due in which something waits.
pub(super) fn release(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    // By priority, because that is how the index finds those that rest.
    for low in [0, 1] {
        connection
            .prepare_cached(
                "UPDATE lane SET due_at = ?2 WHERE low = ?1 AND due_at > ?2 AND NOT idle",
            )?
            .execute(params![low, now.as_millis()])?;
    }
    Ok(())
}

/// Keeps a note.
pub(super) fn keep(connection: &Connection, note: Setting, text: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![note.name(), text])?;
    Ok(())
}

/// Every note that was kept.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<BTreeMap<Setting, String>> {
    let mut notes = BTreeMap::new();
    for note in Setting::ALL {
        let kept: Option<String> = connection
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
            .query_row([note.name()], |row| row.get(0))
            .optional()?;
        notes.extend(kept.map(|text| (note, text)));
    }
    Ok(notes)
}
