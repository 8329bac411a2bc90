//! The SQL statements of operators' reads: list, inspect and load entries.

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::receipt::{SUMMARY, summary};
use super::{lane, payload};
use crate::imprint::{ImprintId, PartnerCustomerId};
use crate::outbox::{
    Detail, EntryFilter, EntryId, EntryPage, EntrySelection, EntrySummary, Inspection,
    LOAD_BYTES_MAX, LOAD_MAX, LaneKey, LoadedEntries, LoadedEntry, SCAN_MAX, State,
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
) -> rusqlite::Result<Option<Inspection>> {
    let selection = EntrySelection::Entries(vec![entry]);
    let mut loaded = load(connection, &selection, Detail::Payloads)?;
    Ok(loaded.entries.pop().map(|loaded| Inspection {
        summary: loaded.summary,
        update: loaded.update,
        event: loaded.event,
    }))
}

/// Loads a selection of entries with the amount of data that `detail` requests, up to the limits.
pub(super) fn load(
    connection: &Connection,
    selection: &EntrySelection,
    detail: Detail,
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
    let mut bytes: usize = 0;
    let mut entries = Vec::with_capacity(summaries.len());
    for summary in summaries {
        if bytes >= LOAD_BYTES_MAX {
            has_more = true;
            break;
        }
        let entry = match detail {
            Detail::Summaries => LoadedEntry::without_payload(summary),
            Detail::Payloads => load_payload(connection, summary)?,
        };
        bytes = bytes.saturating_add(entry.event.as_ref().map_or(0, Vec::len));
        entries.push(entry);
    }
    Ok(LoadedEntries { entries, has_more })
}

fn find_summary(connection: &Connection, entry: EntryId) -> rusqlite::Result<Option<EntrySummary>> {
    connection
        .prepare_cached(&format!("{SUMMARY} WHERE e.id = ?1"))?
        .query_row([entry.0], summary)
        .optional()
}

fn load_payload(connection: &Connection, summary: EntrySummary) -> rusqlite::Result<LoadedEntry> {
    let (entry, state) = (summary.receipt.entry, summary.receipt.state);
    let key = summary.customer.as_ref();
    let Some(payload) = payload::read(connection, state, entry, key)? else {
        return Ok(LoadedEntry::without_payload(summary));
    };
    let version = payload.version.arrived(entry.0);
    Ok(LoadedEntry {
        summary,
        version: Some(version),
        update: payload.update.map(|update| (version, update)),
        customer: payload.customer,
        jump_max: payload.jump_max,
        event: Some(payload.event),
    })
}
