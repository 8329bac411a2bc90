//! The result of verifying a store, besides its sealed records. This module is pure.

use std::fmt;

use super::{AuditHead, AuditProof, AuditRecord, Setting, State};

/// The result of verifying a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The number of all entries in the verified store.
    pub entries: u64,
    /// The number of waiting entries in the verified store.
    pub waiting: u64,
    /// The number of parked entries in the verified store.
    pub parked: u64,
    /// The number of audit log records in the verified store.
    pub audit_records: u64,
    /// The head of the audit log of the verified store.
    pub audit_head: AuditHead,
    /// The number of the first audit log record whose seal has a key.
    pub keyed_from: Option<u64>,
    /// The number of audit log records that cannot be verified, because a key is missing.
    pub unverified: u64,
    /// Every error in the store file, as SQLite reports the error, every error in the audit log, and every other error
    /// outside of the records.
    pub errors: Vec<String>,
    /// The errors about missing indexes. The restore of a copy creates the indexes again.
    pub missing_indexes: Vec<String>,
    /// Tables are missing or changed, so nothing else could be verified.
    pub lacks_tables: bool,
    /// The layout was not compared, because the user of the database has no right to create a schema.
    pub is_layout_unknown: bool,
    /// The texts of the stored settings, for the modules that know their form.
    pub settings: Vec<(Setting, String)>,
}

/// An error outside of the records and of the audit log, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Finding {
    /// A part of the store is missing, such as `table lane`.
    #[error("the {0} is missing: restore the store from a copy without errors")]
    Missing(String),
    /// A part of the store has another definition than the bridge gave it.
    #[error(
        "the {0} is not as the bridge created it: restore the store from a copy without errors"
    )]
    Changed(String),
    /// A value that each start reads is damaged.
    #[error("the {0} is damaged: restore the store from a copy without errors")]
    Damaged(String),
    /// Entries lack the row with their event.
    #[error(
        "{} entries without their events: {}: restore the store from a copy without errors, or let the sources send the current data of the customers again under new event ids", .0.as_str(), .1
    )]
    NoEvent(State, FoundEntries),
    /// Rows with an event have no receipt with their state.
    #[error(
        "{} entries without a receipt in this state: {}. The bridge does not recognize their events when they arrive again: restore the store from a copy without errors", .0.as_str(), .1
    )]
    NoReceipt(State, FoundEntries),
    /// Entries belong to a lane that does not exist.
    #[error(
        "{} entries without the row of their customer: {}. The bridge never delivers them: restore the store from a copy without errors, or let the sources send the current data of the customers again under new event ids", .0.as_str(), .1
    )]
    NoLane(State, FoundEntries),
    /// The lanes of waiting entries have no due time.
    #[error(
        "waiting entries without a time of their next request: {0}. The bridge does not deliver them until newer events of the customers arrive: restore the store from a copy without errors, or let the sources send the current data of the customers again under new event ids"
    )]
    NeverDue(FoundEntries),
    /// The last process did not close the store in order, and the log of the process is missing.
    #[error(
        "the store was in use or was not closed in order, and its log, whose name ends with \"-wal\", is missing: the file lacks the newest events and changes if it was copied without its log, so copy a running store with `store backup`"
    )]
    LogMissing,
}

impl Finding {
    /// Returns whether only an index is missing. The rows of the store are then complete.
    pub(super) fn is_missing_index(&self) -> bool {
        matches!(self, Self::Missing(part) if part.starts_with("index "))
    }
}

/// The settings of a store that are not sealed.
#[derive(Debug, Default)]
pub(super) struct PlainSettings {
    pub(super) texts: Vec<(Setting, String)>,
    pub(super) damaged: Vec<Finding>,
}

/// Entries with the same error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundEntries {
    pub(super) entries: u64,
    /// The lowest number of the entries.
    pub(super) first: i64,
}

impl fmt::Display for FoundEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (the first is {})", self.entries, self.first)
    }
}

impl VerifyReport {
    /// The maximum number of audit records that a verification reads. Operators never write this many records.
    pub(super) const AUDIT_RECORDS_MAX: usize = 10_000_000;

    /// Returns the report about a store whose tables are not as the bridge created them.
    pub(super) fn without_tables(errors: Vec<String>) -> Self {
        Self {
            errors,
            lacks_tables: true,
            ..Self::default()
        }
    }

    /// Verifies an audit log. `last_number` is the highest number that the store has given to a record.
    pub(super) fn of_audit(records: &[AuditRecord], proof: &AuditProof, last_number: u64) -> Self {
        let changed = records
            .iter()
            .filter(|record| !record.is_intact && !record.lacks_key);
        let changed = changed.map(|record| {
            format!(
                "record {} of the audit log is not as it was written",
                record.number
            )
        });
        let unverified = records.iter().filter(|record| record.lacks_key).count();
        let keyed = records.iter().find(|record| record.is_keyed);
        let size = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            audit_records: size(records.len()),
            audit_head: records
                .last()
                .map_or_else(AuditHead::default, AuditRecord::head),
            keyed_from: keyed.map(|record| record.number),
            unverified: size(unverified),
            errors: changed.chain(proof.errors(records, last_number)).collect(),
            ..Self::default()
        }
    }
}
