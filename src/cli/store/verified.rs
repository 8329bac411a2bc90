//! The result of `store verify`, for a store in a file and for a store in PostgreSQL.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::damaged_settings;
use crate::config::{AuditKeyFiles, Config};
use crate::outbox::{AuditHead, AuditProof, RecordReport, VerifyReport};
use crate::sealing::KeyRing;
use crate::terminal::{print_notice, print_result};
use crate::time::{Clock, Timestamp};

/// Reads the keys of the audit log: those that the caller names, otherwise those of the settings.
pub(super) fn audit_proof(
    config: &Config,
    audit_keys: &[PathBuf],
    head: Option<AuditHead>,
) -> anyhow::Result<AuditProof> {
    let keys = match audit_keys {
        [] => config.audit_keys.read(),
        _ => AuditKeyFiles::new(audit_keys.to_vec()).read(),
    };
    let keys = keys.map_err(anyhow::Error::msg)?;
    Ok(AuditProof { keys, head })
}

/// Adds the damaged settings to the errors of a store.
pub(super) fn with_settings(mut report: VerifyReport) -> VerifyReport {
    report.errors.extend(damaged_settings(&report.settings));
    report
}

/// Prints the result.
pub(super) fn show((report, records): (&VerifyReport, &RecordReport), sealing_keys: &KeyRing) {
    if report.lacks_tables {
        report.errors.iter().for_each(print_notice);
        return;
    }
    print_result(format_args!(
        "{} entries, {} waiting, {} parked, {} audit records",
        report.entries, report.waiting, report.parked, report.audit_records
    ));
    print_result(format_args!(
        "the head of the audit log is {}",
        report.audit_head
    ));
    print_result(match report.keyed_from {
        Some(record) => format!("a key protects the audit log since record {record}"),
        None => "no key protects the audit log".to_owned(),
    });
    report.errors.iter().for_each(print_notice);
    if report.is_layout_unknown {
        print_notice(
            "the layout of the store was not compared, because the user of the database has no right to create a schema",
        );
    }
    show_records(records, sealing_keys);
    if report.unverified > 0 {
        print_notice(format_args!(
            "{} records of the audit log were not verified: name the file of their key with --audit-key, and the folder of the sealing keys in outbox.keys_dir",
            report.unverified
        ));
    }
    if is_sound((report, records), sealing_keys) {
        print_result("no errors");
    }
}

/// Returns whether the store has no error. Without sealing keys, sealed records that were not opened are no error.
pub(super) fn is_sound(
    (report, records): (&VerifyReport, &RecordReport),
    sealing_keys: &KeyRing,
) -> bool {
    let is_read = records.locked.is_empty() || sealing_keys.is_empty();
    report.errors.is_empty() && report.unverified == 0 && records.unreadable == 0 && is_read
}

/// Returns the result as JSON. What was not read is null.
pub(super) fn json((report, records): (&VerifyReport, &RecordReport)) -> Value {
    let by_key = |(key, count): (&_, &u64)| (format!("{key}"), Value::from(*count));
    let opened = records.readable.sealed.iter().map(by_key);
    let locked = records.locked.iter().map(by_key);
    let mut result = json!({
        "entries": report.entries,
        "waiting": report.waiting,
        "parked": report.parked,
        "audit_records": report.audit_records,
        "audit_head": report.audit_head.to_string(),
        "audit_keyed_from": report.keyed_from,
        "audit_unverified": report.unverified,
        "errors": report.errors,
        "layout_compared": !report.is_layout_unknown,
        "opened": Value::Object(opened.collect()),
        "plain": records.readable.plain,
        "missing_keys": Value::Object(locked.collect()),
        "unreadable": records.unreadable,
        "unreadable_records": records.listed,
    });
    if let Some(members) = result.as_object_mut().filter(|_| report.lacks_tables) {
        let is_read = |name: &str| ["errors", "layout_compared"].contains(&name);
        let unread = members.iter_mut().filter(|(name, _)| !is_read(name));
        unread.for_each(|(_, value)| *value = Value::Null);
    }
    result
}

/// Prints the result of opening the records.
fn show_records(records: &RecordReport, keys: &KeyRing) {
    let RecordReport {
        readable,
        locked,
        unreadable,
        listed,
    } = records;
    for (key, count) in &readable.sealed {
        print_result(format_args!("{count} records opened with the key {key}"));
    }
    if readable.plain > 0 {
        print_result(format_args!("{} records are not sealed", readable.plain));
    }
    listed.iter().for_each(print_notice);
    let unlisted = unreadable.saturating_sub(u64::try_from(listed.len()).unwrap_or(u64::MAX));
    if unlisted > 0 {
        print_notice(format_args!("{unlisted} more records cannot be read"));
    }
    if keys.is_empty() {
        let sealed = locked
            .values()
            .fold(0_u64, |sum, one| sum.saturating_add(*one));
        if sealed > 0 {
            print_result(format_args!(
                "{sealed} sealed records were not opened: name the folder of the sealing keys in outbox.keys_dir"
            ));
        }
        return;
    }
    for (key, count) in locked {
        print_notice(format_args!(
            "{count} records were not opened, because the sealing key {key} is missing"
        ));
    }
}

/// The time between two lines about the progress of `verify`.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Shows that `verify` is at work on a large store.
pub(super) struct VerifyProgress {
    clock: Clock,
    shown: Timestamp,
}

impl VerifyProgress {
    pub(super) fn new() -> Self {
        let clock = Clock::machine();
        Self {
            shown: clock.now(),
            clock,
        }
    }

    pub(super) fn show(&mut self, records: u64) {
        let now = self.clock.now();
        if now.since(self.shown) >= PROGRESS_EVERY {
            self.shown = now;
            print_notice(format_args!("{records} records read"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1305: a script must not take a store without a table for an empty store.
    #[test]
    fn the_json_has_null_for_what_was_not_read() {
        let read = VerifyReport::default();
        let unread = VerifyReport {
            lacks_tables: true,
            errors: vec!["the table held is missing".to_owned()],
            ..VerifyReport::default()
        };
        let records = RecordReport::default();
        let (read, unread) = (json((&read, &records)), json((&unread, &records)));
        assert_eq!(read["entries"], 0);
        assert_eq!(unread["errors"], json!(["the table held is missing"]));
        assert_eq!(unread["layout_compared"], true);
        for member in ["entries", "audit_head", "opened", "unreadable"] {
            assert!(!read[member].is_null(), "{member}");
            assert!(unread[member].is_null(), "{member}");
        }
    }
}
