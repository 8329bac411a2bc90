//! The SQL statements of operators' reads: list, inspect and load entries.

use rusqlite::{OptionalExtension, params};

use super::filter::{self, Candidates};
use super::payload;
use super::receipt::{SUMMARY, summary};
use super::store_connection::StoreConnection;
use crate::outbox::{
    Detail, EntryFilter, EntryId, EntryPage, EntrySelection, EntrySummary, Inspection,
    LOAD_BYTES_MAX, LOAD_MAX, LoadedEntries, LoadedEntry, SCAN_MAX,
};

/// Lists the entries that a filter selects.
pub(super) fn list(
    connection: &StoreConnection,
    filter: &EntryFilter,
) -> rusqlite::Result<EntryPage> {
    let limit = u64::try_from(SCAN_MAX).unwrap_or(u64::MAX);
    let (condition, numbers) = match filter::candidates(connection, filter)? {
        Candidates::Condition(condition) => (condition, None),
        Candidates::Numbers(numbers) => (IS_LISTED.to_owned(), Some(numbers)),
    };
    let mut statement = connection.prepare_cached(&format!(
        "{SUMMARY} WHERE {condition} ORDER BY e.id {} LIMIT ?2",
        filter::direction(filter.order)
    ))?;
    let mut rows = match numbers {
        None => statement.query(params![filter.start().0, limit])?,
        Some(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            statement.query(params![format!("[{}]", numbers.join(",")), limit])?
        }
    };
    let mut page = EntryPage::default();
    let mut scanned = 0;
    let mut last = filter.start();
    while let Some(row) = rows.next()? {
        scanned += 1;
        let Ok(entry) = row.get(0).map(EntryId) else {
            continue;
        };
        last = entry;
        match summary(row, connection.sealer()) {
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

/// The condition for entries whose numbers are in the JSON array `?1`.
const IS_LISTED: &str = "e.id IN (SELECT value FROM json_each(?1))";

/// Reads all stored data of one entry.
pub(super) fn inspect(
    connection: &StoreConnection,
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
    connection: &StoreConnection,
    selection: &EntrySelection,
    detail: Detail,
) -> rusqlite::Result<LoadedEntries> {
    let (summaries, mut has_more, mut next) = match selection {
        EntrySelection::Entries(entries) => {
            let summaries = entries.iter().take(LOAD_MAX);
            let summaries = summaries
                .map(|entry| find_summary(connection, *entry))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let summaries: Vec<_> = summaries.into_iter().flatten().collect();
            (summaries, entries.len() > LOAD_MAX, None)
        }
        EntrySelection::Matching(filter) => {
            let mut filter = filter.clone();
            filter.max = filter.max.min(LOAD_MAX);
            let page = list(connection, &filter)?;
            (page.entries, page.next.is_some(), page.next)
        }
    };
    let mut bytes: usize = 0;
    let mut entries = Vec::with_capacity(summaries.len());
    for summary in summaries {
        if bytes >= LOAD_BYTES_MAX {
            (has_more, next) = (true, None);
            break;
        }
        let entry = match detail {
            Detail::Summaries => LoadedEntry::without_payload(summary),
            Detail::Payloads => load_payload(connection, summary)?,
        };
        bytes = bytes.saturating_add(entry.event.as_ref().map_or(0, Vec::len));
        entries.push(entry);
    }
    Ok(LoadedEntries {
        entries,
        has_more,
        next,
    })
}

fn find_summary(
    connection: &StoreConnection,
    entry: EntryId,
) -> rusqlite::Result<Option<EntrySummary>> {
    connection
        .prepare_cached(&format!("{SUMMARY} WHERE e.id = ?1"))?
        .query_row([entry.0], |row| summary(row, connection.sealer()))
        .optional()
}

fn load_payload(
    connection: &StoreConnection,
    summary: EntrySummary,
) -> rusqlite::Result<LoadedEntry> {
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
