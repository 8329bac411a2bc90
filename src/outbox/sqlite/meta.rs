//! The SQL of settings that all processes share, and the SQL that makes waiting lanes due.

use rusqlite::{Connection, OptionalExtension, params};

use crate::outbox::{LaneClass, Setting, codec};
use crate::time::Timestamp;

/// Makes every lane with a waiting entry due.
pub(super) fn release(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    // The update runs once for each queue, because the index of due lanes begins with the number of the queue.
    for class in LaneClass::all() {
        let change = match class.is_failing {
            // The failures may be the fault of the destination, so the lane returns to the other lanes.
            true => {
                "UPDATE lane SET low = low % 2, due_at = min(due_at, ?2) WHERE low = ?1 AND NOT idle"
            }
            false => "UPDATE lane SET due_at = ?2 WHERE low = ?1 AND due_at > ?2 AND NOT idle",
        };
        connection
            .prepare_cached(change)?
            .execute(params![codec::class_number(class), now.as_millis()])?;
    }
    Ok(())
}

pub(super) fn store(
    connection: &Connection,
    setting: Setting,
    value: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![setting.name(), value])?;
    Ok(())
}

pub(super) fn read(connection: &Connection, setting: Setting) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([setting.name()], |row| row.get(0))
        .optional()
}
