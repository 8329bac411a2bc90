//! The faults of the work with PostgreSQL: which faults pass when the engine repeats the transaction, and the error that
//! the caller gets.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::outbox::codec::CodecError;
use crate::outbox::{Error, StoreCondition};
use crate::sealing::KeyId;

/// The reason why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DbFault {
    /// PostgreSQL rejected a statement, or the connection broke. The text never contains values of a row.
    #[error("PostgreSQL reported {}", code(.0))]
    Database(#[from] tokio_postgres::Error),
    /// The process could not connect to the database.
    #[error("cannot connect to PostgreSQL: {}", code(.0))]
    Unreachable(tokio_postgres::Error),
    /// The database did not answer a new connection in time.
    #[error("PostgreSQL did not answer a new connection in time")]
    NoAnswer,
    /// A different transaction has changed the same rows between a read and a write.
    #[error("a different transaction changed the same rows first")]
    Raced,
    /// The connection broke during the commit, or the database says itself that it does not know whether it has committed.
    #[error("the outcome of the commit is unknown, as after a broken connection")]
    UnknownCommit,
    /// PostgreSQL has committed, but warned during the commit: the standby possibly does not have the transaction.
    #[error(
        "PostgreSQL committed with a warning: the standby possibly does not have the transaction"
    )]
    NotReplicated,
    /// The codec cannot encode or decode a value.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A stored value has no meaning for this program.
    #[error("damaged value in {0}")]
    Damaged(&'static str),
}

/// Returns the text of a database error without values: PostgreSQL puts values of rows into its messages and details.
fn code(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.code()) {
        (Some(db), Some(code)) => {
            let place = db.constraint().or_else(|| db.table()).unwrap_or("-");
            match code.code().starts_with(AUTHORIZATION) {
                true => format!("it refuses the user or the password ({})", code.code()),
                false => format!("the error {} ({place})", code.code()),
            }
        }
        // Such an error comes from the connection and contains no value of a row.
        _ => format!("no answer: {}", with_causes(error)),
    }
}

/// Returns an error of the connection and all its causes in one line.
fn with_causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The class of the errors with which PostgreSQL refuses a user.
const AUTHORIZATION: &str = "28";

/// The errors that pass when the engine repeats the whole transaction. The class 08 also belongs to them.
const PASSING: [SqlState; 9] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    SqlState::TOO_MANY_CONNECTIONS,
    // The server is a standby now: a new connection finds the new primary server.
    SqlState::READ_ONLY_SQL_TRANSACTION,
];

impl DbFault {
    /// Returns whether the engine repeats the whole transaction after this fault.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Database(error) => match error.code() {
                Some(code) => PASSING.contains(code) || code.code().starts_with("08"),
                None => is_broken(error),
            },
            Self::Raced | Self::Unreachable(_) | Self::NoAnswer => true,
            Self::UnknownCommit | Self::NotReplicated | Self::Codec(_) | Self::Damaged(_) => false,
        }
    }

    /// Returns whether PostgreSQL possibly has committed the transaction although the caller gets an error.
    pub(super) const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::UnknownCommit | Self::NotReplicated)
    }

    /// Returns whether the engine must not use the connection again.
    pub(super) fn ends_connection(&self) -> bool {
        let is_standby = match self {
            Self::Database(error) => error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION),
            Self::Unreachable(_)
            | Self::NoAnswer
            | Self::Raced
            | Self::UnknownCommit
            | Self::NotReplicated
            | Self::Codec(_)
            | Self::Damaged(_) => false,
        };
        is_standby || self.is_in_doubt()
    }

    /// Returns whether the fault is about the values of one command, so that other commands of the same group possibly
    /// succeed without this command.
    pub(super) fn is_about_values(&self) -> bool {
        !(self.is_passing() || self.is_in_doubt() || self.is_full())
    }

    /// Returns whether a failed commit has certainly changed nothing.
    pub(super) fn of_commit(error: tokio_postgres::Error) -> Self {
        let is_refused = error.code().is_some_and(|code| {
            let class = code.code().get(..2).unwrap_or_default();
            let is_unknown = *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN;
            ["23", "25", "40", "53"].contains(&class) && !is_unknown
        });
        match is_refused {
            true => Self::Database(error),
            false => Self::UnknownCommit,
        }
    }

    /// Returns the id of the sealing key that the process must get to read the content. Returns `None` for other faults.
    pub(super) const fn missing_key(&self) -> Option<KeyId> {
        match self {
            Self::Codec(error) => error.missing_key(),
            Self::Database(_)
            | Self::Unreachable(_)
            | Self::NoAnswer
            | Self::Raced
            | Self::UnknownCommit
            | Self::NotReplicated
            | Self::Damaged(_) => None,
        }
    }

    fn is_full(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        error.code() == Some(&SqlState::DISK_FULL)
    }

    /// Logs the fault, and returns the error for the caller.
    pub(super) fn report(&self, doing: &'static str) -> Error {
        if self.is_full() {
            return Error::Full;
        }
        if self.is_passing() || self.is_in_doubt() {
            tracing::warn!(fault = %self, doing, "the store could not finish a transaction; the caller must repeat it");
            return match matches!(self, Self::Raced) {
                true => Error::Busy,
                false => Error::Unavailable(StoreCondition::Stalled),
            };
        }
        tracing::error!(fault = %self, doing, "a request to the store failed; the store serves the next requests");
        Error::Failed { doing }
    }
}

/// Returns whether the connection broke. The other errors without a code are errors of this program, such as a value of
/// a wrong type.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    error.is_closed()
        || error
            .source()
            .is_some_and(|source| source.is::<std::io::Error>())
}
