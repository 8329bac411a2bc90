//! The SQL statements of the audit log.
//!
//! Each audit record contains a seal over its own fields and over the seal of the previous record. A changed or deleted
//! record breaks the chain of seals (FAULTS X52). The module `audit_chain` computes the seals.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns;
use super::signed_event::SignedEvent;
use super::store_connection::StoreConnection;
use crate::outbox::audit_chain::{self, AuditKeys};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;
use crate::outbox::{AuditHead, AuditProtection, AuditRecord};
use crate::time::Timestamp;

/// Appends a record to the audit log.
pub(super) fn append(
    connection: &StoreConnection,
    event: &SignedEvent,
    entries: usize,
) -> rusqlite::Result<()> {
    let (newest, before) = newest(connection)?;
    let number = newest.max(last_number(connection)?).saturating_add(1);
    let record = AuditRecord {
        number,
        operator: event.operator.clone(),
        action: event.action.to_owned(),
        target: event.target.clone(),
        entries,
        reason: event.reason.clone(),
        at: event.at,
        is_intact: true,
        check: 0,
        is_keyed: false,
        lacks_key: false,
    };
    let seal = event.keys.seal(&before, &record);
    let (sealer, kind) = (connection.sealer(), BlobKind::AuditReason);
    let reason = event.reason.as_deref();
    let reason = reason.map(|reason| codec::encode_text(sealer, kind, number, reason));
    let reason = reason.transpose().map_err(columns::unwritable)?;
    connection
        .prepare_cached(
            "INSERT INTO act (at, who, what, on_what, entries, reason, hash, number) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            record.at.as_millis(),
            record.operator,
            record.action,
            record.target,
            record.entries,
            reason.as_ref().map(columns::bound_text),
            seal,
            number,
        ])?;
    event.set_head(AuditHead {
        record: number,
        check: audit_chain::check(&seal),
    });
    Ok(())
}

/// Returns the protection of the audit log with these keys.
pub(super) fn protection(
    connection: &Connection,
    keys: &AuditKeys,
) -> rusqlite::Result<AuditProtection> {
    Ok(keys.protection(&newest(connection)?.1))
}

/// Begins the chain with the first key of the event's keys, unless the key has written the newest record. Returns the
/// protection of the audit log.
pub(super) fn protect(
    connection: &StoreConnection,
    keys: &AuditKeys,
    now: Timestamp,
) -> rusqlite::Result<(AuditProtection, Option<AuditHead>)> {
    let (_, seal) = newest(connection)?;
    let beginning = keys.beginning(&seal, now);
    let beginning = beginning.map(|event| SignedEvent::new(event, keys.clone()));
    if let Some(event) = &beginning {
        append(connection, event, 0)?;
    }
    let head = beginning.and_then(|event| event.head());
    Ok((keys.protection(&seal), head))
}

/// Returns the head of the audit log.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<AuditHead> {
    let (record, seal) = newest(connection)?;
    let check = audit_chain::check(&seal);
    Ok(AuditHead { record, check })
}

/// Returns the number and the seal of the newest record. A damaged seal must not stop the actions of operators, so the
/// next record then follows an empty seal. `read` reports the broken chain.
fn newest(connection: &Connection) -> rusqlite::Result<(u64, Vec<u8>)> {
    let newest = connection
        .prepare_cached("SELECT number, hash FROM act ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, columns::or_default(row, 1))))
        .optional()?;
    Ok(newest.unwrap_or_default())
}

/// Returns the highest number that SQLite has given to an audit record, even if the record is gone.
pub(super) fn last_number(connection: &Connection) -> rusqlite::Result<u64> {
    let last = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'act'")?
        .query_row([], |row| Ok(columns::or_default(row, 0)))
        .optional()?;
    Ok(last.unwrap_or_default())
}

/// Reads at most `max` records of the audit log, starting after the record with the number `after`.
pub(super) fn read(
    connection: &StoreConnection,
    keys: &AuditKeys,
    (after, max): (u64, usize),
) -> rusqlite::Result<Vec<AuditRecord>> {
    let mut before: Vec<u8> = connection
        .prepare_cached("SELECT hash FROM act WHERE number <= ?1 ORDER BY number DESC LIMIT 1")?
        .query_row([after], |row| Ok(columns::or_default(row, 0)))
        .optional()?
        .unwrap_or_default();
    let mut statement = connection.prepare_cached(
        "SELECT number, at, who, what, on_what, entries, reason, hash FROM act
         WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, max])?;
    let mut records = Vec::new();
    let mut number_before = after;
    while let Some(row) = rows.next()? {
        let seal: Vec<u8> = columns::or_default(row, 7);
        let mut record = record(row, connection.sealer())?;
        keys.judge((number_before, &before), &mut record, &seal);
        number_before = record.number;
        before = seal;
        records.push(record);
    }
    Ok(records)
}

/// Decodes an audit record. A damaged column becomes empty: the hash then does not match, and `read` reports that the
/// record is not intact.
fn record(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<AuditRecord> {
    let number = row.get(0)?;
    let reason = columns::stored_text(row, 6).ok().flatten();
    let kind = BlobKind::AuditReason;
    let reason = reason.map(|reason| codec::decode_text(sealer, kind, number, &reason));
    let missing = reason.as_ref().and_then(|reason| reason.as_ref().err());
    Ok(AuditRecord {
        number,
        at: Timestamp::from_millis(columns::or_default(row, 1)),
        operator: columns::or_default(row, 2),
        action: columns::or_default(row, 3),
        target: columns::or_default(row, 4),
        entries: columns::or_default(row, 5),
        lacks_key: missing.is_some_and(|error| error.missing_key().is_some()),
        reason: reason.and_then(Result::ok),
        is_intact: false,
        check: 0,
        is_keyed: false,
    })
}
