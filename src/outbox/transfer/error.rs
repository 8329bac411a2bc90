//! The reasons why a transfer stops. No text contains values of the store.

use super::row::RowKind;
use crate::outbox::{OpenError, PostgresOpenError};

/// The reason why a transfer stops. The same command continues the transfer, unless the error says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Both stores are files, or both are databases.
    #[error(
        "a transfer moves a store from a file into a database, or from a database into a file: copy a file with `store backup`, and a database with the tools of PostgreSQL"
    )]
    SameEngine,
    /// The store in the file cannot be opened.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The store in the database cannot be opened.
    #[error(transparent)]
    Database(#[from] PostgresOpenError),
    /// A bridge uses the store in the database.
    #[error(
        "{0} bridges use the store in the database: stop them first. After a crash of a bridge, wait 15 seconds"
    )]
    InUse(i64),
    /// The database has no store.
    #[error("the database has no store")]
    NoStore,
    /// The target has a store.
    #[error(
        "the target has a store already: name a file that does not exist, or a database without the schema imprint_bridge"
    )]
    NotEmpty,
    /// The target has an unfinished copy of another store.
    #[error(
        "the target has an unfinished copy of another store: finish that copy, or remove the target and start again"
    )]
    OfAnotherStore,
    /// A different process has written to the target.
    #[error("a different process copies into the target too: end one of them")]
    TwoCopies,
    /// A row of the source cannot be read.
    #[error(
        "a row of the {} is damaged: run `store verify` on the source, and restore it from a backup", .0.as_str()
    )]
    Damaged(RowKind),
    /// The rows of the target differ from the rows of the source.
    #[error(
        "the {} differ: {source_rows} in the source, {target_rows} in the target. The source changed during the copy: remove the target and start again", .kind.as_str()
    )]
    Different {
        /// The kind of the rows.
        kind: RowKind,
        /// The number of rows in the source.
        source_rows: u64,
        /// The number of rows in the target.
        target_rows: u64,
    },
}
