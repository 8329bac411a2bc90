//! The SQL of telling where entries stand.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::append::state_at;
use super::claim::lane_key;
use crate::event::{Attribute, Identity, SourceName};
use crate::outbox::{EntryId, EntrySummary, Lookup, ParkReason, Receipt, State};
use crate::time::Timestamp;

/// What is read of an entry wherever it is told of; [`listed`] knows the order.
pub(super) const ENTRY: &str =
    "SELECT e.id, e.source, e.ce_source, e.event_id, e.event_type, e.state, e.attempts,
        e.accepted_at, e.settled_at, w.event_id, p.reason, p.detail, l.kind, l.received
    FROM entry e LEFT JOIN entry w ON w.id = e.superseded_by LEFT JOIN parked p ON p.entry = e.id
    LEFT JOIN lane l ON l.id = e.lane";

/// The receipt of an event; the newest where several sources of one CRM use the same id.
pub(super) fn find(connection: &Connection, lookup: &Lookup) -> rusqlite::Result<Option<Receipt>> {
    connection
        .prepare_cached(&format!(
            "{ENTRY} WHERE e.source = ?1 AND e.event_id = ?2 AND (?3 IS NULL OR e.ce_source = ?3)
             ORDER BY e.id DESC LIMIT 1"
        ))?
        .query_row(
            params![
                lookup.source.as_str(),
                lookup.id.as_str(),
                lookup.ce_source.as_ref().map(Attribute::as_str)
            ],
            listed,
        )
        .optional()
        .map(|found| found.map(|listed| listed.receipt))
}

/// Where an entry stands.
pub(super) fn state(connection: &Connection, entry: EntryId) -> rusqlite::Result<Option<State>> {
    connection
        .prepare_cached("SELECT state FROM entry WHERE id = ?1")?
        .query_row([entry.0], |row| state_at(row, 0))
        .optional()
}

/// Reads a row of [`ENTRY`].
pub(super) fn listed(row: &Row<'_>) -> rusqlite::Result<EntrySummary> {
    let kind: Option<i64> = row.get(12)?;
    let received: Option<String> = row.get(13)?;
    Ok(EntrySummary {
        receipt: receipt(row)?,
        customer: kind
            .zip(received)
            .and_then(|(kind, received)| lane_key(kind, &received)),
    })
}

fn receipt(row: &Row<'_>) -> rusqlite::Result<Receipt> {
    let source: String = row.get(1)?;
    let reason: Option<i64> = row.get(10)?;
    Ok(Receipt {
        entry: EntryId(row.get(0)?),
        identity: Identity {
            source: SourceName::parse(&source).map_err(unreadable(1))?,
            ce_source: Attribute::parse(&row.get::<_, String>(2)?).ok(),
            id: attribute(row, 3)?,
        },
        event_type: attribute(row, 4)?,
        state: state_at(row, 5)?,
        attempts: row.get(6)?,
        accepted_at: Timestamp::from_millis(row.get(7)?),
        settled_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
        superseded_by: row
            .get::<_, Option<String>>(9)?
            .and_then(|id| Attribute::parse(&id).ok()),
        parked: match reason {
            Some(reason) => Some((reason_of(reason)?, row.get(11)?)),
            None => None,
        },
    })
}

fn attribute(row: &Row<'_>, column: usize) -> rusqlite::Result<Attribute> {
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

fn reason_of(code: i64) -> rusqlite::Result<ParkReason> {
    let reason = usize::try_from(code)
        .ok()
        .and_then(|place| ParkReason::ALL.get(place))
        .copied();
    reason.ok_or(rusqlite::Error::IntegralValueOutOfRange(10, code))
}
