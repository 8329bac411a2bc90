//! The rows of entries that wait again or end as ignored after an operator's change. The payloads and the lanes are locked.

use tokio_postgres::types::Type;

use super::columns::number;
use super::connection::{Connected, Params};
use super::fault::DbFault;
use crate::event::EventError;
use crate::imprint::CustomerChange;
use crate::outbox::codec::{self, BlobKind, UpdateColumns};
use crate::outbox::sealer::Sealer;
use crate::outbox::{EntryId, IgnoredEvent, LaneId};
use crate::time::Timestamp;

/// An entry that waits again.
pub(super) struct RequeuedRow<'a> {
    pub(super) entry: EntryId,
    pub(super) lane: LaneId,
    /// The new update of the entry. `None` keeps the stored update.
    pub(super) change: Option<&'a CustomerChange>,
}

/// An entry that ends as ignored.
pub(super) struct IgnoredRow<'a> {
    pub(super) entry: EntryId,
    pub(super) ignored: &'a IgnoredEvent,
}

/// Makes the entries wait in their lanes.
pub(super) async fn requeue(
    db: &Connected,
    sealer: &Sealer,
    rows: &[RequeuedRow<'_>],
) -> Result<(), DbFault> {
    if rows.is_empty() {
        return Ok(());
    }
    let entries: Vec<i64> = rows.iter().map(|row| number(row.entry.0)).collect();
    let lanes: Vec<i64> = rows.iter().map(|row| number(row.lane.0)).collect();
    let sql = "UPDATE imprint_bridge.payload AS p SET state = 0, lane = u.lane, reason = NULL, detail = NULL, errors = NULL
         FROM unnest($1::bigint[], $2::bigint[]) AS u(entry, lane) WHERE p.entry = u.entry";
    let params: Params<'_> = &[(&entries, Type::INT8_ARRAY), (&lanes, Type::INT8_ARRAY)];
    db.execute(sql, params).await?;
    let sql = "UPDATE imprint_bridge.entry AS e SET state = 0, settled_at = NULL, lane = u.lane
         FROM unnest($1::bigint[], $2::bigint[]) AS u(id, lane) WHERE e.id = u.id";
    db.execute(sql, params).await?;
    replace_updates(db, sealer, rows).await
}

async fn replace_updates(
    db: &Connected,
    sealer: &Sealer,
    rows: &[RequeuedRow<'_>],
) -> Result<(), DbFault> {
    let mapped = rows.iter();
    let mapped = mapped.filter_map(|row| row.change.map(|change| (row, change)));
    let mapped: Vec<(&RequeuedRow<'_>, &CustomerChange)> = mapped.collect();
    if mapped.is_empty() {
        return Ok(());
    }
    let (mut facts, mut partners, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (row, change) in &mapped {
        let customer = codec::customer_columns(&change.customer);
        let parts = (&change.update, customer.partner);
        let route = codec::route(row.lane, change);
        let stored = codec::encode_update(sealer, row.entry.0, parts, &route)?;
        let UpdateColumns { update, partner } = stored;
        facts.push(update);
        partners.push(partner);
        skipped.push(encode_skipped(sealer, row.entry, &change.skipped)?);
    }
    let changes = || mapped.iter().map(|(_, change)| change);
    let entries = mapped.iter().map(|(row, _)| number(row.entry.0));
    let entries: Vec<i64> = entries.collect();
    let epochs: Vec<i64> = changes().map(|it| it.version.epoch.into()).collect();
    let values: Vec<i64> = changes().map(|it| it.version.value).collect();
    let stated = changes().map(|it| it.customer.imprint().is_some());
    let stated: Vec<bool> = stated.collect();
    let jumps: Vec<Option<i64>> = changes()
        .map(|it| it.jump_max.map(codec::jump_max))
        .collect();
    let sql = "UPDATE imprint_bridge.payload AS p SET epoch = u.epoch, value = u.value, facts = u.facts, partner = u.partner,
             stated = u.stated, jump_max = u.jump_max
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::boolean[], $7::bigint[])
             AS u(entry, epoch, value, facts, partner, stated, jump_max)
         WHERE p.entry = u.entry";
    db.execute(
        sql,
        &[
            (&entries, Type::INT8_ARRAY),
            (&epochs, Type::INT8_ARRAY),
            (&values, Type::INT8_ARRAY),
            (&facts, Type::BYTEA_ARRAY),
            (&partners, Type::TEXT_ARRAY),
            (&stated, Type::BOOL_ARRAY),
            (&jumps, Type::INT8_ARRAY),
        ],
    )
    .await?;
    let sql = "UPDATE imprint_bridge.entry AS e SET skipped = u.skipped
         FROM unnest($1::bigint[], $2::bytea[]) AS u(id, skipped) WHERE e.id = u.id";
    db.execute(
        sql,
        &[(&entries, Type::INT8_ARRAY), (&skipped, Type::BYTEA_ARRAY)],
    )
    .await?;
    Ok(())
}

fn encode_skipped(
    sealer: &Sealer,
    entry: EntryId,
    skipped: &[EventError],
) -> Result<Option<Vec<u8>>, DbFault> {
    let stored = (!skipped.is_empty())
        .then(|| codec::encode(sealer, BlobKind::SkippedFields, entry.0, &skipped));
    Ok(stored.transpose()?)
}

/// Ends the entries as ignored, and deletes their payloads.
pub(super) async fn ignore(
    db: &Connected,
    sealer: &Sealer,
    rows: &[IgnoredRow<'_>],
    now: Timestamp,
) -> Result<(), DbFault> {
    if rows.is_empty() {
        return Ok(());
    }
    let entries: Vec<i64> = rows.iter().map(|row| number(row.entry.0)).collect();
    let sql = "DELETE FROM imprint_bridge.payload WHERE entry = ANY($1)";
    db.execute(sql, &[(&entries, Type::INT8_ARRAY)]).await?;
    let reasons = rows
        .iter()
        .map(|row| codec::ignore_number(row.ignored.reason));
    let reasons: Vec<i16> = reasons.map(i16::from).collect();
    let skipped = rows
        .iter()
        .map(|row| encode_skipped(sealer, row.entry, &row.ignored.skipped));
    let skipped: Vec<Option<Vec<u8>>> = skipped.collect::<Result<_, DbFault>>()?;
    let sql = "UPDATE imprint_bridge.entry AS e SET state = 3, settled_at = $4, ignored = u.ignored, skipped = u.skipped
         FROM unnest($1::bigint[], $2::smallint[], $3::bytea[]) AS u(id, ignored, skipped) WHERE e.id = u.id";
    let now = now.as_millis();
    db.execute(
        sql,
        &[
            (&entries, Type::INT8_ARRAY),
            (&reasons, Type::INT2_ARRAY),
            (&skipped, Type::BYTEA_ARRAY),
            (&now, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}
