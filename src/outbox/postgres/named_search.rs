//! Finds the entries of a customer outside the lanes of the customer: the event names the customer beside the Imprint id of
//! another lane, or the event is invalid and belongs to no lane.
//!
//! No index finds these entries: most stores have none, and an index would cost time for each event.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, number, size, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::{customers, linked_keys};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::customer::names_partner;
use crate::outbox::named_part::{NO_LANE, NamedEntry, NamedPart};
use crate::outbox::sealer::Sealer;
use crate::outbox::{
    ENTRY_MAX, ERASE_MAX, EntryId, LOAD_BYTES_MAX, LaneId, LaneKey, NamedEntries, SCAN_MAX,
    mentions,
};

/// Finds the next entries of a customer outside the lanes of these keys.
pub(super) async fn find(
    db: &Connected,
    engine: &Engine,
    keys: &[LaneKey],
    (after, max): (EntryId, usize),
) -> Result<NamedEntries, DbFault> {
    let linked = linked_keys::all(db, engine, keys).await?;
    let search = NamedSearch {
        own: &live(db, engine, &linked).await?,
        left_out: &live(db, engine, keys).await?,
        keys: &linked,
        invalid: &[],
        after,
        last: EntryId(ENTRY_MAX),
        max,
    };
    let found = search.next(db, &engine.sealer).await?;
    Ok(NamedEntries {
        entries: found.entries.iter().map(|found| found.entry).collect(),
        next: (!found.is_last).then_some(found.up_to),
    })
}

async fn live(db: &Connected, engine: &Engine, keys: &[LaneKey]) -> Result<Vec<LaneId>, DbFault> {
    let lanes = customers::find_lanes(db, engine, keys).await?;
    let lanes = lanes.into_iter().flatten().filter(|lane| !lane.is_erased);
    Ok(lanes.map(|lane| lane.id).collect())
}

/// A search for entries of a customer that have not ended.
pub(super) struct NamedSearch<'a> {
    pub(super) keys: &'a [LaneKey],
    /// The invalid entries of the customer that the caller has found, in the order of their numbers.
    pub(super) invalid: &'a [EntryId],
    /// All entries in these lanes are entries of the customer.
    pub(super) own: &'a [LaneId],
    /// The search leaves out the entries in these lanes, because the caller finds them in another way.
    pub(super) left_out: &'a [LaneId],
    pub(super) after: EntryId,
    pub(super) last: EntryId,
    /// The maximum number of entries that the search finds.
    pub(super) max: usize,
}

impl NamedSearch<'_> {
    /// Reads the next entries of all states that are not final, in the order of their numbers.
    pub(super) async fn next(&self, db: &Connected, sealer: &Sealer) -> Result<NamedPart, DbFault> {
        let (after, last) = (number(self.after.0), number(self.last.0));
        let left_out: Vec<i64> = self.left_out.iter().map(|lane| number(lane.0)).collect();
        let (rows, bytes, opened) = (size(SCAN_MAX), size(LOAD_BYTES_MAX), size(ERASE_MAX));
        let rows = db
            .query(
                &self.sql(),
                &[
                    (&after, Type::INT8),
                    (&last, Type::INT8),
                    (&left_out, Type::INT8_ARRAY),
                    (&rows, Type::INT8),
                    (&bytes, Type::INT8),
                    (&opened, Type::INT8),
                ],
            )
            .await?;
        let mut part = NamedPart {
            entries: Vec::new(),
            unreadable: Vec::new(),
            up_to: self.after,
            is_last: rows.is_empty(),
        };
        for (place, row) in (1..).zip(&rows) {
            let entry = EntryId(unsigned(get(row, 0)?));
            let state: i16 = get(row, 1)?;
            let lane = LaneId(unsigned(get(row, 2)?));
            match self.is_named(sealer, row, (entry, lane))? {
                Some(true) => part.entries.push(NamedEntry {
                    entry,
                    state: codec::state("payload.state", state.into())?,
                    lane,
                }),
                Some(false) => {}
                None => part.unreadable.push(entry),
            }
            part.up_to = entry;
            if part.entries.len() == self.max {
                return Ok(part);
            }
            // The inner statement has found all entries, and the outer statement has returned all of them.
            let found: i64 = get(row, 6)?;
            part.is_last = found < size(SCAN_MAX) && found == place;
        }
        Ok(part)
    }

    /// Returns the SQL statement. Only an invalid event can name a customer without an id of the CRM in another lane.
    fn sql(&self) -> String {
        let is_partner = |key: &LaneKey| matches!(key, LaneKey::Partner(_));
        let condition = match self.keys.iter().any(is_partner) {
            true => "",
            false => "lane = 0 AND state = 4 AND",
        };
        format!(
            "SELECT * FROM (
                SELECT p.entry, p.state, p.lane, p.partner, p.facts, p.event, count(*) OVER () AS found,
                    sum(p.bytes) OVER read - p.bytes AS bytes_before, count(p.event) OVER read AS opened, p.event IS NULL AS is_closed
                FROM (SELECT entry, state, lane, partner,
                        CASE WHEN lane <> 0 AND partner IS NULL AND lane <> ALL($3) THEN facts END AS facts,
                        CASE lane WHEN 0 THEN event END AS event,
                        length(facts) + CASE lane WHEN 0 THEN length(event) ELSE 0 END AS bytes
                    FROM imprint_bridge.payload WHERE {condition} entry > $1 AND entry <= $2 ORDER BY entry LIMIT $4) AS p
                WINDOW read AS (ORDER BY p.entry)) AS r
             WHERE r.bytes_before < $5 AND (r.opened < $6 OR r.opened = $6 AND NOT r.is_closed) ORDER BY r.entry"
        )
    }

    /// Returns whether an entry is an entry of the customer. Returns `None` if the entry cannot be read.
    fn is_named(
        &self,
        sealer: &Sealer,
        row: &Row,
        (entry, lane): (EntryId, LaneId),
    ) -> Result<Option<bool>, DbFault> {
        if self.left_out.contains(&lane) {
            return Ok(Some(false));
        }
        if self.own.contains(&lane) {
            return Ok(Some(true));
        }
        if lane == NO_LANE && self.invalid.binary_search(&entry).is_ok() {
            return Ok(Some(true));
        }
        if lane == NO_LANE {
            let stored: Option<&[u8]> = get(row, 5)?;
            return Ok(self.is_mentioned(sealer, stored.unwrap_or_default(), entry));
        }
        let column: Option<&str> = get(row, 3)?;
        if let Some(column) = column {
            return Ok(Some(names_partner(column, self.keys)));
        }
        // A sealed update contains the CRM's id.
        let facts: Option<&[u8]> = get(row, 4)?;
        let stored = codec::decode_update(sealer, entry.0, facts.unwrap_or_default()).ok();
        Ok(stored.map(|stored| {
            let partner = stored.partner.as_ref();
            partner.is_some_and(|partner| names_partner(partner.as_str(), self.keys))
        }))
    }

    /// Returns whether an invalid event mentions the customer. Returns `None` if the event cannot be read.
    fn is_mentioned(&self, sealer: &Sealer, stored: &[u8], entry: EntryId) -> Option<bool> {
        let event = codec::decode_bytes(sealer, BlobKind::Event, entry.0, stored).ok()?;
        let event = serde_json::from_slice(&event).ok()?;
        Some(mentions(&event, self.keys))
    }
}
