//! Verifies a store in a file: the file, its layout, the audit log, the rows that belong together, and each record.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::open_for_reading;
use crate::outbox::sqlite::counts::count;
use crate::outbox::sqlite::open_error::OpenError;
use crate::outbox::sqlite::sealing_keys::{open_digest_key, unlock_for_reading};
use crate::outbox::sqlite::store_connection::StoreConnection;
use crate::outbox::sqlite::{audit, log_mark, records, tombstones};
use crate::outbox::{AuditProof, Finding, PlainSettings, RecordReport, Setting, VerifyReport};
use crate::sealing::KeyRing;

pub(super) mod layout;
mod references;

/// Verifies a store that no process has open, without changing the store, and opens each of its records.
///
/// `proof` is what the caller knows about the audit log. `progress` gets the number of opened records several times.
///
/// # Errors
/// Returns an error if the file is not a store, or a process has the store open.
pub fn verify(
    path: &Path,
    proof: &AuditProof,
    keys: &Arc<KeyRing>,
    progress: &mut dyn FnMut(u64),
) -> Result<(VerifyReport, RecordReport), OpenError> {
    // SQLite creates an empty log when it opens the store.
    let has_log = path
        .canonicalize()
        .is_ok_and(|path| log_mark::has_log(&path));
    let (_lock, connection) = open_for_reading(path)?;
    let failed = OpenError::sqlite("verifying it");
    let store = unlock_for_reading(connection, Arc::clone(keys)).map_err(&failed)?;
    let mut report = examine(&store, proof)?;
    if report.lacks_tables {
        return Ok((report, RecordReport::default()));
    }
    let references = references::errors(&store).map_err(&failed)?;
    let marks = marks(&store, has_log).map_err(&failed)?;
    let found = references.into_iter().chain(marks);
    report.errors.extend(found.map(|found| found.to_string()));
    Ok((report, records::open_all(&store, progress)))
}

/// Verifies everything except the records, the rows that belong together, and the marks.
pub(super) fn examine(
    store: &StoreConnection,
    proof: &AuditProof,
) -> Result<VerifyReport, OpenError> {
    let failed = OpenError::sqlite("verifying it");
    let mut errors = integrity(store).map_err(&failed)?;
    let differences = layout::differences(store)?;
    if !differences.tables.is_empty() {
        errors.extend(differences.tables.iter().map(Finding::to_string));
        return Ok(VerifyReport::without_tables(errors));
    }
    let mut report = counted(store, proof).map_err(&failed)?;
    let settings = settings(store).map_err(&failed)?;
    let digest_key = open_digest_key(store).err();
    let digest_key = digest_key.filter(|error| error.missing_key().is_none());
    let digest_key = digest_key.map(|_damaged| Finding::Damaged("digest key".to_owned()));
    let others = differences.others;
    let missing_indexes = others.iter().filter(|found| found.is_missing_index());
    let missing_indexes = missing_indexes.map(Finding::to_string).collect();
    let found = others.into_iter().chain(settings.damaged);
    errors.append(&mut report.errors);
    errors.extend(found.chain(digest_key).map(|found| found.to_string()));
    Ok(VerifyReport {
        errors,
        missing_indexes,
        settings: settings.texts,
        ..report
    })
}

/// Returns the errors of the pages of the file.
fn integrity(store: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = store.prepare("PRAGMA integrity_check(20)")?;
    let lines = statement.query_map([], |row| row.get(0))?;
    let mut errors = lines.collect::<rusqlite::Result<Vec<String>>>()?;
    errors.retain(|line| line != "ok");
    Ok(errors)
}

/// Verifies the audit log, and counts the entries.
fn counted(store: &StoreConnection, proof: &AuditProof) -> rusqlite::Result<VerifyReport> {
    let has_audit = store
        .prepare("SELECT 1 FROM sqlite_master WHERE name = 'act'")?
        .exists([])?;
    let (audit, last_number) = if has_audit {
        let max = VerifyReport::AUDIT_RECORDS_MAX;
        let records = audit::read(store, &proof.keys, (0, max))?;
        (records, audit::last_number(store)?)
    } else {
        (Vec::new(), 0)
    };
    Ok(VerifyReport {
        entries: count(store, "entry")?,
        waiting: count(store, "waiting")?,
        parked: count(store, "parked")?,
        ..VerifyReport::of_audit(&audit, proof, last_number)
    })
}

/// Reads the plain settings. A setting that is no text is damaged.
fn settings(store: &Connection) -> rusqlite::Result<PlainSettings> {
    let mut settings = PlainSettings::default();
    for setting in Setting::PLAIN {
        match text(store, setting.name())? {
            Some(Some(text)) => settings.texts.push((setting, text)),
            Some(None) => {
                let name = format!("setting {}", setting.name());
                settings.damaged.push(Finding::Damaged(name));
            }
            None => {}
        }
    }
    Ok(settings)
}

/// Reads a text of the table `meta`. The inner value is `None` if the value is no text.
fn text(store: &Connection, name: &str) -> rusqlite::Result<Option<Option<String>>> {
    store
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| {
            Ok(row.get_ref(0)?.as_str().ok().map(str::to_owned))
        })
        .optional()
}

/// Checks the marks that say whether the store has a log, and whether it has tombstones.
fn marks(store: &Connection, has_log: bool) -> rusqlite::Result<Vec<Finding>> {
    let mut found = Vec::new();
    if text(store, "log_mark")? == Some(None) {
        found.push(Finding::Damaged("mark of the log".to_owned()));
    }
    if !has_log && log_mark::needs_log(store)? {
        found.push(Finding::LogMissing);
    }
    let [erased, retired] = tombstones::has_unannounced(store)?;
    for (is_missing, mark) in [(erased, "erased"), (retired, "retired")] {
        if is_missing {
            found.push(Finding::Missing(format!("mark of the {mark} customers")));
        }
    }
    Ok(found)
}
