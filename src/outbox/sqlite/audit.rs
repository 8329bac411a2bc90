//! The SQL statements of the audit log.
//!
//! Each audit record contains a SHA-256 hash over its own fields and over the hash of the previous record. A changed or
//! deleted record breaks the chain of hashes (FAULTS X52).

use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

use super::columns;
use super::store_connection::StoreConnection;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;
use crate::outbox::{AuditEvent, AuditRecord};
use crate::time::Timestamp;

/// Appends a record to the audit log.
pub(super) fn append(
    connection: &StoreConnection,
    event: &AuditEvent,
    entries: usize,
) -> rusqlite::Result<()> {
    // A damaged hash must not stop the actions of operators, so the new record then follows an empty hash. `read`
    // reports the broken chain.
    let before: Option<(u64, Vec<u8>)> = connection
        .prepare_cached("SELECT number, hash FROM act ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, columns::or_default(row, 1))))
        .optional()?;
    let (number, hash_before) = before.unwrap_or_default();
    let record = AuditRecord {
        number: number.saturating_add(1),
        operator: event.operator.clone(),
        action: event.action.to_owned(),
        target: event.target.clone(),
        entries,
        reason: event.reason.clone(),
        at: event.at,
        is_intact: true,
        lacks_key: false,
    };
    connection
        .prepare_cached(
            "INSERT INTO act (at, who, what, on_what, entries, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            record.at.as_millis(),
            record.operator,
            record.action,
            record.target,
            record.entries,
            hash(&hash_before, &record),
        ])?;
    match &event.reason {
        Some(reason) => set_reason(connection, reason),
        None => Ok(()),
    }
}

/// Stores the reason of the audit record that this transaction has inserted. A sealed reason is bound to the number of the
/// record, which only SQLite knows before the insertion: after the deletion of the newest record, numbers have a gap.
fn set_reason(connection: &StoreConnection, reason: &str) -> rusqlite::Result<()> {
    let number = connection.last_insert_rowid();
    let kind = BlobKind::AuditReason;
    let reason = codec::encode_text(connection.sealer(), kind, number.unsigned_abs(), reason);
    let reason = reason.map_err(columns::unwritable)?;
    connection
        .prepare_cached("UPDATE act SET reason = ?2 WHERE number = ?1")?
        .execute(params![number, columns::bound_text(&reason)])?;
    Ok(())
}

/// Reads at most `max` records of the audit log, starting after the record with the number `after`.
pub(super) fn read(
    connection: &StoreConnection,
    after: u64,
    max: usize,
) -> rusqlite::Result<Vec<AuditRecord>> {
    let mut hash_before: Vec<u8> = connection
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
        let stored_hash: Vec<u8> = columns::or_default(row, 7);
        let mut record = record(row, connection.sealer())?;
        // The numbers of audit records have no gaps, so a gap shows that a record was deleted.
        let follows = record.number == number_before.saturating_add(1);
        record.is_intact = follows && stored_hash == hash(&hash_before, &record);
        number_before = record.number;
        hash_before = stored_hash;
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
    })
}

/// Returns the hash of an audit record. The hash does not include the number of the record: the position of the record
/// in the chain determines the number.
fn hash(hash_before: &[u8], record: &AuditRecord) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(hash_before);
    let fields = [
        record.at.as_millis().to_string(),
        record.operator.clone(),
        record.action.clone(),
        record.target.clone(),
        record.entries.to_string(),
        record.reason.clone().unwrap_or_default(),
    ];
    for field in fields {
        // The hash includes the length of each field. Without the lengths, two records with different fields could have
        // equal bytes.
        hasher.update(field.len().to_le_bytes());
        hasher.update(field);
    }
    hasher.finalize().to_vec()
}
