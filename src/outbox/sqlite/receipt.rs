//! The SQL statements of receipts: find the receipt of an event, and read the state of an entry.

use std::future::ready;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row, params};

use super::store_connection::StoreConnection;
use super::{SqliteOutbox, columns, tombstones};
use crate::event::{Attribute, EventError, Identity, SourceName};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;
use crate::outbox::{EntryId, EntrySummary, Error, LaneId, Lookup, Receipt, State, StoreFuture};
use crate::time::Timestamp;

/// The SQL that selects a receipt and the key of its lane. [`summary`] decodes a row with these columns in this order.
pub(super) const SUMMARY: &str =
    "SELECT e.id, e.source, e.ce_source, e.event_id, e.event_type, e.state, e.attempts,
        e.accepted_at, e.settled_at, w.event_id, p.reason, p.detail, l.kind, l.received, p.errors,
        e.skipped, e.ignored, l.id, e.lane
    FROM entry e LEFT JOIN entry w ON w.id = e.superseded_by LEFT JOIN parked p ON p.entry = e.id
    LEFT JOIN lane l ON l.id = e.lane";

/// The condition of the receipts of erased events. A source possibly sends the id of a tombstone, which operators see, as the
/// id of an event.
pub(super) const ERASED: &str =
    "e.lane IS NULL AND (e.ce_source = '' OR e.ce_source GLOB 'erased-*')";

/// Finds the receipt of an event. If several systems behind one source use the same event id, finds the newest receipt.
/// If the store has no such event, finds the receipt of an erased event.
pub(super) fn find(
    connection: &StoreConnection,
    lookup: &Lookup,
) -> rusqlite::Result<Option<Receipt>> {
    if let Some(receipt) = find_named(connection, lookup, "TRUE")? {
        return Ok(Some(receipt));
    }
    for erased in erased_lookups(connection, lookup)? {
        if let Some(receipt) = find_named(connection, &erased, ERASED)? {
            return Ok(Some(receipt.known_as(lookup)));
        }
    }
    Ok(None)
}

/// Returns the lookups of the tombstone of an event: of this program, and of an earlier program, which found the tombstone of an
/// event only together with its `CloudEvents` source.
pub(super) fn erased_lookups(
    connection: &StoreConnection,
    lookup: &Lookup,
) -> rusqlite::Result<Vec<Lookup>> {
    let Some(tombstones) = connection.tombstone_key() else {
        return Ok(Vec::new());
    };
    if !tombstones::exist(connection)? {
        return Ok(Vec::new());
    }
    let (source, id) = (lookup.source.as_str(), lookup.id.as_str());
    let ce_source = lookup.ce_source.as_ref();
    let event_id = tombstones.event_id(source, id);
    let event = tombstones.event(source, ce_source.map_or("", Attribute::as_str), id);
    let event = Attribute::parse(&event).ok();
    let of_this_program = (
        Attribute::parse(&event_id).ok(),
        event.clone().filter(|_| ce_source.is_some()),
    );
    let lookups = [of_this_program, (event, None)].into_iter();
    let lookups = lookups.filter_map(|(id, ce_source)| {
        Some(Lookup {
            source: lookup.source.clone(),
            ce_source,
            id: id?,
        })
    });
    Ok(lookups.collect())
}

/// Finds the receipt with this event id that fulfils a condition.
fn find_named(
    connection: &StoreConnection,
    lookup: &Lookup,
    condition: &str,
) -> rusqlite::Result<Option<Receipt>> {
    connection
        .prepare_cached(&format!(
            "{SUMMARY} WHERE e.source = ?1 AND e.event_id = ?2 AND (?3 IS NULL OR e.ce_source = ?3)
                 AND {condition}
             ORDER BY e.id DESC LIMIT 1"
        ))?
        .query_row(
            params![
                lookup.source.as_str(),
                lookup.id.as_str(),
                lookup.ce_source.as_ref().map(Attribute::as_str)
            ],
            |row| summary(row, connection.sealer()),
        )
        .optional()
        .map(|found| found.map(|summary| summary.receipt))
}

impl SqliteOutbox {
    /// Waits until the entry is settled, and returns its state.
    pub(super) fn state_when_settled(&self, entry: EntryId) -> StoreFuture<'_, State> {
        let Some(waiter) = self.shared.waiters.register(entry) else {
            return Box::pin(ready(Err(Error::Busy)));
        };
        let state = self.read(move |connection, _| state(connection, entry));
        Box::pin(async move {
            match state.await? {
                Some(state) if state.is_settled() => Ok(state),
                Some(_) | None => waiter.settled().await.ok_or(Error::Closed),
            }
        })
    }
}

/// Reads the state of an entry.
pub(super) fn state(
    connection: &StoreConnection,
    entry: EntryId,
) -> rusqlite::Result<Option<State>> {
    connection
        .prepare_cached("SELECT state FROM entry WHERE id = ?1")?
        .query_row([entry.0], |row| columns::state(row, 0))
        .optional()
}

/// Decodes a row of [`SUMMARY`] into the summary of an entry.
pub(super) fn summary(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<EntrySummary> {
    let lane = LaneId(columns::or_default(row, 17));
    Ok(EntrySummary {
        receipt: receipt(row, sealer)?,
        // Without its sealing key, the entry has no customer: the state of the entry stays readable.
        customer: columns::lane_key(row, (12, 13), (lane, sealer))
            .ok()
            .flatten(),
    })
}

fn receipt(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<Receipt> {
    let entry = EntryId(row.get(0)?);
    let has_lane = row.get_ref(18)? != ValueRef::Null;
    Ok(Receipt {
        entry,
        identity: identity(row, 1)?,
        event_type: attribute(row, 4)?,
        state: columns::state(row, 5)?,
        attempts: row.get(6)?,
        accepted_at: Timestamp::from_millis(row.get(7)?),
        settled_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
        superseded_by: row
            .get::<_, Option<String>>(9)?
            .and_then(|id| Attribute::parse(&id).ok()),
        parked: match columns::reason(row, 10)? {
            Some(reason) => Some((reason, parked_detail(entry, row, sealer)?)),
            None => None,
        },
        errors: errors(sealer, BlobKind::EventErrors, entry, row.get(14)?),
        unsent: errors(sealer, BlobKind::SkippedFields, entry, row.get(15)?),
        ignored: columns::ignore_reason(row, 16)?,
        erased_at: None,
    }
    .without_erased(has_lane))
}

/// Decodes the errors of an invalid event or of skipped fields. If the bridge cannot read them, the list is empty: the state
/// of the entry stays readable.
pub(super) fn errors(
    sealer: &Sealer,
    kind: BlobKind,
    entry: EntryId,
    stored: Option<Vec<u8>>,
) -> Vec<EventError> {
    let errors = stored.and_then(|bytes| codec::decode(sealer, kind, entry.0, &bytes).ok());
    errors.unwrap_or_default()
}

/// Reads the identity of an event from three columns: source, CloudEvents source and event id.
pub(super) fn identity(row: &Row<'_>, first: usize) -> rusqlite::Result<Identity> {
    let source: String = row.get(first)?;
    let ce_source: String = row.get(first + 1)?;
    Ok(Identity {
        source: SourceName::parse(&source).map_err(unreadable(first))?,
        ce_source: Attribute::parse(&ce_source).ok(),
        id: attribute(row, first + 2)?,
    })
}

/// Decodes Imprint's answer about a parked entry. If the bridge cannot read the answer, the entry has none: the state of
/// the entry stays readable.
fn parked_detail(
    entry: EntryId,
    row: &Row<'_>,
    sealer: &Sealer,
) -> rusqlite::Result<Option<String>> {
    let detail = columns::stored_text(row, 11)?;
    let kind = BlobKind::ParkedDetail;
    let detail = detail.map(|detail| codec::decode_text(sealer, kind, entry.0, &detail));
    Ok(detail.and_then(Result::ok))
}

pub(super) fn attribute(row: &Row<'_>, column: usize) -> rusqlite::Result<Attribute> {
    let raw: String = row.get(column)?;
    Attribute::parse(&raw).map_err(unreadable(column))
}

fn unreadable(column: usize) -> impl Fn(crate::event::Error) -> rusqlite::Error {
    move |error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    }
}
