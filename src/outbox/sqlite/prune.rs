//! The SQL statements of retention: delete old receipts of entries in a final state, and identity links that Imprint
//! confirmed long ago.

use std::ops::RangeInclusive;

use rusqlite::params;

use super::origin;
use super::store_connection::StoreConnection;
use crate::outbox::{EntryId, PRUNE_MAX, State, codec};
use crate::time::Timestamp;

/// Deletes old receipts of entries with numbers from `from` upwards. Returns the number from which the next call must
/// continue.
pub(super) fn prune_receipts(
    connection: &StoreConnection,
    from: EntryId,
    kept: &RangeInclusive<Timestamp>,
) -> rusqlite::Result<Option<EntryId>> {
    let (before, now) = (kept.start().as_millis(), kept.end().as_millis());
    let scanned = connection
        .prepare_cached(
            "SELECT max(id), max(accepted_at NOT BETWEEN ?3 AND ?4), (SELECT max(id) FROM entry)
             FROM (SELECT id, accepted_at FROM entry WHERE id >= ?1 ORDER BY id LIMIT ?2)",
        )?
        .query_row(params![from.0, PRUNE_MAX, before, now], |row| {
            let last: Option<u64> = row.get(0)?;
            last.map(|last| Ok((last, row.get(1)?, row.get(2)?)))
                .transpose()
        })?;
    // The bridge accepted the event of every scanned receipt within `kept`, so none of the entries reached a final
    // state before `kept`. Numbers follow the order of arrival, so the same is true for all later receipts.
    let Some((last, true, newest)) = scanned else {
        connection
            .prepare_cached("DELETE FROM pair WHERE confirmed_at < ?1")?
            .execute([before])?;
        return Ok(None);
    };
    // The store keeps the receipt with the highest number, because SQLite derives the number of the next entry from it.
    let entries = from.0..=last.min(u64::saturating_sub(newest, 1));
    origin::keep(connection, &entries, before)?;
    let [delivered, superseded, ignored, discarded] = [
        State::Delivered,
        State::Superseded,
        State::Ignored,
        State::Discarded,
    ]
    .map(codec::state_number);
    connection
        .prepare_cached(
            "DELETE FROM entry WHERE id BETWEEN ?1 AND ?2 AND settled_at < ?3 AND state IN (?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            entries.start(),
            entries.end(),
            before,
            delivered,
            superseded,
            ignored,
            discarded,
        ])?;
    Ok(Some(EntryId(last + 1)))
}
