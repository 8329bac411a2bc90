//! The SQL statements that read the waiting entries of a lane.

use rusqlite::{Row, Rows, params};

use super::columns;
use super::counts::EventSize;
use super::decode_cache::DecodeCache;
use super::statements::Statements;
use crate::event::SourceName;
use crate::imprint::PartnerCustomerId;
use crate::outbox::codec::{self, CustomerColumns, StoredUpdate};
use crate::outbox::sealer::Sealer;
use crate::outbox::{ClaimBounds, EntryId, LaneId, LaneKey, WaitingEntry};
use crate::time::Timestamp;

/// Builds the SQL statement that reads waiting entries. The rows that an older program wrote have no source. Only for
/// such a row, `coalesce` reads the source from the receipt.
macro_rules! select_waiting {
    ($which:literal) => {
        concat!(
            "SELECT entry, epoch, value, facts, partner, stated, accepted_at,
             coalesce(source, (SELECT source FROM entry e WHERE e.id = waiting.entry)), coalesce(event_bytes, length(event)), jump_max
             FROM waiting",
            $which
        )
    };
}

/// The newest and the oldest waiting entries of a lane.
#[derive(Default)]
pub(super) struct WaitingEntries {
    pub(super) entries: Vec<WaitingEntry>,
    /// The waiting entries whose stored content cannot be read.
    pub(super) unreadable: Vec<EntryId>,
    /// The sizes of the events of these entries, starting with the newest entry. Damaged rows are missing.
    pub(super) sizes: Vec<(EntryId, EventSize)>,
    /// The total size of the entries' stored updates in bytes.
    pub(super) bytes: usize,
    /// True if the lane has more waiting entries than the newest entries that the claim reads.
    pub(super) has_more: bool,
}

/// Reads the newest waiting entries of a lane, and some of the oldest entries of a long lane.
pub(super) fn read(
    statements: &Statements<'_>,
    lane: LaneId,
    key: Option<&LaneKey>,
    decoded: &mut DecodeCache,
    bounds: ClaimBounds,
) -> rusqlite::Result<WaitingEntries> {
    let mut reader = WaitingReader {
        sealer: statements.sealer(),
        lane,
        key,
        decoded,
        found: WaitingEntries::default(),
        last: None,
    };
    // The query asks for one row more than the claim reads. This row shows whether the lane has more entries.
    let newest = select_waiting!(" WHERE lane = ?1 ORDER BY entry DESC LIMIT ?2");
    let has_more = statements.with(newest, |newest| {
        let mut rows = newest.query(params![lane.0, bounds.newest.saturating_add(1)])?;
        reader.take(&mut rows, bounds.newest, bounds.bytes)
    })?;
    if let (true, Some(last)) = (has_more, reader.last) {
        let mut oldest = statements.prepare_cached(select_waiting!(
            " WHERE lane = ?1 AND entry < ?3 ORDER BY entry LIMIT ?2"
        ))?;
        let mut rows = oldest.query(params![lane.0, bounds.oldest, last.0])?;
        let bytes = reader.found.bytes.saturating_add(bounds.oldest_bytes());
        reader.take(&mut rows, bounds.oldest, bytes)?;
        let sizes = &mut reader.found.sizes;
        sizes.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    }
    Ok(WaitingEntries {
        has_more,
        ..reader.found
    })
}

/// Reads rows of waiting entries.
struct WaitingReader<'a> {
    sealer: &'a Sealer,
    lane: LaneId,
    key: Option<&'a LaneKey>,
    decoded: &'a mut DecodeCache,
    found: WaitingEntries,
    /// The entry of the last row.
    last: Option<EntryId>,
}

impl WaitingReader<'_> {
    /// Reads at most `max` rows. Stops when the updates of all read entries have `bytes_max` bytes. Returns whether an
    /// unread row is left.
    fn take(
        &mut self,
        rows: &mut Rows<'_>,
        max: usize,
        bytes_max: usize,
    ) -> rusqlite::Result<bool> {
        let mut count = 0;
        while let Some(row) = rows.next()? {
            if count == max || self.found.bytes >= bytes_max {
                return Ok(true);
            }
            count += 1;
            self.found.bytes += row.get_ref(3)?.as_bytes().map_or(0, <[u8]>::len);
            // If the number of an entry is damaged, the claim of its lane fails, because dispatch could not settle the
            // entry.
            let number = EntryId(row.get(0)?);
            self.last = Some(number);
            let source = row.get_ref(7)?.as_str().ok();
            let source = source.and_then(|name| self.decoded.source(name));
            if let Some((source, bytes)) = source.clone().zip(row.get(8).ok()) {
                let size = EventSize { source, bytes };
                self.found.sizes.push((number, size));
            }
            let entry = match source {
                Some(source) => self.entry(row, number, source)?,
                None => None,
            };
            match entry {
                Some(entry) => self.found.entries.push(entry),
                None => self.found.unreadable.push(number),
            }
        }
        Ok(false)
    }

    /// Decodes one waiting entry. Returns `None` if the stored content is damaged, and an error if the process does not
    /// have the sealing key of the update.
    fn entry(
        &mut self,
        row: &Row<'_>,
        entry: EntryId,
        source: SourceName,
    ) -> rusqlite::Result<Option<WaitingEntry>> {
        let update = match self.decoded.take(entry) {
            Some(update) => Ok(update),
            None => {
                let bytes = row.get_ref(3)?.as_bytes().unwrap_or_default();
                codec::decode_update(self.sealer, entry.0, bytes)
            }
        };
        match update {
            Ok(update) => {
                let lane = (self.lane, self.key);
                Ok(waiting_entry(row, (entry, source), lane, update))
            }
            Err(error) if error.missing_key().is_some() => Err(columns::unreadable(error)),
            Err(_damaged) => Ok(None),
        }
    }
}

/// Decodes the columns of a waiting entry. Returns `None` if a column is damaged, or is not the column with which the update
/// was sealed.
fn waiting_entry(
    row: &Row<'_>,
    (entry, source): (EntryId, SourceName),
    (lane, key): (LaneId, Option<&LaneKey>),
    stored: StoredUpdate,
) -> Option<WaitingEntry> {
    let route = columns::route(row, lane, [1, 2, 5, 9]).ok()?;
    if !stored.is_at(&route) {
        return None;
    }
    let column: Option<&str> = row.get_ref(4).ok()?.as_str_or_null().ok()?;
    let sealed = stored.partner.as_ref().map(PartnerCustomerId::as_str);
    let columns = CustomerColumns {
        partner: sealed.or(column),
        names_imprint_id: route.names_imprint_id,
    };
    Some(WaitingEntry {
        entry,
        version: route.version.arrived(entry.0),
        customer: codec::customer(key?, &columns)?,
        update: stored.update,
        jump_max: row.get(9).ok()?,
        source,
        accepted_at: Timestamp::from_millis(row.get(6).ok()?),
        floors: None,
    })
}
