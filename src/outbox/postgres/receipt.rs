//! The receipts of events: finds the receipt of an event, and reads the state of an entry.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, number, small, time, to_text, unsigned};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use super::moved_tombstones;
use crate::event::{Attribute, EventError, Identity, SourceName};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::sealer::Sealer;
use crate::outbox::{EntryId, EntrySummary, LaneKey, Lookup, Receipt, State};
use crate::time::Timestamp;

/// The SQL that selects a receipt and the key of its lane. [`summary`] decodes a row with these columns in this order.
pub(super) const SUMMARY: &str =
    "SELECT e.id, e.source, e.ce_source, e.event_id, e.event_type, e.state, e.attempts,
        e.accepted_at, e.settled_at, w.event_id, p.reason, p.detail, l.kind, l.received, p.errors,
        e.skipped, e.ignored, l.id, l.erased, e.lane
    FROM imprint_bridge.entry e
    LEFT JOIN imprint_bridge.entry w ON w.id = e.superseded_by
    LEFT JOIN imprint_bridge.payload p ON p.entry = e.id AND p.state = 4
    LEFT JOIN imprint_bridge.lane l ON l.id = e.lane";

/// Finds the receipt of an event. If several systems behind one source use the same event id, finds the newest receipt.
/// Also finds an erased event: its keys stay.
pub(super) async fn find(
    db: &Connected,
    engine: &Engine,
    lookup: &Lookup,
) -> Result<Option<Receipt>, DbFault> {
    let (event, ce_source) = engine.digests.lookup(lookup);
    let mut found = with_keys(db, engine, (event, ce_source)).await?;
    for moved in moved_tombstones::event_keys(engine, lookup) {
        if found.is_none() {
            let ce_source = ce_source.map(|_| moved.ce_source);
            found = with_keys(db, engine, (moved.event, ce_source)).await?;
        }
    }
    Ok(found.map(|receipt| match receipt.erased_at {
        Some(_) => receipt.known_as(lookup),
        None => receipt,
    }))
}

/// Finds the newest receipt with these keys.
async fn with_keys(
    db: &Connected,
    engine: &Engine,
    (event, ce_source): (KeyedDigest, Option<KeyedDigest>),
) -> Result<Option<Receipt>, DbFault> {
    let sql = format!(
        "{SUMMARY} WHERE e.event_key = $1 AND ($2::bytea IS NULL OR e.ce_key = $2)
         ORDER BY e.id DESC LIMIT 1"
    );
    let (event, ce_source) = (
        event.as_slice(),
        ce_source.as_ref().map(KeyedDigest::as_slice),
    );
    let params: Params<'_> = &[(&event, Type::BYTEA), (&ce_source, Type::BYTEA)];
    let row = db.query_opt(&sql, params).await?;
    let found = row.map(|row| summary(&row, &engine.sealer));
    Ok(found.transpose()?.map(|summary| summary.receipt))
}

/// Reads the state of an entry.
pub(super) async fn state(db: &Connected, entry: EntryId) -> Result<Option<State>, DbFault> {
    let sql = "SELECT state FROM imprint_bridge.entry WHERE id = $1";
    let entry = number(entry.0);
    let row = db.query_opt(sql, &[(&entry, Type::INT8)]).await?;
    let state = row.map(|row| {
        let number: i16 = get(&row, 0)?;
        Ok(codec::state("entry.state", number.into())?)
    });
    state.transpose()
}

/// Decodes a row of [`SUMMARY`] into the summary of an entry.
pub(super) fn summary(row: &Row, sealer: &Sealer) -> Result<EntrySummary, DbFault> {
    Ok(EntrySummary {
        receipt: receipt(row, sealer)?,
        // Without its sealing key, the entry has no customer: the state of the entry stays readable.
        customer: lane_key(row, (12, 13, 18), sealer, 17).ok().flatten(),
    })
}

/// Reads the key of a lane from the columns `kind`, `received` and `erased`. Returns `None` if the row is no lane, or if
/// the columns contain no valid customer id.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of the customer id.
pub(super) fn lane_key(
    row: &Row,
    (kind, received, erased): (usize, usize, usize),
    sealer: &Sealer,
    lane: usize,
) -> Result<Option<LaneKey>, DbFault> {
    let kind: Option<i16> = get(row, kind)?;
    let received: Option<&[u8]> = get(row, received)?;
    let erased: Option<i16> = get(row, erased)?;
    let lane: Option<i64> = get(row, lane)?;
    let (Some(kind), Some(lane), None) = (kind, lane, erased) else {
        return Ok(None);
    };
    let Some(stored) = received.and_then(to_text) else {
        return Ok(None);
    };
    match codec::decode_text(sealer, BlobKind::LaneCustomer, unsigned(lane), &stored) {
        Ok(received) => Ok(codec::lane_key(kind.into(), &received)),
        Err(error) if error.missing_key().is_some() => Err(error.into()),
        Err(_damaged) => Ok(None),
    }
}

fn receipt(row: &Row, sealer: &Sealer) -> Result<Receipt, DbFault> {
    let entry = EntryId(unsigned(get(row, 0)?));
    let state: i16 = get(row, 5)?;
    let reason: Option<i16> = get(row, 10)?;
    let reason = reason.map(|reason| codec::reason("payload.reason", reason.into()));
    let ignored: Option<i16> = get(row, 16)?;
    let ignored = ignored.map(|reason| codec::ignore_reason("entry.ignored", reason.into()));
    let winner: Option<&str> = get(row, 9)?;
    let detail: Option<&[u8]> = get(row, 11)?;
    let lane: Option<i64> = get(row, 19)?;
    Ok(Receipt {
        entry,
        identity: identity(row, 1)?,
        event_type: attribute(row, 4)?,
        state: codec::state("entry.state", state.into())?,
        attempts: small(get(row, 6)?),
        accepted_at: Timestamp::from_millis(get(row, 7)?),
        settled_at: time(row, 8)?,
        superseded_by: winner.and_then(|id| Attribute::parse(id).ok()),
        parked: reason
            .transpose()?
            .map(|reason| (reason, parked_detail(sealer, entry, detail))),
        errors: errors(sealer, BlobKind::EventErrors, entry, get(row, 14)?),
        unsent: errors(sealer, BlobKind::SkippedFields, entry, get(row, 15)?),
        ignored: ignored.transpose()?,
        erased_at: None,
    }
    .without_erased(lane.is_some()))
}

/// Decodes the errors of an invalid event or of skipped fields. If the bridge cannot read them, the list is empty: the
/// state of the entry stays readable.
pub(super) fn errors(
    sealer: &Sealer,
    kind: BlobKind,
    entry: EntryId,
    stored: Option<&[u8]>,
) -> Vec<EventError> {
    let errors = stored.and_then(|bytes| codec::decode(sealer, kind, entry.0, bytes).ok());
    errors.unwrap_or_default()
}

/// Decodes Imprint's answer about a parked entry. If the bridge cannot read the answer, the entry has none.
fn parked_detail(sealer: &Sealer, entry: EntryId, stored: Option<&[u8]>) -> Option<String> {
    let stored = stored.and_then(to_text)?;
    codec::decode_text(sealer, BlobKind::ParkedDetail, entry.0, &stored).ok()
}

/// Reads the identity of an event from three columns: source, CloudEvents source and event id.
pub(super) fn identity(row: &Row, first: usize) -> Result<Identity, DbFault> {
    let source: &str = get(row, first)?;
    let ce_source: &str = get(row, first + 1)?;
    let source = SourceName::parse(source);
    Ok(Identity {
        source: source.map_err(|_name| DbFault::Damaged("entry.source"))?,
        ce_source: Attribute::parse(ce_source).ok(),
        id: attribute(row, first + 2)?,
    })
}

pub(super) fn attribute(row: &Row, column: usize) -> Result<Attribute, DbFault> {
    let raw: &str = get(row, column)?;
    Attribute::parse(raw).map_err(|_text| DbFault::Damaged("an attribute of an entry"))
}
