//! The erasure journal and the store: records each erasure before it begins, and remembers the finished ones.
//!
//! The number up to which all erasures are finished is one row, which the beginning and the end of an erasure lock. So
//! replicas that share one journal file write to it one after another.

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
use crate::outbox::erasure_journal::{ErasureJournal, ErasureOrder};
use crate::outbox::finished_erasures::FinishedErasures;
use crate::outbox::{
    CustomerErasure, ENTRY_MAX, EntryId, ErasureProgress, Error, JournalError, LaneKey, LaterEvents,
};

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
        let sql = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM imprint_bridge.entry_number";
        let last = entry(db, sql).await?;
        let later = erasure.later_events;
        let number = match journal {
            Some(path) => {
                let mut finished = lock_finished(db).await?;
                let newest = newest(db).await?;
                let opened = open(engine, path, (&mut finished, newest));
                let mut journal = self.kept(opened)?.0;
                write(db, &finished).await?;
                let appended = journal.append(ErasureOrder {
                    keys,
                    invalid: &erasure.invalid,
                    later_events: later,
                    last,
                    newest,
                    at: erasure.at,
                });
                Some(self.kept(appended.map_err(|error| unwritten(&error)))?)
            }
            None => None,
        };
        failpoint::crash_point(CrashPoint::AfterErasureRecord);
        let progress = ErasureProgress {
            number,
            last: match later {
                LaterEvents::Delivered => last,
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

/// Returns the newest entry of the store. Unlike the sequence of the entry numbers, it is never ahead of the entries in a
/// database that was restored to a point in time.
async fn newest(db: &Connected) -> Result<EntryId, DbFault> {
    entry(db, "SELECT coalesce(max(id), 0) FROM imprint_bridge.entry").await
}

async fn entry(db: &Connected, sql: &str) -> Result<EntryId, DbFault> {
    let row = db.query_opt(sql, &[]).await?;
    let row = row.ok_or(DbFault::Damaged("entry"))?;
    Ok(EntryId(unsigned(get(&row, 0)?)))
}

fn open(
    engine: &Engine,
    path: &Path,
    (finished, newest): (&mut FinishedErasures, EntryId),
) -> Result<(ErasureJournal, Vec<CustomerErasure>), Error> {
    ErasureJournal::open(path, &engine.digest_key, finished, newest).map_err(|error| {
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
    let mut finished = lock_finished(db).await?;
    let newest = newest(db).await?;
    let opened = ErasureJournal::open(path, &engine.digest_key, &mut finished, newest);
    if opened.is_ok() {
        write(db, &finished).await?;
    }
    Ok(opened.map(|(_, pending)| pending))
}

/// Returns the erasures of the journal that the store has finished, and locks them.
async fn lock_finished(db: &Connected) -> Result<FinishedErasures, DbFault> {
    let none = from_text(StoredText::Plain("0"));
    let create = "INSERT INTO imprint_bridge.meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    let name = FinishedErasures::UP_TO;
    db.execute(create, &[(&name, Type::TEXT), (&none, Type::BYTEA)])
        .await?;
    // The lock on the first row also serves for the second row, which is read after it.
    let up_to = read(db, name, " FOR UPDATE").await?;
    let up_to = up_to.ok_or(DbFault::Raced)?.parse().ok();
    let later = read(db, FinishedErasures::LATER, "").await?;
    let later = later.unwrap_or_default();
    let finished = up_to.and_then(|up_to| FinishedErasures::parse(up_to, &later));
    finished.ok_or(DbFault::Damaged("meta.erasure_journal"))
}

async fn read(db: &Connected, name: &str, lock: &str) -> Result<Option<String>, DbFault> {
    let sql = format!("SELECT value FROM imprint_bridge.meta WHERE name = $1{lock}");
    let Some(row) = db.query_opt(&sql, &[(&name, Type::TEXT)]).await? else {
        return Ok(None);
    };
    match to_text(get(&row, 0)?) {
        Some(StoredText::Plain(numbers)) => Ok(Some(numbers.to_owned())),
        Some(StoredText::Sealed(_)) | None => Err(DbFault::Damaged("meta.erasure_journal")),
    }
}

/// Records that the store has finished an erasure. The next start repeats an erasure that failed.
pub(super) async fn finish(db: &Connected, number: u64) -> Result<(), DbFault> {
    let mut finished = lock_finished(db).await?;
    finished.add(number);
    write(db, &finished).await
}

/// Stores the finished erasures, which [`lock_finished`] has locked.
async fn write(db: &Connected, finished: &FinishedErasures) -> Result<(), DbFault> {
    let sql = "INSERT INTO imprint_bridge.meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let up_to = finished.up_to().to_string();
    let rows = [
        (FinishedErasures::UP_TO, Some(up_to)),
        (FinishedErasures::LATER, finished.later()),
    ];
    for (name, value) in rows {
        let Some(value) = value else {
            let sql = "DELETE FROM imprint_bridge.meta WHERE name = $1";
            db.execute(sql, &[(&name, Type::TEXT)]).await?;
            continue;
        };
        let value = from_text(StoredText::Plain(&value));
        db.execute(sql, &[(&name, Type::TEXT), (&value, Type::BYTEA)])
            .await?;
    }
    Ok(())
}
