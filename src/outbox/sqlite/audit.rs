//! The SQL of the record of what people did.
//!
//! Each line carries a SHA-256 over the hash of the line before it and its own fields: a line that is changed or taken
//! out breaks the chain (FAULTS X52).

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

use crate::outbox::{AuditEvent, AuditRecord};
use crate::time::Timestamp;

/// Writes a line at the end of the record.
pub(super) fn append(
    connection: &Connection,
    act: &AuditEvent,
    entries: usize,
) -> rusqlite::Result<()> {
    let before: Option<Vec<u8>> = connection
        .prepare_cached("SELECT hash FROM act ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let hash = hash(&before.unwrap_or_default(), act, entries);
    connection
        .prepare_cached(
            "INSERT INTO act (at, who, what, on_what, entries, reason, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![act.at.as_millis(), act.operator, act.action, act.target, entries, act.reason, hash])?;
    Ok(())
}

/// At most `max` lines after the one numbered `after`.
pub(super) fn read(
    connection: &Connection,
    after: u64,
    max: usize,
) -> rusqlite::Result<Vec<AuditRecord>> {
    let mut before: Vec<u8> = connection
        .prepare_cached("SELECT hash FROM act WHERE number <= ?1 ORDER BY number DESC LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?
        .unwrap_or_default();
    let mut statement = connection.prepare_cached(
        "SELECT number, at, who, what, on_what, entries, reason, hash FROM act
         WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, max])?;
    let mut lines = Vec::new();
    let mut number_before = after;
    while let Some(row) = rows.next()? {
        let kept: Vec<u8> = row.get(7)?;
        let mut line = line(row)?;
        // Numbers have no gaps: what is not there was taken out.
        let follows = line.number == number_before + 1;
        line.is_intact = follows && kept == chained(&before, &line);
        number_before = line.number;
        before = kept;
        lines.push(line);
    }
    Ok(lines)
}

fn line(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord {
        number: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        operator: row.get(2)?,
        action: row.get(3)?,
        target: row.get(4)?,
        entries: row.get(5)?,
        reason: row.get(6)?,
        is_intact: false,
    })
}

fn hash(before: &[u8], act: &AuditEvent, entries: usize) -> Vec<u8> {
    chained(
        before,
        &AuditRecord {
            number: 0,
            operator: act.operator.clone(),
            action: act.action.to_owned(),
            target: act.target.clone(),
            entries,
            reason: act.reason.clone(),
            at: act.at,
            is_intact: false,
        },
    )
}

fn chained(before: &[u8], line: &AuditRecord) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(before);
    let fields = [
        line.at.as_millis().to_string(),
        line.operator.clone(),
        line.action.clone(),
        line.target.clone(),
        line.entries.to_string(),
        line.reason.clone().unwrap_or_default(),
    ];
    for field in fields {
        // The length first: so no two lines of fields read alike.
        hasher.update(field.len().to_le_bytes());
        hasher.update(field);
    }
    hasher.finalize().to_vec()
}
