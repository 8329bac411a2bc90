//! The SQL of waiting entries: reads the entries that wait in a lane.

use rusqlite::{Connection, Row, params};

use super::counts::EventSize;
use super::decode_cache::DecodeCache;
use crate::event::{SourceName, SourceVersion};
use crate::outbox::codec::{self, BlobKind, CustomerColumns};
use crate::outbox::{CLAIM_BYTES_MAX, EntryId, LaneId, LaneKey, WAITING_WINDOW, WaitingEntry};
use crate::time::Timestamp;

/// The newest waiting entries of a lane.
#[derive(Default)]
pub(super) struct WaitingEntries {
    pub(super) entries: Vec<WaitingEntry>,
    /// The waiting entries whose stored content cannot be read.
    pub(super) unreadable: Vec<EntryId>,
    /// The sizes of the events of all these entries, unless a row is damaged.
    pub(super) sizes: Vec<(EntryId, EventSize)>,
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
        // Rows of an older program have no source. `coalesce` reads a receipt only for such a row.
        "SELECT entry, epoch, value, facts, partner, stated, accepted_at,
                coalesce(source, (SELECT source FROM entry e WHERE e.id = waiting.entry)), length(event)
         FROM waiting WHERE lane = ?1 ORDER BY entry DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![lane.0, WAITING_WINDOW])?;
    while waiting.bytes < CLAIM_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        waiting.bytes += row.get_ref(3)?.as_bytes().map_or(0, <[u8]>::len);
        // An entry without a readable number fails the claim of its lane, because dispatch could not settle the entry.
        let number = EntryId(row.get(0)?);
        let source = row.get_ref(7)?.as_str().ok();
        let source = source.and_then(|name| decoded.source(name));
        if let Some((source, bytes)) = source.clone().zip(row.get(8).ok()) {
            waiting.sizes.push((number, EventSize { source, bytes }));
        }
        match source.and_then(|source| entry(row, number, source, key, decoded)) {
            Some(entry) => waiting.entries.push(entry),
            None => waiting.unreadable.push(number),
        }
    }
    Ok(waiting)
}

/// Decodes one waiting entry; `None` if the content cannot be read.
fn entry(
    row: &Row<'_>,
    entry: EntryId,
    source: SourceName,
    key: Option<&LaneKey>,
    decoded: &mut DecodeCache,
) -> Option<WaitingEntry> {
    let cached = decoded.take(entry);
    let version = SourceVersion {
        epoch: row.get(1).ok()?,
        value: row.get(2).ok()?,
    };
    let update = cached.or_else(|| {
        let bytes = row.get_ref(3).ok()?.as_bytes().unwrap_or_default();
        codec::decode(BlobKind::Update, entry.0, bytes).ok()
    })?;
    let partner: Option<String> = row.get(4).ok()?;
    let columns = CustomerColumns {
        partner: partner.as_deref(),
        names_imprint_id: row.get(5).ok()?,
    };
    Some(WaitingEntry {
        entry,
        version: version.arrived(entry.0),
        update,
        customer: codec::customer(key?, &columns)?,
        source,
        accepted_at: Timestamp::from_millis(row.get(6).ok()?),
    })
}
