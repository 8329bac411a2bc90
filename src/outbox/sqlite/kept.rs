//! Reads the newest events of a store that no process has open, for the command `diff`.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Row;

use super::backup::open_for_reading;
use super::columns;
use super::open_error::OpenError;
use super::receipt;
use super::sealing_keys::unlock_for_reading;
use super::store_connection::StoreConnection;
use crate::event::{Attribute, Identity};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;
use crate::outbox::{EntryId, ParkReason};
use crate::sealing::KeyRing;

/// The SQL that selects the newest events. An entry in a final state has no event any more. Each table has the number of
/// the entry as its key, so the statement reads only the newest rows of each table.
const NEWEST: &str = "
SELECT e.id, e.source, e.ce_source, e.event_id, e.event_type, p.event, p.reason FROM (
    SELECT * FROM (SELECT entry, event, NULL AS reason FROM waiting ORDER BY entry DESC LIMIT ?1)
    UNION ALL SELECT * FROM (SELECT entry, event, NULL FROM held ORDER BY entry DESC LIMIT ?1)
    UNION ALL SELECT * FROM (SELECT entry, event, NULL FROM undecided ORDER BY entry DESC LIMIT ?1)
    UNION ALL SELECT * FROM (SELECT entry, event, reason FROM parked ORDER BY entry DESC LIMIT ?1)
) p JOIN entry e ON e.id = p.entry ORDER BY p.entry DESC LIMIT ?1";

/// An event of an entry that has not ended.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// The number of the entry.
    pub entry: EntryId,
    /// The identity of the event.
    pub identity: Identity,
    /// The type of the event.
    pub event_type: Attribute,
    /// The event in its stored form.
    pub event: Vec<u8>,
    /// Whether the entry is parked because the event was invalid.
    pub is_invalid: bool,
}

/// Prints no content of the event, because the content is personal data.
impl std::fmt::Debug for KeptEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptEvent")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

/// Returns at most `max` events of entries that have not ended, the newest first. Changes nothing in the store.
///
/// # Errors
/// Returns an error if the file is not a store, or if a process has the store open.
pub fn newest_events(
    path: &Path,
    max: u32,
    keys: Arc<KeyRing>,
) -> Result<Vec<KeptEvent>, OpenError> {
    let (_lock, connection) = open_for_reading(path)?;
    let store = unlock_for_reading(connection, keys);
    let events = store.and_then(|store| read(&store, max));
    events.map_err(OpenError::sqlite("reading its events"))
}

fn read(connection: &StoreConnection, max: u32) -> rusqlite::Result<Vec<KeptEvent>> {
    connection.pragma_update(None, "query_only", true)?;
    let mut statement = connection.prepare(NEWEST)?;
    let events = statement.query_map([max], |row| kept(row, connection.sealer()))?;
    events.collect()
}

fn kept(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<KeptEvent> {
    let entry = EntryId(row.get(0)?);
    let event = row.get_ref(5)?.as_blob()?;
    let event = codec::decode_bytes(sealer, BlobKind::Event, entry.0, event);
    Ok(KeptEvent {
        entry,
        identity: receipt::identity(row, 1)?,
        event_type: receipt::attribute(row, 4)?,
        event: event.map_err(columns::unreadable)?.into_owned(),
        is_invalid: columns::reason(row, 6)? == Some(ParkReason::Invalid),
    })
}
