//! The audit log: one chain of seals over the actions of all replicas.
//!
//! Each audit record contains a seal over its own fields and over the seal of the previous record. A changed or deleted
//! record breaks the chain (FAULTS X52). The one row of `audit_head` has the number of the newest record: an append locks
//! the row until its commit, so the records of several replicas follow each other.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{from_text, get, number, size, to_text, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use crate::outbox::audit_chain::{self, AuditKeys};
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::sealer::Sealer;
use crate::outbox::{AuditEvent, AuditHead, AuditProtection, AuditRecord};
use crate::time::Timestamp;

/// Appends a record to the audit log. Returns the new head, for the log.
pub(super) async fn append(
    db: &Connected,
    engine: &Engine,
    (event, keys): (&AuditEvent, &AuditKeys),
    entries: usize,
) -> Result<AuditHead, DbFault> {
    let last = lock(db).await?;
    let (newest, before) = newest(db).await?;
    let record_number = newest.max(last).saturating_add(1);
    let record = AuditRecord {
        number: record_number,
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
    let seal = keys.seal(&before, &record);
    let kind = BlobKind::AuditReason;
    let reason = event.reason.as_deref();
    let reason =
        reason.map(|reason| codec::encode_text(&engine.sealer, kind, record_number, reason));
    let reason = reason.transpose()?.map(from_text);
    let (at, entries) = (record.at.as_millis(), size(record.entries));
    let number = number(record_number);
    let sql = "INSERT INTO imprint_bridge.audit (number, at, operator, action, target, entries, reason, seal)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    db.execute(
        sql,
        &[
            (&number, Type::INT8),
            (&at, Type::INT8),
            (&record.operator, Type::TEXT),
            (&record.action, Type::TEXT),
            (&record.target, Type::TEXT),
            (&entries, Type::INT8),
            (&reason, Type::BYTEA),
            (&seal, Type::BYTEA),
        ],
    )
    .await?;
    let sql = "UPDATE imprint_bridge.audit_head SET number = $1";
    db.execute(sql, &[(&number, Type::INT8)]).await?;
    Ok(AuditHead {
        record: record_number,
        check: audit_chain::check(&seal),
    })
}

/// Locks the head of the chain until the end of the transaction. Returns the highest number that a record has ever had.
async fn lock(db: &Connected) -> Result<u64, DbFault> {
    let sql = "SELECT number FROM imprint_bridge.audit_head FOR UPDATE";
    let row = db.query_opt(sql, &[]).await?;
    let row = row.ok_or(DbFault::Damaged("audit_head"))?;
    get(&row, 0).map(unsigned)
}

/// Returns the number and the seal of the newest record.
async fn newest(db: &Connected) -> Result<(u64, Vec<u8>), DbFault> {
    let sql = "SELECT number, seal FROM imprint_bridge.audit ORDER BY number DESC LIMIT 1";
    match db.query_opt(sql, &[]).await? {
        Some(row) => Ok((unsigned(get(&row, 0)?), get(&row, 1)?)),
        None => Ok((0, Vec::new())),
    }
}

/// Begins the chain with the first of the keys, unless the key has written the newest record. Returns the protection of the
/// audit log, and the new head if the function has appended a record.
pub(super) async fn protect(
    db: &Connected,
    engine: &Engine,
    keys: &AuditKeys,
    now: Timestamp,
) -> Result<(AuditProtection, Option<AuditHead>), DbFault> {
    lock(db).await?;
    let (_, seal) = newest(db).await?;
    let head = match keys.beginning(&seal, now) {
        Some(event) => Some(append(db, engine, (&event, keys), 0).await?),
        None => None,
    };
    Ok((keys.protection(&seal), head))
}

/// Returns the head of the audit log.
pub(super) async fn head(db: &Connected) -> Result<AuditHead, DbFault> {
    let (record, seal) = newest(db).await?;
    let check = audit_chain::check(&seal);
    Ok(AuditHead { record, check })
}

/// Returns the highest number that a record has ever had. Returns `None` if the store has lost it.
pub(super) async fn last_number(db: &Connected) -> Result<Option<u64>, DbFault> {
    let sql = "SELECT number FROM imprint_bridge.audit_head";
    let row = db.query_opt(sql, &[]).await?;
    row.map(|row| get(&row, 0).map(unsigned)).transpose()
}

/// Reads at most `max` records of the audit log, starting after the record with the number `after`.
pub(super) async fn read(
    db: &Connected,
    sealer: &Sealer,
    keys: &AuditKeys,
    (after, max): (u64, usize),
) -> Result<Vec<AuditRecord>, DbFault> {
    let (first, max) = (number(after), size(max));
    let sql =
        "SELECT seal FROM imprint_bridge.audit WHERE number <= $1 ORDER BY number DESC LIMIT 1";
    let row = db.query_opt(sql, &[(&first, Type::INT8)]).await?;
    let mut before: Vec<u8> = match row {
        Some(row) => get(&row, 0)?,
        None => Vec::new(),
    };
    let sql = "SELECT number, at, operator, action, target, entries, reason, seal FROM imprint_bridge.audit
         WHERE number > $1 ORDER BY number LIMIT $2";
    let rows = db
        .query(sql, &[(&first, Type::INT8), (&max, Type::INT8)])
        .await?;
    let mut records = Vec::with_capacity(rows.len());
    let mut number_before = after;
    for row in &rows {
        let seal: Vec<u8> = get(row, 7)?;
        let mut record = record(row, sealer)?;
        keys.judge((number_before, &before), &mut record, &seal);
        number_before = record.number;
        before = seal;
        records.push(record);
    }
    Ok(records)
}

/// Decodes an audit record. A damaged reason is empty: the seal then does not match, and `read` reports that the record is
/// not intact.
fn record(row: &Row, sealer: &Sealer) -> Result<AuditRecord, DbFault> {
    let number = unsigned(get(row, 0)?);
    let reason: Option<&[u8]> = get(row, 6)?;
    let reason = reason.and_then(to_text);
    let kind = BlobKind::AuditReason;
    let reason = reason.map(|reason| codec::decode_text(sealer, kind, number, &reason));
    let missing = reason.as_ref().and_then(|reason| reason.as_ref().err());
    let entries = unsigned(get(row, 5)?);
    Ok(AuditRecord {
        number,
        at: Timestamp::from_millis(get(row, 1)?),
        operator: get(row, 2)?,
        action: get(row, 3)?,
        target: get(row, 4)?,
        entries: usize::try_from(entries).unwrap_or(usize::MAX),
        lacks_key: missing.is_some_and(|error| error.missing_key().is_some()),
        reason: reason.and_then(Result::ok),
        is_intact: false,
        check: 0,
        is_keyed: false,
    })
}

/// Logs the head of the audit log. Outside the store, the head shows later whether newest records are missing.
pub(super) fn log_head(head: AuditHead, operator: &str, action: &str) {
    tracing::info!(%head, operator, action, "the audit log has a new record");
}
