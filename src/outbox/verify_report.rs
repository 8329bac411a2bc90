//! The result of verifying a store, besides its sealed records. This module is pure.

use super::{AuditHead, AuditProof, AuditRecord};

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
    /// Every error in the store file, as SQLite reports the error, and every error in the audit log.
    pub errors: Vec<String>,
}

impl VerifyReport {
    /// The maximum number of audit records that a verification reads. Operators never write this many records.
    pub(super) const AUDIT_RECORDS_MAX: usize = 10_000_000;

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
