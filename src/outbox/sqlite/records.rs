//! Walks through every value that the bridge seals, in small steps: opens the values for `store verify`, and counts the
//! values by their keys.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::store_connection::StoreConnection;
use super::{columns, sealing_keys};
use crate::outbox::codec::{BlobKind, CodecError};
use crate::outbox::sealer::UsedKey;
use crate::outbox::stored_value::{self, Binding, Record, StoredValue};
use crate::outbox::{LaneId, RecordCounts, RecordCursor, RecordReport, Setting};
use crate::sealing::is_sealed;

mod links;

/// A table with values that the bridge seals.
struct SealedTable {
    name: &'static str,
    /// The column with the number of the record, to which a sealed value is bound.
    number: &'static str,
    columns: &'static [(&'static str, BlobKind)],
    /// The maximum number of rows of one step. A step takes a few milliseconds.
    rows_max: usize,
}

/// The columns of every table of payloads.
const PAYLOAD: &[(&str, BlobKind)] = &[("facts", BlobKind::Update), ("event", BlobKind::Event)];
/// The maximum number of rows of one step in a table whose rows have values.
const ROWS_MAX: usize = 256;
/// The maximum number of rows of one step in the table of receipts, most of which have no value.
const RECEIPTS_MAX: usize = 10_000;
/// The size of the values after which one step ends.
const STEP_BYTES_MAX: usize = 1024 * 1024;

/// The tables with numbered values that the bridge seals. The identity links and the evidence follow them. The digest key is
/// no part of the walk.
const TABLES: [SealedTable; 7] = [
    payloads("waiting", PAYLOAD),
    payloads("held", PAYLOAD),
    payloads("undecided", PAYLOAD),
    payloads(
        "parked",
        &[
            ("facts", BlobKind::Update),
            ("event", BlobKind::Event),
            ("errors", BlobKind::EventErrors),
            ("detail", BlobKind::ParkedDetail),
        ],
    ),
    SealedTable {
        name: "entry",
        number: "id",
        columns: &[("skipped", BlobKind::SkippedFields)],
        rows_max: RECEIPTS_MAX,
    },
    SealedTable {
        name: "lane",
        number: "id",
        columns: &[
            ("versions", BlobKind::LaneVersions),
            ("absence", BlobKind::LaneAbsence),
            ("received", BlobKind::LaneCustomer),
        ],
        rows_max: ROWS_MAX,
    },
    SealedTable {
        name: "act",
        number: "number",
        columns: &[("reason", BlobKind::AuditReason)],
        rows_max: ROWS_MAX,
    },
];

const fn payloads(name: &'static str, columns: &'static [(&'static str, BlobKind)]) -> SealedTable {
    SealedTable {
        name,
        number: "entry",
        columns,
        rows_max: ROWS_MAX,
    }
}

/// A stored value: its kind, its record, and its bytes.
type Stored<'a> = (BlobKind, Record, ValueRef<'a>);

/// The columns to which the sealed update of an entry is bound.
const ROUTE: [&str; 5] = ["lane", "epoch", "value", "stated", "jump_max"];
/// The columns to which the sealed customer id of a lane is bound.
const CUSTOMER: [&str; 2] = ["kind", "customer"];

/// Passes the values of the next rows to `visit`. Returns the place of the next step, or `None` at the end of the store.
fn step(
    connection: &Connection,
    from: RecordCursor,
    mut visit: impl FnMut(Stored<'_>),
) -> rusqlite::Result<Option<RecordCursor>> {
    let Some(table) = TABLES.get(from.table) else {
        return unnumbered(connection, from, visit);
    };
    let columns = present(connection, table)?;
    if columns.is_empty() {
        return Ok(Some(from.next_table()));
    }
    let names = columns.iter().map(|(name, _)| *name);
    let bound = bound_columns(connection, table)?;
    let names: Vec<&str> = names.chain(bound.iter().copied()).collect();
    let sql = format!(
        "SELECT {number}, {} FROM {} WHERE {number} > ?1 ORDER BY {number} LIMIT ?2",
        names.join(", "),
        table.name,
        number = table.number,
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![from.after, table.rows_max])?;
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let record = Record {
            number: u64::try_from(number).unwrap_or_default(),
            binding: match bound {
                [] => Binding::None,
                [_, _] => customer(row, columns.len()),
                _ => route(row, columns.len()),
            },
        };
        count += 1;
        for (column, (_, kind)) in (1..).zip(&columns) {
            let value = row.get_ref(column)?;
            bytes += value.as_bytes().map_or(0, <[u8]>::len);
            visit((*kind, record, value));
        }
        if count == table.rows_max || bytes >= STEP_BYTES_MAX {
            return Ok(Some(RecordCursor {
                after: number,
                ..from
            }));
        }
    }
    Ok(Some(from.next_table()))
}

/// Passes the values of the next identity links, or the evidence, to `visit`.
fn unnumbered(
    connection: &Connection,
    from: RecordCursor,
    mut visit: impl FnMut(Stored<'_>),
) -> rusqlite::Result<Option<RecordCursor>> {
    let next = match from.table.checked_sub(TABLES.len()) {
        Some(0 | 1) if !links::exist(connection)? => from.next_table(),
        Some(0) => links::plain(connection, from, visit)?,
        Some(1) => links::sealed(connection, from, visit)?,
        Some(2) => {
            let mut statement =
                connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
            let mut rows = statement.query([Setting::Evidence.name()])?;
            while let Some(row) = rows.next()? {
                visit((BlobKind::Evidence, Record::numbered(0), row.get_ref(0)?));
            }
            from.next_table()
        }
        Some(_) | None => return Ok(None),
    };
    Ok(Some(next))
}

/// Returns the name of the table at a place.
fn table_name(from: RecordCursor) -> &'static str {
    match TABLES.get(from.table) {
        Some(table) => table.name,
        None if from.table < TABLES.len().saturating_add(2) => "pair",
        None => "meta",
    }
}

/// Returns the columns of a table that the store has. The store of an older program lacks some columns or tables.
fn present(
    connection: &Connection,
    table: &SealedTable,
) -> rusqlite::Result<Vec<(&'static str, BlobKind)>> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?;
    let mut present = Vec::new();
    for column in table.columns {
        let is_present = statement
            .query_row([table.name, column.0], |_| Ok(()))
            .optional()?;
        present.extend(is_present.map(|()| *column));
    }
    Ok(present)
}

/// Returns the columns to which the values of a table are bound. The store of an older program lacks some of them, and binds
/// no value.
fn bound_columns(
    connection: &Connection,
    table: &SealedTable,
) -> rusqlite::Result<&'static [&'static str]> {
    if table.name == "lane" {
        return Ok(&CUSTOMER);
    }
    let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name IN ('lane', 'epoch', 'value', 'stated', 'jump_max')";
    let mut statement = connection.prepare_cached(sql)?;
    let found: usize = statement.query_row([table.name], |row| row.get(0))?;
    Ok(match found == ROUTE.len() {
        true => &ROUTE,
        false => &[],
    })
}

/// Reads the columns to which the customer id of a lane is bound. They follow `before` columns with values. Only a digest is
/// bound: in a store that is not sealed yet, the column has the id.
fn customer(row: &Row<'_>, before: usize) -> Binding {
    let digest = match row.get_ref(before + 2) {
        Ok(ValueRef::Blob(digest)) => digest.try_into().ok(),
        _ => return Binding::None,
    };
    let kind = row.get(before + 1).ok();
    let columns = kind.zip(digest);
    columns.map_or(Binding::Damaged, |(kind, digest)| {
        Binding::Customer(kind, digest)
    })
}

/// Reads the columns to which the update of an entry is bound. They follow `before` columns with values.
fn route(row: &Row<'_>, before: usize) -> Binding {
    let lane = row.get(before + 1).map(LaneId);
    let route = lane.and_then(|lane| {
        let columns = [2, 3, 4, 5].map(|column| before + column);
        columns::route(row, lane, columns)
    });
    route.map_or(Binding::Damaged, Binding::Route)
}

/// Counts the records of the next rows by their keys. Opens no record.
pub(super) fn count(
    store: &StoreConnection,
    from: RecordCursor,
) -> rusqlite::Result<(RecordCounts, Option<RecordCursor>)> {
    let mut counts = RecordCounts::default();
    let next = step(store, from, |(kind, _, value)| match value {
        _ if has_none(kind, value) => {}
        ValueRef::Blob(blob) if is_sealed(blob) => {
            if let Some(UsedKey::Key(key)) = UsedKey::of_blob(blob) {
                counts.count(key, 1);
            }
        }
        ValueRef::Blob(_) | ValueRef::Text(_) => counts.plain += 1,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => {}
    })?;
    Ok((counts, next))
}

/// Opens every record of a store. Reports to `progress`, after each step, how many records it has opened.
pub(super) fn open_all(store: &StoreConnection, progress: &mut dyn FnMut(u64)) -> RecordReport {
    let mut report = RecordReport::default();
    let digest_key = sealing_keys::open_digest_key(store);
    report.add(digest_key);
    let mut place = Some(RecordCursor::START);
    while let Some(from) = place {
        let stepped = step(store, from, |stored| report.add(opened(store, stored)));
        place = stepped.unwrap_or_else(|error| {
            let name = table_name(from);
            report.list(format!("the table {name} cannot be read: {error}"));
            Some(from.next_table())
        });
        progress(report.total());
    }
    report
}

/// Returns whether a column has no value: the update of an invalid event is empty, and the customer id of a tombstone.
const fn has_none(kind: BlobKind, value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Null | ValueRef::Blob([]) => true,
        ValueRef::Text([]) => matches!(kind, BlobKind::LaneCustomer),
        ValueRef::Blob(_) | ValueRef::Text(_) | ValueRef::Integer(_) | ValueRef::Real(_) => false,
    }
}

/// Opens a stored value. Returns its key, or `None` if the column has no value.
fn opened(
    store: &StoreConnection,
    (kind, record, value): Stored<'_>,
) -> Result<Option<UsedKey>, CodecError> {
    let value = match value {
        _ if has_none(kind, value) => StoredValue::None,
        ValueRef::Blob(blob) => StoredValue::Blob(blob),
        ValueRef::Text(text) => StoredValue::Text(text),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => StoredValue::Other,
    };
    let keys = (store.sealer(), store.customer_key());
    stored_value::open(keys, kind, record, value)
}
