//! The reads of operators: list, inspect and load entries.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, number, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::receipt::{SUMMARY, summary};
use super::{bound_updates, candidates};
use crate::event::SourceVersion;
use crate::imprint::PartnerCustomerId;
use crate::outbox::codec::{self, BlobKind, CustomerColumns, StoredUpdate};
use crate::outbox::sealer::Sealer;
use crate::outbox::{
    Detail, EntryFilter, EntryId, EntryPage, EntrySelection, EntrySummary, Inspection,
    LOAD_BYTES_MAX, LOAD_MAX, LoadedEntries, LoadedEntry, SCAN_MAX,
};

/// The number of entries that one statement reads: most pages have fewer entries.
const CHUNK: usize = 500;

/// Lists the entries that a filter selects.
pub(super) async fn list(
    db: &Connected,
    engine: &Engine,
    filter: &EntryFilter,
) -> Result<EntryPage, DbFault> {
    let numbers = candidates::find(db, engine, filter).await?;
    let direction = candidates::direction(filter.order);
    let sql = format!("{SUMMARY} WHERE e.id = ANY($1) ORDER BY e.id {direction}");
    let mut page = EntryPage::default();
    let mut last = filter.start();
    for chunk in numbers.chunks(CHUNK) {
        for row in db.query(&sql, &[(&chunk, Type::INT8_ARRAY)]).await? {
            last = EntryId(unsigned(get(&row, 0)?));
            match summary(&row, &engine.sealer) {
                Ok(summary) if filter.matches(&summary) => page.entries.push(summary),
                Ok(_) => {}
                // A damaged entry does not hide the other entries of the page.
                Err(fault) => {
                    tracing::error!(entry.id = last.0, error = %fault, "the list leaves out a damaged entry");
                }
            }
            if page.entries.len() >= filter.max {
                page.next = Some(last);
                return Ok(page);
            }
        }
    }
    page.next = (numbers.len() == SCAN_MAX).then_some(last);
    Ok(page)
}

/// Reads all stored data of one entry.
pub(super) async fn inspect(
    db: &Connected,
    engine: &Engine,
    entry: EntryId,
) -> Result<Option<Inspection>, DbFault> {
    let selection = EntrySelection::Entries(vec![entry]);
    let mut loaded = load(db, engine, &selection, Detail::Payloads).await?;
    Ok(loaded.entries.pop().map(|loaded| Inspection {
        summary: loaded.summary,
        update: loaded.update,
        event: loaded.event,
    }))
}

/// Loads a selection of entries with the amount of data that `detail` requests, up to the limits.
pub(super) async fn load(
    db: &Connected,
    engine: &Engine,
    selection: &EntrySelection,
    detail: Detail,
) -> Result<LoadedEntries, DbFault> {
    let (mut summaries, mut has_more, mut next) = match selection {
        EntrySelection::Entries(entries) => (
            find_summaries(db, engine, entries).await?,
            entries.len() > LOAD_MAX,
            None,
        ),
        EntrySelection::Matching(filter) => {
            let mut filter = filter.clone();
            filter.max = filter.max.min(LOAD_MAX);
            let page = list(db, engine, &filter).await?;
            (page.entries, page.next.is_some(), page.next)
        }
    };
    let mut payloads = match detail {
        Detail::Summaries => HashMap::new(),
        Detail::Payloads => {
            if truncate(db, &mut summaries).await? {
                (has_more, next) = (true, None);
            }
            read_payloads(db, &summaries).await?
        }
    };
    let entries = summaries.into_iter().map(|summary| {
        match payloads.remove(&number(summary.receipt.entry.0)) {
            Some(row) => loaded(&row, &engine.sealer, summary),
            None => Ok(LoadedEntry::without_payload(summary)),
        }
    });
    Ok(LoadedEntries {
        entries: entries.collect::<Result<_, DbFault>>()?,
        has_more,
        next,
    })
}

/// Reads the summaries of the first entries of a list, in the order of the list.
async fn find_summaries(
    db: &Connected,
    engine: &Engine,
    entries: &[EntryId],
) -> Result<Vec<EntrySummary>, DbFault> {
    let wanted = entries.iter().take(LOAD_MAX).map(|entry| number(entry.0));
    let wanted: Vec<i64> = wanted.collect();
    let sql = format!("{SUMMARY} WHERE e.id = ANY($1)");
    let mut found: HashMap<EntryId, EntrySummary> = HashMap::new();
    for row in db.query(&sql, &[(&wanted, Type::INT8_ARRAY)]).await? {
        let summary = summary(&row, &engine.sealer)?;
        found.insert(summary.receipt.entry, summary);
    }
    let entries = entries.iter().take(LOAD_MAX);
    Ok(entries
        .filter_map(|entry| found.get(entry).cloned())
        .collect())
}

/// Removes the entries that follow events of [`LOAD_BYTES_MAX`] bytes. Returns whether it has removed an entry.
async fn truncate(db: &Connected, summaries: &mut Vec<EntrySummary>) -> Result<bool, DbFault> {
    let sql = "SELECT entry, event_bytes FROM imprint_bridge.payload WHERE entry = ANY($1)";
    let numbers = numbers(summaries);
    let mut sizes: HashMap<i64, i64> = HashMap::new();
    for row in db.query(sql, &[(&numbers, Type::INT8_ARRAY)]).await? {
        sizes.insert(get(&row, 0)?, get(&row, 1)?);
    }
    let mut bytes: u64 = 0;
    let max = u64::try_from(LOAD_BYTES_MAX).unwrap_or(u64::MAX);
    let fitting = numbers.iter().take_while(|entry| {
        let fits = bytes < max;
        let size = sizes.get(entry).copied().unwrap_or_default();
        bytes = bytes.saturating_add(unsigned(size));
        fits
    });
    let fitting = fitting.count();
    summaries.truncate(fitting);
    Ok(fitting < numbers.len())
}

fn numbers(summaries: &[EntrySummary]) -> Vec<i64> {
    let entries = summaries.iter();
    entries
        .map(|summary| number(summary.receipt.entry.0))
        .collect()
}

async fn read_payloads(
    db: &Connected,
    summaries: &[EntrySummary],
) -> Result<HashMap<i64, Row>, DbFault> {
    let numbers = numbers(summaries);
    let sql = "SELECT entry, epoch, value, facts, event, partner, stated, jump_max, lane FROM imprint_bridge.payload WHERE entry = ANY($1)";
    let rows = db.query(sql, &[(&numbers, Type::INT8_ARRAY)]).await?;
    let rows = rows.into_iter().map(|row| Ok((get(&row, 0)?, row)));
    rows.collect()
}

/// Decodes a payload. An update that the bridge cannot read, or that was sealed with other columns, is missing.
fn loaded(row: &Row, sealer: &Sealer, summary: EntrySummary) -> Result<LoadedEntry, DbFault> {
    let entry = summary.receipt.entry.0;
    let route = bound_updates::route(row, [8, 1, 2, 6, 7])?;
    let stored = codec::decode_update(sealer, entry, get(row, 3)?).ok();
    let is_own = |stored: &StoredUpdate| route.is_some_and(|route| stored.is_at(&route));
    let stored = stored.filter(is_own);
    let event = codec::decode_bytes(sealer, BlobKind::Event, entry, get(row, 4)?)?;
    let sealed = stored.as_ref().and_then(|stored| stored.partner.as_ref());
    let columns = CustomerColumns {
        partner: sealed.map(PartnerCustomerId::as_str).or(get(row, 5)?),
        names_imprint_id: get(row, 6)?,
    };
    let key = summary.customer.as_ref();
    let customer = key.and_then(|key| codec::customer(key, &columns));
    let epoch: i64 = get(row, 1)?;
    let version = SourceVersion {
        epoch: u32::try_from(epoch).map_err(|_epoch| DbFault::Damaged("payload.epoch"))?,
        value: get(row, 2)?,
    };
    let version = version.arrived(entry);
    let jump_max: Option<i64> = get(row, 7)?;
    Ok(LoadedEntry {
        version: Some(version),
        update: stored.map(|stored| (version, stored.update)),
        customer,
        jump_max: jump_max.map(unsigned),
        event: Some(event.into_owned()),
        summary,
    })
}
