//! The SQL statements that find the entries of a customer outside the lanes of the customer: the event names the customer
//! beside the Imprint id of another lane, or the event is invalid and belongs to no lane.
//!
//! No index finds these entries: most stores have none, and an index would cost time for each event.

use rusqlite::{Row, params};

use super::linked_keys;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::customer::names_partner;
use crate::outbox::named_part::{NO_LANE, NamedEntry, NamedPart};
use crate::outbox::sqlite::store_connection::StoreConnection;
use crate::outbox::sqlite::{columns, payload};
use crate::outbox::{
    ENTRY_MAX, ERASE_MAX, EntryId, LOAD_BYTES_MAX, LaneId, LaneKey, NamedEntries, SCAN_MAX, State,
    mentions,
};

/// Finds the next entries of a customer outside the lanes of these keys.
pub(in crate::outbox::sqlite) fn find(
    store: &StoreConnection,
    keys: &[LaneKey],
    (after, max): (EntryId, usize),
) -> rusqlite::Result<NamedEntries> {
    let linked = linked_keys::all(store, keys)?;
    let search = EntrySearch {
        keys: &linked,
        invalid: &[],
        own: &linked_keys::lanes(store, &linked)?,
        left_out: &linked_keys::lanes(store, keys)?,
        after,
        last: EntryId(ENTRY_MAX),
        max,
    };
    let found = search.next(store)?;
    Ok(NamedEntries {
        entries: found.entries.iter().map(|found| found.entry).collect(),
        next: (!found.is_last).then_some(found.up_to),
    })
}

/// A search for entries of a customer that have not ended.
pub(super) struct EntrySearch<'a> {
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

/// Whether an entry is an entry of the customer.
enum Reading {
    Named,
    Other,
    Unreadable,
}

impl EntrySearch<'_> {
    /// Reads the next entries of all states that are not final, in the order of their numbers: an entry that changes its
    /// state between two parts is then in one of them.
    pub(super) fn next(&self, store: &StoreConnection) -> rusqlite::Result<NamedPart> {
        let mut found = NamedPart {
            entries: Vec::new(),
            unreadable: Vec::new(),
            up_to: self.after,
            is_last: false,
        };
        let (mut read, mut opened, mut bytes) = (0, 0, 0);
        let mut statement = store.prepare(&self.sql())?;
        let mut rows = statement.query(params![self.after.0, self.last.0])?;
        while let Some(row) = rows.next()? {
            let entry = EntryId(row.get(0)?);
            let lane = LaneId(columns::or_default(row, 2));
            match self.read(store, row, (entry, lane)) {
                Reading::Named => found.entries.push(NamedEntry {
                    entry,
                    state: columns::state(row, 1)?,
                    lane,
                }),
                Reading::Unreadable => found.unreadable.push(entry),
                Reading::Other => {}
            }
            found.up_to = entry;
            read += 1;
            opened += usize::from(lane == NO_LANE);
            bytes += size(row, 4) + size(row, 5);
            if read == SCAN_MAX
                || opened == ERASE_MAX
                || bytes >= LOAD_BYTES_MAX
                || found.entries.len() == self.max
            {
                return Ok(found);
            }
        }
        found.is_last = true;
        Ok(found)
    }

    /// Returns the SQL statement. SQLite merges the tables, whose rows have the order already. Only an invalid event can
    /// name a customer without an id of the CRM in another lane.
    fn sql(&self) -> String {
        let is_partner = |key: &LaneKey| matches!(key, LaneKey::Partner(_));
        let (states, condition) = match self.keys.iter().any(is_partner) {
            true => (&payload::UNFINISHED[..], ""),
            false => (&[State::Parked][..], "lane = 0 AND"),
        };
        let tables = states.iter().filter_map(|state| {
            let table = payload::table(*state)?;
            let number = codec::state_number(*state);
            Some(format!(
                "SELECT entry, {number}, lane, partner, facts, CASE lane WHEN 0 THEN event END FROM {table}
                 WHERE {condition} entry > ?1 AND entry <= ?2"
            ))
        });
        let tables: Vec<String> = tables.collect();
        format!("{} ORDER BY entry", tables.join(" UNION ALL "))
    }

    fn read(
        &self,
        store: &StoreConnection,
        row: &Row<'_>,
        (entry, lane): (EntryId, LaneId),
    ) -> Reading {
        if self.left_out.contains(&lane) {
            return Reading::Other;
        }
        let is_named = match lane {
            lane if self.own.contains(&lane) => Some(true),
            NO_LANE if self.invalid.binary_search(&entry).is_ok() => Some(true),
            NO_LANE => self.is_mentioned(store, row, entry),
            _ => self.is_partner(store, row, entry),
        };
        match is_named {
            Some(true) => Reading::Named,
            Some(false) => Reading::Other,
            None => Reading::Unreadable,
        }
    }

    /// Returns whether an invalid event mentions the customer. Returns `None` if the event cannot be read.
    fn is_mentioned(&self, store: &StoreConnection, row: &Row<'_>, entry: EntryId) -> Option<bool> {
        let stored = bytes(row, 5);
        let event = codec::decode_bytes(store.sealer(), BlobKind::Event, entry.0, stored).ok()?;
        let event = serde_json::from_slice(&event).ok()?;
        Some(mentions(&event, self.keys))
    }

    /// Returns whether an event names the CRM's id of the customer. Returns `None` if the update cannot be read: a sealed
    /// update contains the id.
    fn is_partner(&self, store: &StoreConnection, row: &Row<'_>, entry: EntryId) -> Option<bool> {
        let column: Option<String> = columns::or_default(row, 3);
        if let Some(column) = column {
            return Some(names_partner(&column, self.keys));
        }
        let stored = codec::decode_update(store.sealer(), entry.0, bytes(row, 4)).ok()?;
        let partner = stored.partner.as_ref();
        Some(partner.is_some_and(|partner| names_partner(partner.as_str(), self.keys)))
    }
}

fn bytes<'r>(row: &'r Row<'_>, column: usize) -> &'r [u8] {
    let value = row.get_ref(column).ok();
    let value = value.and_then(|value| value.as_bytes().ok());
    value.unwrap_or_default()
}

fn size(row: &Row<'_>, column: usize) -> usize {
    bytes(row, column).len()
}
