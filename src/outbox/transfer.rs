//! The transfer of a store to the other engine: from a file of SQLite into a database of PostgreSQL, or back. No bridge uses
//! either store during the transfer.
//!
//! Both engines read and write the same rows. The rows keep their numbers and their sealed values, and the target gets the
//! key of the digests: it recognizes the same events and customers, opens the same sealed values, and continues the audit
//! log and the erasure journal.
//!
//! The transfer writes rows in batches. The transaction of a batch also stores the place of the next batch, so a killed
//! transfer continues where it ended. Until the end, the target is marked as unfinished, and no bridge opens it. The end
//! compares all rows of both stores by their numbers and digests, and removes the mark.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::row::{TransferRow, TransferValue};
use super::DatabaseAddress;
use super::keyed_digest::{DigestKey, KeyedDigests};
use super::postgres::{DatabaseReader, DatabaseWriter};
use super::sqlite::{FileReader, FileWriter};
use crate::failpoint::{self, CrashPoint};
use crate::sealing::KeyRing;
use crate::time::Timestamp;

mod error;
pub(super) mod row;

pub use error::TransferError;
pub use row::{RowKind, RowSum};

/// The maximum number of rows of a batch.
pub(super) const ROWS_MAX: usize = 1_000;
/// The size of the values after which a batch ends.
pub(super) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The label of the digest that tells the stores apart.
const LABEL: &[u8] = b"imprint-bridge transfer v1";

/// The place of a store.
#[derive(Clone, Debug)]
pub enum TransferPlace {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of PostgreSQL.
    Database(DatabaseAddress),
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferStep {
    /// The number of rows that the transfer has copied and compared.
    pub done: u64,
    /// The number of rows that the transfer copies and compares.
    pub total: u64,
}

/// The rows of the finished copy.
#[derive(Clone, Debug)]
pub struct TransferReport {
    /// The number and the digest of the rows of each kind.
    pub rows: Vec<(RowKind, RowSum)>,
}

/// The next rows of a kind, and the place after them. Without rows, the kind has ended.
#[derive(Default)]
pub(super) struct TransferBatch {
    pub(super) rows: Vec<TransferRow>,
    pub(super) after: TransferValue,
}

/// The highest numbers that a store has given to an entry, a lane and an audit record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HighestNumbers {
    pub(super) entry: i64,
    pub(super) lane: i64,
    pub(super) audit: i64,
}

/// What the target stores about an unfinished transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TransferProgress {
    /// Tells the stores apart.
    source: String,
    /// The place of the kind in [`RowKind::ALL`].
    kind: usize,
    /// The place in the rows of this kind.
    after: TransferValue,
    /// The number of copied rows.
    rows: u64,
}

impl TransferProgress {
    /// Returns the progress of a transfer that has copied nothing.
    pub(super) fn start(digest_key: &DigestKey) -> Self {
        let digest = KeyedDigests::derive(digest_key, LABEL).digest(LABEL, &[]);
        Self {
            source: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            kind: 0,
            after: TransferValue::Null,
            rows: 0,
        }
    }

    /// Returns the stored form.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the stored form of a progress of this transfer.
    ///
    /// # Errors
    /// Returns an error if the target belongs to the transfer of another store.
    pub(super) fn of_text(text: &str, digest_key: &DigestKey) -> Result<Self, TransferError> {
        let stored: Option<Self> = serde_json::from_str(text).ok();
        let start = Self::start(digest_key);
        let own = stored.filter(|stored| stored.source == start.source);
        own.ok_or(TransferError::OfAnotherStore)
    }

    fn next_kind(&self) -> Self {
        Self {
            kind: self.kind.saturating_add(1),
            after: TransferValue::Null,
            ..self.clone()
        }
    }

    fn with(&self, batch: &TransferBatch) -> Self {
        Self {
            after: batch.after.clone(),
            rows: self.rows.saturating_add(count(&batch.rows)),
            ..self.clone()
        }
    }
}

fn count(rows: &[TransferRow]) -> u64 {
    u64::try_from(rows.len()).unwrap_or(u64::MAX)
}

/// A store whose rows a transfer reads.
pub(super) trait TransferReader {
    /// Reads the next rows after a place. [`TransferValue::Null`] is the place before the first row.
    fn read(
        &mut self,
        kind: RowKind,
        after: &TransferValue,
    ) -> Result<TransferBatch, TransferError>;
    fn count(&mut self, kind: RowKind) -> Result<u64, TransferError>;
    fn highest(&mut self) -> Result<HighestNumbers, TransferError>;
}

/// A store into which a transfer writes rows.
pub(super) trait TransferWriter: TransferReader {
    /// Writes rows and the progress in one transaction.
    fn write(
        &mut self,
        kind: RowKind,
        rows: Vec<TransferRow>,
        progress: (&TransferProgress, &TransferProgress),
    ) -> Result<(), TransferError>;
    /// Completes the store and removes the mark of an unfinished transfer.
    fn finish(&mut self, highest: HighestNumbers) -> Result<(), TransferError>;
}

/// Copies the store at `from` into a new store at `to`, or continues the copy. `show` gets the progress after each batch.
///
/// # Errors
/// [`TransferError`] says how to fix the problem.
pub fn transfer(
    (from, to): (&TransferPlace, &TransferPlace),
    ring: &Arc<KeyRing>,
    now: Timestamp,
    show: &mut dyn FnMut(TransferStep),
) -> Result<TransferReport, TransferError> {
    match (from, to) {
        (TransferPlace::File(from), TransferPlace::Database(to)) => {
            let (mut reader, key) = FileReader::open(from, ring, now)?;
            let (mut writer, progress) = DatabaseWriter::open(to.clone(), ring, key)?;
            run((&mut reader, &mut writer), progress, show)
        }
        (TransferPlace::Database(from), TransferPlace::File(to)) => {
            let (mut reader, key) = DatabaseReader::open(from.clone(), ring)?;
            let (mut writer, progress) = FileWriter::open(to, ring, &key)?;
            run((&mut reader, &mut writer), progress, show)
        }
        (TransferPlace::File(_), TransferPlace::File(_))
        | (TransferPlace::Database(_), TransferPlace::Database(_)) => {
            Err(TransferError::SameEngine)
        }
    }
}

fn run(
    (reader, writer): (&mut dyn TransferReader, &mut dyn TransferWriter),
    progress: TransferProgress,
    show: &mut dyn FnMut(TransferStep),
) -> Result<TransferReport, TransferError> {
    let mut rows: u64 = 0;
    for kind in RowKind::ALL {
        rows = rows.saturating_add(reader.count(kind)?);
    }
    // The transfer reads each row once to copy it, and once in each store to compare it.
    let total = rows.saturating_mul(3);
    copy((reader, writer), progress, &mut |done| {
        show(TransferStep { done, total });
    })?;
    let mut done = rows;
    let mut report = TransferReport { rows: Vec::new() };
    for kind in RowKind::ALL {
        let mut shown = |read: u64| {
            done = done.saturating_add(read);
            show(TransferStep { done, total });
        };
        let source = sum(reader, kind, &mut shown)?;
        let target = sum(writer, kind, &mut shown)?;
        if source != target {
            return Err(TransferError::Different {
                kind,
                source_rows: source.count,
                target_rows: target.count,
            });
        }
        report.rows.push((kind, source));
    }
    writer.finish(reader.highest()?)?;
    Ok(report)
}

/// Copies all rows that the target does not have yet.
fn copy(
    (reader, writer): (&mut dyn TransferReader, &mut dyn TransferWriter),
    mut progress: TransferProgress,
    show: &mut dyn FnMut(u64),
) -> Result<(), TransferError> {
    while let Some(kind) = RowKind::ALL.get(progress.kind).copied() {
        let batch = reader.read(kind, &progress.after)?;
        if !batch.rows.iter().all(|one| row::is_sound(kind, one)) {
            return Err(TransferError::Damaged(kind));
        }
        if batch.rows.is_empty() {
            progress = next_kind(writer, kind, &progress)?;
            continue;
        }
        let next = progress.with(&batch);
        writer.write(kind, batch.rows, (&progress, &next))?;
        failpoint::crash_point(CrashPoint::AfterTransferBatch);
        progress = next;
        show(progress.rows);
    }
    Ok(())
}

fn next_kind(
    writer: &mut dyn TransferWriter,
    kind: RowKind,
    progress: &TransferProgress,
) -> Result<TransferProgress, TransferError> {
    let next = progress.next_kind();
    writer.write(kind, Vec::new(), (progress, &next))?;
    Ok(next)
}

fn sum<R: TransferReader + ?Sized>(
    reader: &mut R,
    kind: RowKind,
    show: &mut dyn FnMut(u64),
) -> Result<RowSum, TransferError> {
    let mut sum = RowSum::default();
    let mut after = TransferValue::Null;
    loop {
        let batch = reader.read(kind, &after)?;
        if batch.rows.is_empty() {
            return Ok(sum);
        }
        batch.rows.iter().for_each(|row| sum.add(row));
        show(count(&batch.rows));
        after = batch.after;
    }
}
