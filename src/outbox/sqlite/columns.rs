//! Decodes stored columns, and converts the errors of the codec into SQLite errors.

use std::borrow::Cow;

use rusqlite::types::{FromSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Error, Row};

use crate::event::SourceVersion;
use crate::outbox::codec::{self, BlobKind, CodecError, StoredText, UpdateRoute};
use crate::outbox::sealer::Sealer;
use crate::outbox::{IgnoreReason, LaneClass, LaneId, LaneKey, ParkReason, State, Unproven};
use crate::sealing::KeyId;
use crate::time::Timestamp;

/// Converts an error about unreadable content into an SQLite error. Only the request that reads the content then fails.
pub(super) fn unreadable(error: CodecError) -> Error {
    Error::FromSqlConversionFailure(0, Type::Null, Box::new(error))
}

/// Returns the id of the sealing key that the process must get to read the content. Returns `None` for other errors.
pub(super) fn missing_key(error: &Error) -> Option<KeyId> {
    let Error::FromSqlConversionFailure(_, _, cause) = error else {
        return None;
    };
    cause.downcast_ref::<CodecError>()?.missing_key()
}

/// Converts an error about a value without a stored form into an SQLite error.
pub(super) fn unwritable(error: CodecError) -> Error {
    Error::ToSqlConversionFailure(Box::new(error))
}

/// Converts the stored form of a text into the value of a column. A sealed text is a blob.
pub(super) fn bound_text<'a>(text: &'a StoredText<'_>) -> ToSqlOutput<'a> {
    ToSqlOutput::Borrowed(match text {
        StoredText::Plain(text) => ValueRef::Text(text.as_bytes()),
        StoredText::Sealed(bytes) => ValueRef::Blob(bytes),
    })
}

/// Reads a column with a text, which is possibly sealed. Returns `None` if the column has no text.
pub(super) fn stored_text<'r>(
    row: &'r Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<StoredText<'r>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) => Some(StoredText::Sealed(Cow::Borrowed(bytes))),
        value @ (ValueRef::Text(_) | ValueRef::Integer(_) | ValueRef::Real(_)) => {
            Some(StoredText::Plain(value.as_str()?))
        }
    })
}

/// Reads the state of an entry from the column `entry.state`.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    codec::state("entry.state", row.get(column)?).map_err(unreadable)
}

/// Reads the reason from the column `parked.reason`. Returns `None` if the entry is not parked.
pub(super) fn reason(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ParkReason>> {
    let number: Option<i64> = row.get(column)?;
    let reason = number.map(|number| codec::reason("parked.reason", number));
    reason.transpose().map_err(unreadable)
}

/// Reads the reason from the column `entry.ignored`. Returns `None` if the column has no reason.
pub(super) fn ignore_reason(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<IgnoreReason>> {
    let number: Option<i64> = row.get(column)?;
    let reason = number.map(|number| codec::ignore_reason("entry.ignored", number));
    reason.transpose().map_err(unreadable)
}

/// Reads the queue of a lane from the column `lane.low`. Returns `None` if the number is damaged.
pub(super) fn class(row: &Row<'_>, column: usize) -> Option<LaneClass> {
    codec::class("lane.low", row.get(column).ok()?).ok()
}

/// Reads the key of a lane from the columns `lane.kind` and `lane.received`. Returns `None` if they contain no valid customer
/// id.
///
/// # Errors
/// Returns an error if the process does not have the sealing key of the customer id.
pub(super) fn lane_key(
    row: &Row<'_>,
    (kind, received): (usize, usize),
    (lane, sealer): (LaneId, &Sealer),
) -> rusqlite::Result<Option<LaneKey>> {
    let kind: i64 = row.get(kind).unwrap_or(-1);
    let stored = stored_text(row, received).ok().flatten();
    let Some(stored) = stored.filter(|_| codec::is_lane(kind)) else {
        return Ok(None);
    };
    match codec::decode_text(sealer, BlobKind::LaneCustomer, lane.0, &stored) {
        Ok(received) => Ok(codec::lane_key(kind, &received)),
        Err(error) if error.missing_key().is_some() => Err(unreadable(error)),
        Err(_damaged) => Ok(None),
    }
}

/// Reads the columns `epoch`, `value`, `stated` and `jump_max` of an entry in this lane.
pub(super) fn route(
    row: &Row<'_>,
    lane: LaneId,
    [epoch, value, stated, jump_max]: [usize; 4],
) -> rusqlite::Result<UpdateRoute> {
    Ok(UpdateRoute {
        lane,
        version: SourceVersion {
            epoch: row.get(epoch)?,
            value: row.get(value)?,
        },
        jump_max: row.get(jump_max)?,
        names_imprint_id: row.get(stated)?,
    })
}

/// Reads the unproven answers of a lane from the columns `lane.unproven_since` and `lane.absence`.
pub(super) fn unproven(
    row: &Row<'_>,
    (since, absence): (usize, usize),
    (lane, sealer): (LaneId, &Sealer),
) -> Unproven {
    let since: Option<i64> = or_default(row, since);
    let bytes = row.get_ref(absence).ok();
    let bytes = bytes.and_then(|value| value.as_bytes_or_null().ok().flatten());
    Unproven {
        since: since.map(Timestamp::from_millis),
        absence: bytes.and_then(|bytes| codec::absence(sealer, lane.0, bytes)),
    }
}

/// Reads a column, and returns the default value if the column is damaged. Use this function only for columns that no
/// decision about customer values needs.
pub(super) fn or_default<T: FromSql + Default>(row: &Row<'_>, column: usize) -> T {
    row.get(column).unwrap_or_default()
}

/// Reads the rows of a query. Logs and skips each damaged row, so that the other rows stay readable.
pub(super) fn readable<T>(
    rows: impl Iterator<Item = rusqlite::Result<T>>,
) -> rusqlite::Result<Vec<T>> {
    let rows = rows.filter_map(|row| match row {
        Err(error) if error.sqlite_error().is_none() => {
            tracing::error!(error = %error, "the bridge skips a damaged row of the store");
            None
        }
        row => Some(row),
    });
    rows.collect()
}
