//! The SQL statements that read and store a lane's versions: the versions of delivered values, and of values that
//! Imprint has possibly received.

use rusqlite::params;

use super::columns;
use super::store_connection::StoreConnection;
use crate::fold::LaneVersions;
use crate::outbox::LaneId;
use crate::outbox::codec::{self, BlobKind};

/// Reads the versions of a lane. If the stored versions are damaged, returns empty versions.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of the versions: a caller must not take them for empty.
pub(super) fn of_lane(
    connection: &StoreConnection,
    lane: LaneId,
) -> rusqlite::Result<LaneVersions> {
    connection
        .prepare_cached("SELECT versions FROM lane WHERE id = ?1")?
        .query_row([lane.0], |row| {
            let bytes = row.get_ref(0)?.as_blob_or_null().ok().flatten();
            let Some(bytes) = bytes else {
                return Ok(LaneVersions::default());
            };
            match codec::decode(connection.sealer(), BlobKind::LaneVersions, lane.0, bytes) {
                Err(error) if error.missing_key().is_some() => Err(columns::unreadable(error)),
                versions => Ok(versions.unwrap_or_default()),
            }
        })
}

/// Replaces the versions of a lane.
pub(super) fn store(
    connection: &StoreConnection,
    lane: LaneId,
    versions: &LaneVersions,
) -> rusqlite::Result<()> {
    let stored = codec::encode(
        connection.sealer(),
        BlobKind::LaneVersions,
        lane.0,
        versions,
    );
    connection
        .prepare_cached("UPDATE lane SET versions = ?2 WHERE id = ?1")?
        .execute(params![lane.0, stored.map_err(columns::unwritable)?])?;
    Ok(())
}
