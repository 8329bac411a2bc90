//! Converts between Rust values and the columns of PostgreSQL.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::fault::DbFault;
use crate::outbox::codec::StoredText;
use crate::time::Timestamp;

/// The first byte of a stored text that is not sealed. No sealed text begins with this byte.
const PLAIN: u8 = 0;

/// Returns the stored form of a number. PostgreSQL stores signed numbers.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the stored form of a size.
pub(super) fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Returns the number that a column contains. A damaged negative number counts as 0.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Returns the small number that a column contains. A damaged number counts as the highest number.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, DbFault> {
    Ok(row.try_get(column)?)
}

pub(super) fn time(row: &Row, column: usize) -> Result<Option<Timestamp>, DbFault> {
    let millis: Option<i64> = get(row, column)?;
    Ok(millis.map(Timestamp::from_millis))
}

/// Returns the column of a text that is possibly sealed.
pub(super) fn from_text(text: StoredText<'_>) -> Vec<u8> {
    match text {
        StoredText::Plain(text) => {
            let mut bytes = Vec::with_capacity(text.len().saturating_add(1));
            bytes.push(PLAIN);
            bytes.extend_from_slice(text.as_bytes());
            bytes
        }
        StoredText::Sealed(bytes) => bytes.into_owned(),
    }
}

/// Reads the column of a text that is possibly sealed. Returns `None` if a plain text is no UTF-8.
pub(super) fn to_text(bytes: &[u8]) -> Option<StoredText<'_>> {
    match bytes.split_first() {
        Some((&PLAIN, text)) => std::str::from_utf8(text).ok().map(StoredText::Plain),
        Some(_) | None => Some(StoredText::Sealed(Cow::Borrowed(bytes))),
    }
}
