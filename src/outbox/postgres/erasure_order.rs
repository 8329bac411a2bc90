//! The erasure journal and the store: records each erasure before it begins, and remembers the last finished one.
//!
//! The number of the last finished erasure is one row, which the beginning of an erasure locks. So replicas that share one
//! journal file write to it one after another.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use tokio_postgres::types::Type;

use super::columns::{from_text, get, to_text, unsigned};
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use crate::failpoint::{self, CrashPoint};
use crate::outbox::codec::StoredText;
use crate::outbox::erasure_journal::ErasureJournal;
use crate::outbox::{
    CustomerErasure, ENTRY_MAX, EntryId, ErasureProgress, Error, JournalError, LaneKey, LaterEvents,
};

/// The name of the number of the last finished erasure in the table `meta`.
const FINISHED: &str = "erasure_journal";

/// The beginning of an erasure. It keeps its record in the journal if the transaction of the step runs again.
#[derive(Default)]
pub(super) struct ErasureStart {
    begun: RefCell<Option<ErasureProgress>>,
    /// The error of the journal that stopped the step.
    failed: RefCell<Option<Error>>,
}

impl ErasureStart {
    /// Begins an erasure, and writes it to the journal.
    ///
    /// If the bridge must ignore later events of the customer, the erasure concerns every entry. A repetition of the erasure
    /// concerns only the entries that the store has now.
    pub(super) async fn begin(
        &self,
        db: &Connected,
        engine: &Engine,
        (erasure, keys): (&CustomerErasure, &[LaneKey]),
        journal: Option<&Path>,
    ) -> Result<ErasureProgress, DbFault> {
        let begun = *self.begun.borrow();
        if let Some(begun) = begun {
            return Ok(begun);
        }
        let sql = "SELECT coalesce(max(id), 0) FROM imprint_bridge.entry";
        let newest = db.query_opt(sql, &[]).await?;
        let newest = newest.ok_or(DbFault::Damaged("entry"))?;
        let newest = EntryId(unsigned(get(&newest, 0)?));
        let later = erasure.later_events;
        let number = match journal {
            Some(path) => {
                let finished = lock_finished(db).await?;
                let mut journal = self.kept(open(engine, path, finished))?.0;
                let appended = journal.append((keys, later), newest, erasure.at);
                Some(self.kept(appended.map_err(|error| unwritten(&error)))?)
            }
            None => None,
        };
        failpoint::crash_point(CrashPoint::AfterErasureRecord);
        let progress = ErasureProgress {
            number,
            last: match later {
                LaterEvents::Delivered => newest,
                LaterEvents::Ignored => EntryId(ENTRY_MAX),
            },
            examined: EntryId(0),
        };
        self.begun.replace(Some(progress));
        Ok(progress)
    }

    /// Keeps the error of the journal for the caller of the step.
    fn kept<T>(&self, result: Result<T, Error>) -> Result<T, DbFault> {
        result.map_err(|error| {
            self.failed.replace(Some(error));
            DbFault::Damaged("the erasure journal")
        })
    }

    /// Returns the error of the journal if the journal failed. Otherwise returns `other`.
    pub(super) fn error(&self, other: Error) -> Error {
        self.failed.take().unwrap_or(other)
    }
}

fn open(
    engine: &Engine,
    path: &Path,
    finished: u64,
) -> Result<(ErasureJournal, Vec<CustomerErasure>), Error> {
    ErasureJournal::open(path, &engine.digest_key, finished).map_err(|error| {
        tracing::error!(error = %error, "the erasure journal cannot be read, so the bridge erases nothing");
        Error::Failed {
            doing: "reading the erasure journal",
        }
    })
}

/// Converts an error of the journal into the error of the step.
fn unwritten(error: &io::Error) -> Error {
    tracing::error!(error = %error, "the erasure journal cannot be written, so the bridge erases nothing");
    if error.kind() == io::ErrorKind::StorageFull {
        return Error::Full;
    }
    Error::Failed {
        doing: "writing the erasure journal",
    }
}

/// Opens the journal. Returns the erasures that the store has not finished.
pub(super) async fn pending(
    db: &Connected,
    engine: &Engine,
    path: &Path,
) -> Result<Result<Vec<CustomerErasure>, JournalError>, DbFault> {
    let finished = lock_finished(db).await?;
    let opened = ErasureJournal::open(path, &engine.digest_key, finished);
    Ok(opened.map(|(_, pending)| pending))
}

/// Returns the number of the last erasure of the journal that the store has finished, and locks it.
async fn lock_finished(db: &Connected) -> Result<u64, DbFault> {
    let none = from_text(StoredText::Plain("0"));
    let create = "INSERT INTO imprint_bridge.meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    db.execute(create, &[(&FINISHED, Type::TEXT), (&none, Type::BYTEA)])
        .await?;
    let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1 FOR UPDATE";
    let row = db.query_opt(sql, &[(&FINISHED, Type::TEXT)]).await?;
    let row = row.ok_or(DbFault::Raced)?;
    match to_text(get(&row, 0)?) {
        Some(StoredText::Plain(number)) => number
            .parse()
            .map_err(|_digits| DbFault::Damaged("meta.erasure_journal")),
        Some(StoredText::Sealed(_)) | None => Err(DbFault::Damaged("meta.erasure_journal")),
    }
}

/// Records that the store has finished an erasure. After an erasure that failed, the number stays as it is, so that the
/// next start repeats the failed erasure.
pub(super) async fn finish(db: &Connected, number: u64) -> Result<(), DbFault> {
    if lock_finished(db).await?.saturating_add(1) != number {
        return Ok(());
    }
    let value = from_text(StoredText::Plain(&number.to_string()));
    let sql = "UPDATE imprint_bridge.meta SET value = $2 WHERE name = $1";
    db.execute(sql, &[(&FINISHED, Type::TEXT), (&value, Type::BYTEA)])
        .await?;
    Ok(())
}
