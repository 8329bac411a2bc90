//! Seals the update of an entry again after its move to another lane: a sealed update is bound to its lane.

use rusqlite::{OptionalExtension, params};

use crate::outbox::sqlite::store_connection::StoreConnection;
use crate::outbox::sqlite::{columns, payload};
use crate::outbox::{EntryId, LaneId, State, codec};

/// Binds the update of an unfinished entry, which has moved from one lane to another, to its new lane. Leaves an update that is
/// not bound to the old lane, or that cannot be read, as it is.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of the update.
pub(in crate::outbox::sqlite) fn bind(
    connection: &StoreConnection,
    (entry, state): (EntryId, State),
    (from, to): (LaneId, LaneId),
) -> rusqlite::Result<()> {
    let sealer = connection.sealer();
    let Some(table) = payload::table(state).filter(|_| from != to && sealer.has_key()) else {
        return Ok(());
    };
    let moved = connection
        .prepare_cached(&format!(
            "SELECT epoch, value, stated, jump_max, facts FROM {table} WHERE entry = ?1 AND lane = ?2"
        ))?
        .query_row(params![entry.0, to.0], |row| {
            let Ok(route) = columns::route(row, to, [0, 1, 2, 3]) else {
                return Ok(None);
            };
            let update = row.get_ref(4)?.as_bytes().unwrap_or_default();
            let moved = codec::move_update(sealer, entry.0, update, (&route.in_lane(from), &route));
            moved.map_err(columns::unreadable)
        })
        .optional()?;
    if let Some(update) = moved.flatten() {
        connection
            .prepare_cached(&format!("UPDATE {table} SET facts = ?2 WHERE entry = ?1"))?
            .execute(params![entry.0, update])?;
    }
    Ok(())
}
