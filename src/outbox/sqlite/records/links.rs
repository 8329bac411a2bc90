//! Walks through the identity links. A link has no number: the place of a link that is not sealed is its position, and the
//! place of a sealed link is the first half of its digest.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::{ROWS_MAX, Record, Stored};
use crate::outbox::RecordCursor;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::keyed_digest::KeyedDigest;

/// The maximum number of links of one step that are not sealed. SQLite passes over all links before the position, so a step
/// with few links would make the walk through millions of links slow.
const PLAIN_MAX: usize = 10_000;
/// The sign bit of a place: places are signed, and the record ids of links are not.
const SIGN: u64 = 1 << 63;

/// Returns whether the store has identity links with Imprint's spelling of the id. The store of an older program has none.
pub(super) fn exist(connection: &Connection) -> rusqlite::Result<bool> {
    let found = connection
        .prepare_cached("SELECT 1 FROM pragma_table_info('pair') WHERE name = 'received'")?
        .query_row([], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Passes the CRM's ids of the next links that are not sealed to `visit`.
pub(super) fn plain(
    connection: &Connection,
    from: RecordCursor,
    mut visit: impl FnMut(Stored<'_>),
) -> rusqlite::Result<RecordCursor> {
    let position = from.after.max(0);
    // SQLite sorts every text before every blob.
    let mut statement = connection.prepare_cached(
        "SELECT partner FROM pair WHERE partner < x'' ORDER BY partner LIMIT ?1 OFFSET ?2",
    )?;
    let mut rows = statement.query(params![PLAIN_MAX, position])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        visit((BlobKind::LinkIds, Record::numbered(0), row.get_ref(0)?));
    }
    Ok(match count {
        0 => from.next_table(),
        _ => RecordCursor {
            after: position.saturating_add(count),
            ..from
        },
    })
}

/// Passes the ids of the next sealed links to `visit`.
pub(super) fn sealed(
    connection: &Connection,
    from: RecordCursor,
    mut visit: impl FnMut(Stored<'_>),
) -> rusqlite::Result<RecordCursor> {
    let first = (u64::from_be_bytes(from.after.to_be_bytes()) ^ SIGN).to_be_bytes();
    let is_start = from.after == RecordCursor::START.after;
    let first: &[u8] = if is_start { &[] } else { &first };
    let mut statement = connection.prepare_cached(
        "SELECT partner, received FROM pair WHERE partner >= ?1 ORDER BY partner LIMIT ?2",
    )?;
    let mut rows = statement.query(params![first, ROWS_MAX])?;
    let (mut count, mut last) = (0, 0);
    while let Some(row) = rows.next()? {
        count += 1;
        let partner = row.get_ref(0)?.as_blob().unwrap_or_default();
        last = codec::link_record(&padded(partner));
        let ids = row.get_ref(1)?;
        let has_digest = partner.len() == size_of::<KeyedDigest>();
        // Every link with a digest has a blob.
        let value = match has_digest && matches!(ids, ValueRef::Blob([_, ..])) {
            true => ids,
            false => ValueRef::Integer(0),
        };
        visit((BlobKind::LinkIds, Record::numbered(last), value));
    }
    Ok(match last.checked_add(1) {
        Some(next) if count == ROWS_MAX => RecordCursor {
            after: i64::from_be_bytes((next ^ SIGN).to_be_bytes()),
            ..from
        },
        Some(_) | None => from.next_table(),
    })
}

/// Returns a digest that sorts as the bytes do, also if they are damaged and have another length. So each step of the walk
/// begins after the step before it.
fn padded(partner: &[u8]) -> KeyedDigest {
    let mut digest = KeyedDigest::default();
    for (place, byte) in digest.iter_mut().zip(partner) {
        *place = *byte;
    }
    digest
}
