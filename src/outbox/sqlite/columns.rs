//! Stored columns as the codec reads them, with its errors as SQLite errors.

use rusqlite::types::Type;
use rusqlite::{Error, Row};

use crate::outbox::codec::{self, CodecError};
use crate::outbox::{ParkReason, Priority, State};

/// Content that cannot be read fails the request that reads it, and no other.
pub(super) fn unreadable(error: CodecError) -> Error {
    Error::FromSqlConversionFailure(0, Type::Null, Box::new(error))
}

/// A value that has no stored form.
pub(super) fn unwritable(error: CodecError) -> Error {
    Error::ToSqlConversionFailure(Box::new(error))
}

/// Reads `entry.state`.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    codec::state("entry.state", row.get(column)?).map_err(unreadable)
}

/// Reads `parked.reason`, if the entry is parked.
pub(super) fn reason(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ParkReason>> {
    let number: Option<i64> = row.get(column)?;
    let reason = number.map(|number| codec::reason("parked.reason", number));
    reason.transpose().map_err(unreadable)
}

/// Reads `lane.low`.
pub(super) fn priority(row: &Row<'_>, column: usize) -> rusqlite::Result<Priority> {
    codec::priority("lane.low", row.get(column)?).map_err(unreadable)
}
