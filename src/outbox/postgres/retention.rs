//! Retention: deletes old receipts of entries in a final state, and identity links that Imprint confirmed long ago.
//!
//! Retention waits for no lock, so it is in no deadlock with an erasure, a settlement, or the retention of another replica:
//! it leaves locked rows to its next pass.

use std::ops::RangeInclusive;

use tokio_postgres::types::Type;

use super::columns::{get, number, size, unsigned};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use super::{candidates, origins};
use crate::outbox::{EntryId, PRUNE_MAX};
use crate::time::Timestamp;

/// Deletes old receipts of entries with numbers from `from` upwards. Returns the number from which the next call must
/// continue.
pub(super) async fn prune_receipts(
    db: &Connected,
    engine: &Engine,
    from: EntryId,
    kept: &RangeInclusive<Timestamp>,
) -> Result<Option<EntryId>, DbFault> {
    let (before, now) = (kept.start().as_millis(), kept.end().as_millis());
    let (first, max) = (number(from.0), size(PRUNE_MAX));
    let sql = "SELECT max(id), bool_or(accepted_at NOT BETWEEN $3 AND $4), (SELECT max(id) FROM imprint_bridge.entry)
         FROM (SELECT id, accepted_at FROM imprint_bridge.entry WHERE id >= $1 ORDER BY id LIMIT $2) AS scanned";
    let row = db
        .query_opt(
            sql,
            &[
                (&first, Type::INT8),
                (&max, Type::INT8),
                (&before, Type::INT8),
                (&now, Type::INT8),
            ],
        )
        .await?;
    let row = row.ok_or(DbFault::Damaged("entry"))?;
    let (last, is_old): (Option<i64>, Option<bool>) = (get(&row, 0)?, get(&row, 1)?);
    // The bridge accepted the event of every scanned receipt within `kept`, so none of the entries reached a final
    // state before `kept`. Numbers follow the order of arrival, so the same is true for all later receipts.
    let (Some(last), Some(true)) = (last, is_old) else {
        let sql = "DELETE FROM imprint_bridge.link WHERE partner IN (
                 SELECT partner FROM imprint_bridge.link WHERE confirmed_at < $1 FOR UPDATE SKIP LOCKED)";
        db.execute(sql, &[(&before, Type::INT8)]).await?;
        return Ok(None);
    };
    let (last, newest) = (unsigned(last), unsigned(get(&row, 2)?));
    let end = number(last.min(newest.saturating_sub(1)));
    let ended = candidates::ENDED;
    let sql = format!(
        "SELECT id FROM imprint_bridge.entry WHERE id BETWEEN $1 AND $2 AND settled_at < $3 AND {ended}
         ORDER BY id FOR UPDATE SKIP LOCKED"
    );
    let params: Params<'_> = &[
        (&first, Type::INT8),
        (&end, Type::INT8),
        (&before, Type::INT8),
    ];
    let rows = db.query(&sql, params).await?;
    let entries: Result<Vec<i64>, DbFault> = rows.iter().map(|row| get(row, 0)).collect();
    let entries = entries?;
    origins::keep(db, engine, &entries).await?;
    let sql = "DELETE FROM imprint_bridge.entry WHERE id = ANY($1)";
    db.execute(sql, &[(&entries, Type::INT8_ARRAY)]).await?;
    Ok(Some(EntryId(last.saturating_add(1))))
}
