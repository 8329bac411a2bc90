//! The SQL of waiting entries: reads the entries that wait in a lane.

use rusqlite::{Connection, Row, params};

use super::decode_cache::DecodeCache;
use crate::event::SourceVersion;
use crate::outbox::codec::{self, BlobKind, CustomerColumns};
use crate::outbox::{CLAIM_BYTES_MAX, EntryId, LaneId, LaneKey, WAITING_WINDOW, WaitingEntry};
use crate::time::Timestamp;

/// The newest waiting entries of a lane.
#[derive(Default)]
pub(super) struct WaitingEntries {
    pub(super) entries: Vec<WaitingEntry>,
    /// The waiting entries whose stored content cannot be read.
    pub(super) unreadable: Vec<EntryId>,
    /// The stored bytes of the entries' updates.
    pub(super) bytes: usize,
}

/// Reads the newest waiting entries of a lane: at most [`WAITING_WINDOW`] entries and about [`CLAIM_BYTES_MAX`] of
/// updates.
pub(super) fn read(
    connection: &Connection,
    lane: LaneId,
    key: Option<&LaneKey>,
    decoded: &mut DecodeCache,
) -> rusqlite::Result<WaitingEntries> {
    let mut waiting = WaitingEntries::default();
    let mut statement = connection.prepare_cached(
        "SELECT entry, epoch, value, facts, partner, stated, accepted_at FROM waiting
         WHERE lane = ?1 ORDER BY entry DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![lane.0, WAITING_WINDOW])?;
    while waiting.bytes < CLAIM_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        waiting.bytes += row.get_ref(3)?.as_bytes().map_or(0, <[u8]>::len);
        match entry(row, key, decoded)? {
            Ok(entry) => waiting.entries.push(entry),
            Err(entry) => waiting.unreadable.push(entry),
        }
    }
    Ok(waiting)
}

/// Decodes one waiting entry; returns only the number of the entry if the content cannot be read.
fn entry(
    row: &Row<'_>,
    key: Option<&LaneKey>,
    decoded: &mut DecodeCache,
) -> rusqlite::Result<Result<WaitingEntry, EntryId>> {
    let entry = EntryId(row.get(0)?);
    let version = SourceVersion {
        epoch: row.get(1)?,
        value: row.get(2)?,
    };
    let update = decoded.take(entry).or_else(|| {
        let bytes = row.get_ref(3).ok()?.as_bytes().unwrap_or_default();
        codec::decode(BlobKind::Update, entry.0, bytes).ok()
    });
    let partner: Option<String> = row.get(4)?;
    let customer = key.and_then(|key| {
        let columns = CustomerColumns {
            partner: partner.as_deref(),
            names_imprint_id: row.get(5).ok()?,
        };
        codec::customer(key, &columns)
    });
    let accepted_at = Timestamp::from_millis(row.get(6)?);
    Ok(match (update, customer) {
        (Some(update), Some(customer)) => Ok(WaitingEntry {
            entry,
            version: version.arrived(entry.0),
            update,
            customer,
            accepted_at,
        }),
        (_, _) => Err(entry),
    })
}
