//! The errors when the store in PostgreSQL is opened. Each says how to fix the problem.

use super::connection::UrlFault;
use super::fault::DbFault;
use crate::sealing::KeyId;

/// The reason why a store in PostgreSQL cannot be opened. The text contains neither the URL nor values of the store.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    /// The URL of the store is wrong.
    #[error("{0}; write postgres://user:password@host:port/database")]
    Url(String),
    /// PostgreSQL refused the connection or a statement.
    #[error("PostgreSQL failed while the bridge was {doing}: {cause}")]
    Failed {
        /// The operation that failed.
        doing: &'static str,
        /// The cause, without values.
        cause: String,
    },
    /// A newer program has changed the layout so that this program cannot read it.
    #[error(
        "the store has the layout {0} of a newer program that this program cannot read; start the newer program"
    )]
    TooNew(i32),
    /// The database does not do what the store needs.
    #[error(
        "{engine} cannot hold the store, because it does not keep this promise of PostgreSQL: {promise}; use PostgreSQL"
    )]
    Unproven {
        /// The name and the version of the database.
        engine: String,
        /// What the database must do.
        promise: &'static str,
    },
    /// A crash of the database loses confirmed commits.
    #[error(
        "a crash of the database can lose confirmed commits, because its setting {0}; set synchronous_commit and fsync to on for the user of the bridge"
    )]
    LosesCommits(String),
    /// The database is the target of an unfinished `store copy`.
    #[error(
        "the database has an unfinished copy of another store: run `store copy` again, which continues the copy"
    )]
    Unfinished,
    /// The process has not the sealing key of the store.
    #[error("the store is sealed with the key {0}; give the bridge this key")]
    NoSealingKey(KeyId),
    /// The operating system started no thread for the store.
    #[error("the operating system started no thread for the store")]
    Thread(#[source] std::io::Error),
}

impl PostgresOpenError {
    /// Returns a function that turns a fault into an error.
    pub(super) fn of(doing: &'static str) -> impl Fn(DbFault) -> Self {
        move |fault| Self::Failed {
            doing,
            cause: fault.to_string(),
        }
    }
}

impl From<UrlFault> for PostgresOpenError {
    fn from(fault: UrlFault) -> Self {
        Self::Url(fault.to_string())
    }
}
