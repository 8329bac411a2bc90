//! The SQL of forgetting: receipts of what ended long ago, and what was said of ids as long ago.

use std::ops::RangeInclusive;

use rusqlite::{Connection, params};

use super::append::code;
use crate::outbox::{EntryId, SCAN_MAX, State};
use crate::time::Timestamp;

/// Forgets receipts from this number on; says where to go on.
pub(super) fn prune_receipts(
    connection: &Connection,
    from: EntryId,
    kept: &RangeInclusive<Timestamp>,
) -> rusqlite::Result<Option<EntryId>> {
    let (before, now) = (kept.start().as_millis(), kept.end().as_millis());
    let looked_at = connection
        .prepare_cached(
            "SELECT max(id), max(accepted_at NOT BETWEEN ?3 AND ?4), (SELECT max(id) FROM entry)
             FROM (SELECT id, accepted_at FROM entry WHERE id >= ?1 ORDER BY id LIMIT ?2)",
        )?
        .query_row(params![from.0, SCAN_MAX, before, now], |row| {
            let last: Option<u64> = row.get(0)?;
            last.map(|last| Ok((last, row.get(1)?, row.get(2)?)))
                .transpose()
        })?;
    // Nothing was accepted so late and ended so early; nor will anything that follows have been.
    let Some((last, true, newest)) = looked_at else {
        connection
            .prepare_cached("DELETE FROM pair WHERE confirmed_at < ?1")?
            .execute([before])?;
        return Ok(None);
    };
    connection
        .prepare_cached(
            "DELETE FROM entry WHERE id BETWEEN ?1 AND ?2 AND settled_at < ?3 AND state NOT IN (?4, ?5)",
        )?
        .execute(params![
            from.0,
            // The newest one stays: the next number follows it.
            last.min(u64::saturating_sub(newest, 1)),
            before,
            code(State::Waiting),
            code(State::Parked)
        ])?;
    Ok(Some(EntryId(last + 1)))
}
