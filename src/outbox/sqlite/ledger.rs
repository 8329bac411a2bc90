//! The SQL statements of operators' reads: list, inspect and load entries.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::decode_cache::DecodeCache;
use super::payload::{self, Payload};
use super::receipt::{SUMMARY, summary};
use super::statements::Statements;
use super::{lane, versions, waiting};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::{
    ClaimBounds, Detail, EntryFilter, EntryId, EntryPage, EntrySelection, EntrySummary, Inspection,
    LOAD_BYTES_MAX, LOAD_MAX, LaneId, LaneKey, LoadedEntries, LoadedEntry, LoadedLane, SCAN_MAX,
    State,
};

/// Lists the entries that a filter selects.
pub(super) fn list(connection: &Connection, filter: &EntryFilter) -> rusqlite::Result<EntryPage> {
    let mut numbers = vec![filter.after.0, u64::try_from(SCAN_MAX).unwrap_or(u64::MAX)];
    // Each state that is not final has its own small table, so the query first selects from that table.
    let among = match (payload::table(filter.state), &filter.customer) {
        (Some(_), Some(customer)) if filter.state == State::Waiting => {
            numbers.extend(lanes_of(connection, customer)?);
            WAITING_IN_LANES.to_owned()
        }
        (Some(table), _) => format!(
            "WHERE e.id IN (SELECT entry FROM {table} WHERE entry > ?1 ORDER BY entry LIMIT ?2)"
        ),
        (None, _) => "WHERE e.id > ?1".to_owned(),
    };
    let mut statement =
        connection.prepare_cached(&format!("{SUMMARY} {among} ORDER BY e.id LIMIT ?2"))?;
    let mut rows = statement.query(params_from_iter(numbers))?;
    let mut page = EntryPage::default();
    let mut scanned = 0;
    let mut last = filter.after;
    while let Some(row) = rows.next()? {
        scanned += 1;
        let Ok(entry) = row.get(0).map(EntryId) else {
            continue;
        };
        last = entry;
        match summary(row) {
            Ok(summary) if filter.matches(&summary) => page.entries.push(summary),
            Ok(_) => {}
            // A damaged entry does not hide the other entries of the page.
            Err(error) if error.sqlite_error().is_none() => {
                tracing::error!(entry.id = entry.0, error = %error, "the list leaves out a damaged entry");
            }
            Err(error) => return Err(error),
        }
        if page.entries.len() >= filter.max {
            page.next = Some(last);
            return Ok(page);
        }
    }
    page.next = (scanned == SCAN_MAX).then_some(last);
    Ok(page)
}

/// Selects the waiting entries of two lanes. A backlog can have millions of waiting entries, so the query reads only
/// the entries of these lanes.
const WAITING_IN_LANES: &str = "WHERE e.id IN (
    SELECT entry FROM (SELECT entry FROM waiting WHERE lane = ?3 AND entry > ?1 ORDER BY entry LIMIT ?2)
    UNION ALL
    SELECT entry FROM (SELECT entry FROM waiting WHERE lane = ?4 AND entry > ?1 ORDER BY entry LIMIT ?2))";

/// Returns the numbers of the lanes with this customer id, and 0 for no lane. One text can be the Imprint id of one
/// customer and the partner customer id of another.
fn lanes_of(connection: &Connection, customer: &str) -> rusqlite::Result<[u64; 2]> {
    let mut lanes = [0; 2];
    let imprint = ImprintId::parse(customer).ok().map(LaneKey::Imprint);
    let partner = PartnerCustomerId::parse(customer)
        .ok()
        .map(LaneKey::Partner);
    for (lane, key) in lanes.iter_mut().zip([imprint, partner]) {
        if let Some(key) = key
            && let Some(found) = lane::find(connection, &key)?
        {
            *lane = found.0;
        }
    }
    Ok(lanes)
}

/// Reads all stored data of one entry.
pub(super) fn inspect(
    connection: &Connection,
    entry: EntryId,
    bounds: ClaimBounds,
) -> rusqlite::Result<Option<Inspection>> {
    let selection = EntrySelection::Entries(vec![entry]);
    let LoadedEntries {
        mut entries,
        mut lanes,
        ..
    } = load(connection, &selection, Detail::Lanes, bounds)?;
    let (loaded, lane) = (entries.pop(), lanes.pop().unwrap_or_default());
    Ok(loaded.map(|loaded| Inspection {
        summary: loaded.summary,
        update: loaded.update,
        event: loaded.event,
        versions: lane.versions,
        waiting: lane.waiting,
    }))
}

/// Loads a selection of entries with the amount of data that `detail` requests, up to the limits.
pub(super) fn load(
    connection: &Connection,
    selection: &EntrySelection,
    detail: Detail,
    bounds: ClaimBounds,
) -> rusqlite::Result<LoadedEntries> {
    let (summaries, mut has_more) = match selection {
        EntrySelection::Entries(entries) => {
            let summaries = entries.iter().take(LOAD_MAX);
            let summaries = summaries
                .map(|entry| find_summary(connection, *entry))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let summaries: Vec<_> = summaries.into_iter().flatten().collect();
            (summaries, entries.len() > LOAD_MAX)
        }
        EntrySelection::Matching(filter) => {
            let mut filter = filter.clone();
            filter.max = filter.max.min(LOAD_MAX);
            let page = list(connection, &filter)?;
            (page.entries, page.next.is_some())
        }
    };
    let mut loader = Loader::new(connection, detail, bounds);
    let mut entries = Vec::with_capacity(summaries.len());
    for summary in summaries {
        if loader.bytes >= LOAD_BYTES_MAX {
            has_more = true;
            break;
        }
        entries.push(loader.load(summary)?);
    }
    Ok(LoadedEntries {
        entries,
        lanes: loader.lanes,
        has_more,
    })
}

/// Loads the lanes of these customers, in this order.
pub(super) fn lanes(
    connection: &Connection,
    customers: &[LaneKey],
    bounds: ClaimBounds,
) -> rusqlite::Result<Vec<LoadedLane>> {
    let mut loader = Loader::new(connection, Detail::Lanes, bounds);
    let load = |key: &LaneKey| match lane::find(connection, key)? {
        Some(lane) if loader.bytes >= LOAD_BYTES_MAX => Ok(LoadedLane {
            versions: versions::of_lane(connection, lane)?,
            waiting: Vec::new(),
        }),
        Some(lane) => {
            let place = loader.lane(lane, Some(key))?;
            Ok(loader.lanes.get(place).cloned().unwrap_or_default())
        }
        None => Ok(LoadedLane::default()),
    };
    customers.iter().map(load).collect()
}

fn find_summary(connection: &Connection, entry: EntryId) -> rusqlite::Result<Option<EntrySummary>> {
    connection
        .prepare_cached(&format!("{SUMMARY} WHERE e.id = ?1"))?
        .query_row([entry.0], summary)
        .optional()
}

/// Loads entries one after another. Loads each lane only once.
struct Loader<'a> {
    connection: &'a Connection,
    detail: Detail,
    bounds: ClaimBounds,
    /// The total size of the loaded payloads in bytes.
    bytes: usize,
    lanes: Vec<LoadedLane>,
    places: HashMap<LaneId, usize>,
}

impl<'a> Loader<'a> {
    fn new(connection: &'a Connection, detail: Detail, bounds: ClaimBounds) -> Self {
        Self {
            connection,
            detail,
            bounds,
            bytes: 0,
            lanes: Vec::new(),
            places: HashMap::new(),
        }
    }

    fn load(&mut self, summary: EntrySummary) -> rusqlite::Result<LoadedEntry> {
        let (entry, state) = (summary.receipt.entry, summary.receipt.state);
        let payload = match self.detail {
            Detail::Summaries => None,
            Detail::Payloads | Detail::Lanes => payload::read(self.connection, state, entry)?,
        };
        let Some(payload) = payload else {
            return Ok(LoadedEntry::without_payload(summary));
        };
        self.bytes = self.bytes.saturating_add(payload.event.len());
        let lane = match self.detail {
            Detail::Summaries | Detail::Payloads => None,
            Detail::Lanes => {
                let key = summary.customer.as_ref();
                let lane = payload.lane.map(|lane| self.lane(lane, key));
                lane.transpose()?
            }
        };
        let Payload {
            version,
            update,
            event,
            ..
        } = payload;
        Ok(LoadedEntry {
            summary,
            version: Some(version.arrived(entry.0)),
            update: update.map(|update| (version.arrived(entry.0), update)),
            event: Some(event),
            lane,
        })
    }

    /// Returns the index of a lane among the loaded lanes.
    fn lane(&mut self, lane: LaneId, key: Option<&LaneKey>) -> rusqlite::Result<usize> {
        if let Some(place) = self.places.get(&lane) {
            return Ok(*place);
        }
        let waiting = waiting::read(
            &Statements::of(self.connection),
            lane,
            key,
            &mut DecodeCache::default(),
            self.bounds,
        )?;
        self.bytes = self.bytes.saturating_add(waiting.bytes);
        let place = self.lanes.len();
        self.lanes.push(LoadedLane {
            versions: versions::of_lane(self.connection, lane)?,
            waiting: waiting.entries,
        });
        self.places.insert(lane, place);
        Ok(place)
    }
}
