//! The columns that the bridge seals, and the walk through them that counts the values by their keys.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, number, size, unsigned};
use super::connection::{Connected, Params};
use super::fault::DbFault;
use crate::outbox::codec::{self, BlobKind};
use crate::outbox::keyed_digest::KeyedDigest;
use crate::outbox::sealer::UsedKey;
use crate::outbox::{RecordCounts, RecordCursor, Setting};

/// A table with numbered rows whose values the bridge seals.
pub(super) struct SealedColumns {
    pub(super) table: &'static str,
    /// The column with the number of the record, to which a sealed value is bound.
    pub(super) number: &'static str,
    pub(super) columns: &'static [(&'static str, BlobKind)],
    /// The columns beside the values: the CRM's id that is not sealed, and what an update or a customer id is bound to.
    pub(super) beside: &'static [&'static str],
    /// The maximum number of rows of one step. A step takes a few milliseconds.
    pub(super) rows_max: usize,
}

/// The maximum number of rows of one step in a table whose rows have values.
pub(super) const ROWS_MAX: usize = 256;

/// The tables with numbered values that the bridge seals. The identity links and the evidence follow them. The digest key
/// is no part of the walk.
pub(super) const SEALED: [SealedColumns; 4] = [
    SealedColumns {
        table: "payload",
        number: "entry",
        columns: &[
            ("facts", BlobKind::Update),
            ("event", BlobKind::Event),
            ("errors", BlobKind::EventErrors),
            ("detail", BlobKind::ParkedDetail),
        ],
        beside: &["partner", "lane", "epoch", "value", "stated", "jump_max"],
        rows_max: ROWS_MAX,
    },
    SealedColumns {
        table: "entry",
        number: "id",
        columns: &[("skipped", BlobKind::SkippedFields)],
        beside: &[],
        // Most receipts have no value.
        rows_max: 10_000,
    },
    SealedColumns {
        table: "lane",
        number: "id",
        columns: &[
            ("versions", BlobKind::LaneVersions),
            ("absence", BlobKind::LaneAbsence),
            ("received", BlobKind::LaneCustomer),
        ],
        beside: &["kind", "customer"],
        rows_max: ROWS_MAX,
    },
    SealedColumns {
        table: "audit",
        number: "number",
        columns: &[("reason", BlobKind::AuditReason)],
        beside: &[],
        rows_max: ROWS_MAX,
    },
];

impl SealedColumns {
    /// Reads the next rows: the number, the values, and the columns beside them. `lock` is the end of the statement.
    pub(super) async fn rows(
        &self,
        db: &Connected,
        (after, end): (u64, u64),
        lock: &str,
    ) -> Result<Vec<Row>, DbFault> {
        let names = self.columns.iter().map(|(name, _)| *name);
        let names: Vec<&str> = names.chain(self.beside.iter().copied()).collect();
        let (table, id, names) = (self.table, self.number, names.join(", "));
        let bytes = match table {
            "payload" => "length(event)",
            _ => "1",
        };
        let sql = format!(
            "SELECT {id}, {names} FROM imprint_bridge.{table} WHERE {id} IN (
                 SELECT {id} FROM (
                     SELECT {id}, sum(bytes) OVER (ORDER BY {id}) - bytes AS before FROM (
                         SELECT {id}, {bytes} AS bytes FROM imprint_bridge.{table}
                         WHERE {id} > $1 AND {id} <= $2 ORDER BY {id} LIMIT $3) AS p) AS q
                 WHERE before < $4)
             ORDER BY {id} {lock}"
        );
        let (after, end, rows) = (number(after), number(end), size(self.rows_max));
        let params: Params<'_> = &[
            (&after, Type::INT8),
            (&end, Type::INT8),
            (&rows, Type::INT8),
            (&STEP_BYTES_MAX, Type::INT8),
        ];
        db.query(&sql, params).await
    }
}

/// The size of the events after which one step ends.
const STEP_BYTES_MAX: i64 = 1024 * 1024;
/// The first bytes of a value tell its key.
const HEAD_BYTES: usize = 128;
/// The sign bit of a place: places are signed, and the record ids of links are not.
const SIGN: u64 = 1 << 63;

/// Counts the values of the next rows by their keys. Opens no value. Returns the place of the next step, or `None` at the end
/// of the store.
pub(super) async fn count(
    db: &Connected,
    from: RecordCursor,
) -> Result<(RecordCounts, Option<RecordCursor>), DbFault> {
    let mut counts = RecordCounts::default();
    let next = match SEALED.get(from.table) {
        Some(sealed) => Some(count_numbered(db, sealed, from, &mut counts).await?),
        None => match from.table.checked_sub(SEALED.len()) {
            Some(0) => Some(count_links(db, from, &mut counts).await?),
            Some(1) => {
                let sql = "SELECT value FROM imprint_bridge.meta WHERE name = $1";
                let name = Setting::Evidence.name();
                for row in db.query(sql, &[(&name, Type::TEXT)]).await? {
                    add(&mut counts, get(&row, 0)?);
                }
                None
            }
            Some(_) | None => None,
        },
    };
    Ok((counts, next))
}

async fn count_numbered(
    db: &Connected,
    sealed: &SealedColumns,
    from: RecordCursor,
    counts: &mut RecordCounts,
) -> Result<RecordCursor, DbFault> {
    let columns = sealed.columns.iter();
    let heads = columns.map(|(name, _)| format!("substring({name} FOR {HEAD_BYTES})"));
    let heads: Vec<String> = heads.collect();
    let (table, number) = (sealed.table, sealed.number);
    let sql = format!(
        "SELECT {number}, {} FROM imprint_bridge.{table} WHERE {number} > $1 ORDER BY {number} LIMIT $2",
        heads.join(", ")
    );
    let rows_max = size(sealed.rows_max);
    let rows = db
        .query(&sql, &[(&from.after, Type::INT8), (&rows_max, Type::INT8)])
        .await?;
    for row in &rows {
        for (column, _) in (1..).zip(sealed.columns) {
            add(counts, get(row, column)?);
        }
    }
    match rows.last() {
        Some(last) if rows.len() == sealed.rows_max => Ok(RecordCursor {
            after: get(last, 0)?,
            ..from
        }),
        Some(_) | None => Ok(from.next_table()),
    }
}

/// Counts the next identity links. A link has no number: its place is the first half of its digest.
async fn count_links(
    db: &Connected,
    from: RecordCursor,
    counts: &mut RecordCounts,
) -> Result<RecordCursor, DbFault> {
    let first = (u64::from_be_bytes(from.after.to_be_bytes()) ^ SIGN).to_be_bytes();
    let sql = "SELECT partner, ids FROM imprint_bridge.link WHERE partner >= $1 ORDER BY partner LIMIT $2";
    let max = size(ROWS_MAX);
    let rows = db
        .query(sql, &[(&first.as_slice(), Type::BYTEA), (&max, Type::INT8)])
        .await?;
    for row in &rows {
        add(counts, get(row, 1)?);
    }
    let last = match rows.last() {
        Some(last) if rows.len() == ROWS_MAX => codec::link_record(&link_digest(last)?),
        Some(_) | None => return Ok(from.next_table()),
    };
    Ok(match last.checked_add(1) {
        Some(next) => RecordCursor {
            after: i64::from_be_bytes((next ^ SIGN).to_be_bytes()),
            ..from
        },
        None => from.next_table(),
    })
}

/// Reads the digest of a link from the first column.
pub(super) fn link_digest(row: &Row) -> Result<KeyedDigest, DbFault> {
    let partner: &[u8] = get(row, 0)?;
    let digest = KeyedDigest::try_from(partner);
    digest.map_err(|_length| DbFault::Damaged("link.partner"))
}

/// Counts a stored value. The update of an invalid event is empty, and the customer id of a tombstone is missing.
fn add(counts: &mut RecordCounts, stored: Option<&[u8]>) {
    let stored = stored.filter(|stored| !stored.is_empty());
    match stored.and_then(UsedKey::of_blob) {
        Some(UsedKey::Key(key)) => counts.count(key, 1),
        Some(UsedKey::Plain) => counts.plain = counts.plain.saturating_add(1),
        None => {}
    }
}

/// Returns the highest numbers of the tables of [`SEALED`].
pub(super) async fn ends(db: &Connected) -> Result<[u64; SEALED.len()], DbFault> {
    let mut ends = [0; SEALED.len()];
    for (end, sealed) in ends.iter_mut().zip(&SEALED) {
        let (table, number) = (sealed.table, sealed.number);
        let sql = format!("SELECT coalesce(max({number}), 0) FROM imprint_bridge.{table}");
        if let Some(row) = db.query_opt(&sql, &[]).await? {
            *end = unsigned(get(&row, 0)?);
        }
    }
    Ok(ends)
}
