//! The SQL of forgetting: receipts of what ended long ago, and what was said of ids as long ago.

use rusqlite::{Connection, params};

use super::append::code;
use crate::outbox::{EntryId, LOOK_MAX, State};
use crate::time::Timestamp;

/// Forgets receipts from this number on; says where to go on.
pub(super) fn retire(
    connection: &Connection,
    from: EntryId,
    before: Timestamp,
) -> rusqlite::Result<Option<EntryId>> {
    let last: Option<u64> = connection
        .prepare_cached(
            "SELECT max(id) FROM (SELECT id FROM entry WHERE id >= ?1 ORDER BY id LIMIT ?2)",
        )?
        .query_row(params![from.0, LOOK_MAX], |row| row.get(0))?;
    let Some(last) = last else {
        connection
            .prepare_cached("DELETE FROM pair WHERE confirmed_at < ?1")?
            .execute([before.as_millis()])?;
        return Ok(None);
    };
    connection
        .prepare_cached(
            // The newest one stays: the next number follows it.
            "DELETE FROM entry WHERE id BETWEEN ?1 AND ?2 AND settled_at < ?3 AND state NOT IN (?4, ?5)
                AND id < (SELECT max(id) FROM entry)",
        )?
        .execute(params![
            from.0,
            last,
            before.as_millis(),
            code(State::Waiting),
            code(State::Parked)
        ])?;
    Ok(Some(EntryId(last + 1)))
}
