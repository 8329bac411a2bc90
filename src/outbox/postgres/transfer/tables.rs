//! The tables of a store in a database, and their columns in the rows of a transfer.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::columns::{from_text, get, size, to_text, unsigned};
use super::super::connection::Connected;
use super::super::fault::DbFault;
use super::super::keys::{Digests, EventKeys};
use crate::outbox::codec::StoredText;
use crate::outbox::transfer::row::{ColumnType, RowKind, TransferRow, TransferValue};
use crate::outbox::transfer::{BATCH_BYTES_MAX, ROWS_MAX, TransferBatch};

/// Counts the entries and the bytes of each source, which the store otherwise counts with each change.
pub(super) const COUNT: &str = "INSERT INTO imprint_bridge.tally (source, waiting, parked, held, undecided, bytes)
    SELECT source, count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 4), count(*) FILTER (WHERE state = 6),
        count(*) FILTER (WHERE state = 7), sum(event_bytes) FROM imprint_bridge.payload GROUP BY source";

/// Lets the planner know the sizes of the tables at once.
pub(super) const ANALYZE: &str = "ANALYZE imprint_bridge.lane, imprint_bridge.entry, imprint_bridge.payload, imprint_bridge.link, imprint_bridge.origin, imprint_bridge.audit";

/// A table of the store.
#[derive(Clone, Copy)]
pub(super) struct DbTable {
    kind: RowKind,
    name: &'static str,
    /// The condition for the rows of this kind.
    rows: &'static str,
}

impl DbTable {
    pub(super) const fn of(kind: RowKind) -> Self {
        let (name, rows) = match kind {
            RowKind::SealingKeys => ("sealing_key", "true"),
            RowKind::Settings => (
                "meta",
                "name NOT IN ('digest_key', 'last_backup', 'transfer', 'moved_tombstones')",
            ),
            RowKind::Lanes => ("lane", "true"),
            RowKind::Receipts => ("entry", "true"),
            RowKind::Waiting => ("payload", "state = 0"),
            RowKind::Parked => ("payload", "state = 4"),
            RowKind::Held => ("payload", "state = 6"),
            RowKind::Undecided => ("payload", "state = 7"),
            RowKind::Links => ("link", "true"),
            RowKind::Origins => ("origin", "true"),
            RowKind::Audit => ("audit", "true"),
        };
        Self { kind, name, rows }
    }

    pub(super) async fn count(self, db: &Connected) -> Result<u64, DbFault> {
        let Self { name, rows, .. } = self;
        let sql = format!("SELECT count(*) FROM imprint_bridge.{name} WHERE {rows}");
        let row = db.query_opt(&sql, &[]).await?;
        row.as_ref().map_or(Ok(0), |row| get(row, 0).map(unsigned))
    }

    /// Reads the next rows. The first column finds a row.
    pub(super) async fn read(
        self,
        db: &Connected,
        after: &TransferValue,
    ) -> Result<TransferBatch, DbFault> {
        let Self { kind, name, rows } = self;
        let columns = kind.columns();
        let key = columns.first().map_or("id", |(name, _)| name);
        let names: Vec<String> = columns.iter().map(selected).collect();
        let names = names.join(", ");
        let max = size(ROWS_MAX);
        let select = |from: &str| {
            format!(
                "SELECT {names} FROM imprint_bridge.{name} WHERE {rows} AND {from} ORDER BY {key} LIMIT $1"
            )
        };
        let (all, next) = (select("true"), select(&format!("{key} > $2")));
        let limit: (&(dyn ToSql + Sync), Type) = (&max, Type::INT8);
        let found = match after {
            TransferValue::Null => db.query(&all, &[limit]).await?,
            TransferValue::Number(after) => db.query(&next, &[limit, (after, Type::INT8)]).await?,
            TransferValue::Text(after) => db.query(&next, &[limit, (after, Type::TEXT)]).await?,
            TransferValue::Bytes(after) => db.query(&next, &[limit, (after, Type::BYTEA)]).await?,
        };
        let (mut batch, mut bytes) = (TransferBatch::default(), 0);
        for row in &found {
            let row = values(kind, row)?;
            batch.after = row.first().cloned().unwrap_or_default();
            bytes += row.iter().map(TransferValue::size).sum::<usize>();
            batch.rows.push(row);
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        Ok(batch)
    }

    /// Inserts rows with one statement.
    pub(super) async fn write(
        self,
        db: &Connected,
        digests: &Digests,
        rows: &[TransferRow],
    ) -> Result<(), DbFault> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<(&str, ColumnType)> = self.kind.columns().to_vec();
        let mut arrays = Vec::with_capacity(columns.len());
        for (place, (_, of)) in columns.iter().enumerate() {
            arrays.push(ColumnArray::of(*of, rows.iter().map(|row| row.get(place))));
        }
        if self.kind == RowKind::Receipts {
            let keys = rows.iter().map(|row| event_keys(digests, row));
            let keys = keys.collect::<Result<Vec<EventKeys>, DbFault>>()?;
            let event_keys = keys.iter().map(|keys| Some(keys.event.to_vec())).collect();
            let ce_keys = keys.iter().map(|keys| Some(keys.ce_source.to_vec()));
            let ce_keys = ce_keys.collect();
            columns.extend([
                ("event_key", ColumnType::Bytes),
                ("ce_key", ColumnType::Bytes),
            ]);
            arrays.extend([ColumnArray::Blobs(event_keys), ColumnArray::Blobs(ce_keys)]);
        }
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let inserted: Vec<String> = columns.iter().map(inserted).collect();
        let places = (1..).zip(&columns);
        let places: Vec<String> = places
            .map(|(place, (_, of))| format!("${place}::{}", array_type(*of)))
            .collect();
        let sql = format!(
            "INSERT INTO imprint_bridge.{} ({names}) SELECT {} FROM unnest({}) AS u({names}) ON CONFLICT DO NOTHING",
            self.name,
            inserted.join(", "),
            places.join(", ")
        );
        let params: Vec<(&(dyn ToSql + Sync), Type)> =
            arrays.iter().map(ColumnArray::param).collect();
        let inserted = db.execute(&sql, &params).await?;
        // The new store lists the newest key itself.
        let is_complete = usize::try_from(inserted) == Ok(rows.len());
        match is_complete || self.kind == RowKind::SealingKeys {
            true => Ok(()),
            false => Err(DbFault::Damaged(
                "the rows of the source: two have the same key",
            )),
        }
    }
}

/// Returns the keyed digests of the identity in a receipt. The receipt of an erased event has the digest that stands for the
/// event as its id.
fn event_keys(digests: &Digests, row: &TransferRow) -> Result<EventKeys, DbFault> {
    let [
        _,
        TransferValue::Text(source),
        TransferValue::Text(ce_source),
        TransferValue::Text(id),
        ..,
    ] = row.as_slice()
    else {
        return Err(DbFault::Damaged("entry"));
    };
    Ok(digests.stored_event(source, ce_source, id))
}

/// Returns the expression that selects a column as a type of [`values`].
fn selected((name, of): &(&str, ColumnType)) -> String {
    match of {
        ColumnType::Number => (*name).to_owned(),
        ColumnType::Small => format!("{name}::bigint"),
        ColumnType::Flag => format!("{name}::integer::bigint"),
        ColumnType::Text | ColumnType::Bytes | ColumnType::Sealable => (*name).to_owned(),
    }
}

/// Returns the expression that inserts a column.
fn inserted((name, of): &(&str, ColumnType)) -> String {
    match of {
        ColumnType::Small => format!("u.{name}::smallint"),
        ColumnType::Flag => format!("u.{name} <> 0"),
        ColumnType::Number | ColumnType::Text | ColumnType::Bytes | ColumnType::Sealable => {
            format!("u.{name}")
        }
    }
}

const fn array_type(of: ColumnType) -> &'static str {
    match of {
        ColumnType::Number | ColumnType::Small | ColumnType::Flag => "bigint[]",
        ColumnType::Text => "text[]",
        ColumnType::Bytes | ColumnType::Sealable => "bytea[]",
    }
}

fn values(kind: RowKind, row: &Row) -> Result<TransferRow, DbFault> {
    let columns = kind.columns().iter().enumerate();
    let value = |(place, (_, of)): (usize, &(&str, ColumnType))| -> Result<_, DbFault> {
        let value = match of {
            ColumnType::Number | ColumnType::Small | ColumnType::Flag => {
                get::<Option<i64>>(row, place)?.map(TransferValue::Number)
            }
            ColumnType::Text => get::<Option<String>>(row, place)?.map(TransferValue::Text),
            ColumnType::Bytes => get::<Option<Vec<u8>>>(row, place)?.map(TransferValue::Bytes),
            ColumnType::Sealable => match get::<Option<&[u8]>>(row, place)?.map(to_text) {
                None => None,
                Some(Some(StoredText::Plain(text))) => Some(TransferValue::Text(text.to_owned())),
                Some(Some(StoredText::Sealed(sealed))) => {
                    Some(TransferValue::Bytes(sealed.into_owned()))
                }
                Some(None) => return Err(DbFault::Damaged(kind.as_str())),
            },
        };
        Ok(value.unwrap_or_default())
    };
    columns.map(value).collect()
}

/// The values of one column.
enum ColumnArray {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Option<Vec<u8>>>),
}

impl ColumnArray {
    /// Collects the values of a column. The transfer has verified that the values have the type of the column.
    fn of<'a>(of: ColumnType, values: impl Iterator<Item = Option<&'a TransferValue>>) -> Self {
        match of {
            ColumnType::Number | ColumnType::Small | ColumnType::Flag => {
                let numbers = values.map(|value| match value {
                    Some(TransferValue::Number(number)) => Some(*number),
                    _ => None,
                });
                Self::Numbers(numbers.collect())
            }
            ColumnType::Text => {
                let texts = values.map(|value| match value {
                    Some(TransferValue::Text(text)) => Some(text.clone()),
                    _ => None,
                });
                Self::Texts(texts.collect())
            }
            ColumnType::Bytes | ColumnType::Sealable => {
                let blobs = values.map(|value| match value {
                    Some(TransferValue::Bytes(bytes)) => Some(bytes.clone()),
                    Some(TransferValue::Text(text)) => Some(from_text(StoredText::Plain(text))),
                    _ => None,
                });
                Self::Blobs(blobs.collect())
            }
        }
    }

    fn param(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Numbers(numbers) => (numbers, Type::INT8_ARRAY),
            Self::Texts(texts) => (texts, Type::TEXT_ARRAY),
            Self::Blobs(blobs) => (blobs, Type::BYTEA_ARRAY),
        }
    }
}
