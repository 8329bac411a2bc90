//! The rows of erased entries and customers. The lanes of the entries are locked.

use tokio_postgres::types::Type;

use super::bound_updates;
use super::candidates;
use super::columns::{get, number, unsigned};
use super::connection::{Connected, Params};
use super::engine::Engine;
use super::fault::DbFault;
use super::keys::CustomerKey;
use super::tally::TallyChange;
use crate::event::SourceName;
use crate::fold::LaneVersions;
use crate::outbox::named_part::NO_LANE;
use crate::outbox::tombstone::TombstoneKey;
use crate::outbox::{EntryId, LaneId, ParkReason, State, codec};
use crate::time::Timestamp;

/// Deletes the payloads of entries, and raises the floors to the versions of their updates. Returns the number of updates
/// without a floor: the bridge cannot read them, or their columns are not those with which they were sealed. An invalid event
/// has no update. An entry that is parked as a version jump gives no floor: its absurd version would keep out every later
/// event.
pub(super) async fn delete_payloads(
    db: &Connected,
    engine: &Engine,
    entries: &[EntryId],
    (tally, floors): (&mut TallyChange, &mut LaneVersions),
) -> Result<usize, DbFault> {
    let mut unversioned = 0;
    if entries.is_empty() {
        return Ok(unversioned);
    }
    let entries: Vec<i64> = entries.iter().map(|entry| number(entry.0)).collect();
    let sql = "DELETE FROM imprint_bridge.payload WHERE entry = ANY($1)
         RETURNING lane, epoch, value, stated, jump_max, entry, facts, state, source, event_bytes, reason";
    let jump = i16::from(codec::reason_number(ParkReason::VersionJump));
    for row in db.query(sql, &[(&entries, Type::INT8_ARRAY)]).await? {
        let entry = unsigned(get(&row, 5)?);
        let state: i16 = get(&row, 7)?;
        let state = codec::state("payload.state", state.into())?;
        if let Ok(source) = SourceName::parse(get(&row, 8)?) {
            tally.leave(state, &source, get(&row, 9)?);
        }
        let reason: Option<i16> = get(&row, 10)?;
        if LaneId(unsigned(get(&row, 0)?)) == NO_LANE || reason == Some(jump) {
            continue;
        }
        let route = bound_updates::route(&row, [0, 1, 2, 3, 4])?;
        let stored = codec::decode_update(&engine.sealer, entry, get(&row, 6)?).ok();
        match stored
            .zip(route)
            .filter(|(stored, route)| stored.is_at(route))
        {
            Some((stored, route)) => {
                floors.raise(route.version.arrived(entry), stored.update.fields());
            }
            None => unversioned += 1,
        }
    }
    Ok(unversioned)
}

/// Makes the receipts of entries tombstones, which were settled at the time of the erasure. The entries of `unfinished` end as discarded. Returns the number of receipts.
pub(super) async fn erase_receipts(
    db: &Connected,
    engine: &Engine,
    (entries, unfinished): (&[i64], &[EntryId]),
    now: Timestamp,
) -> Result<usize, DbFault> {
    if entries.is_empty() {
        return Ok(0);
    }
    let sql = "SELECT id, source, ce_source, event_id FROM imprint_bridge.entry WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    let tombstones = TombstoneKey::new(&engine.digest_key);
    let (mut ids, mut names, mut ce_sources) = (Vec::new(), Vec::new(), Vec::new());
    for row in db.query(sql, &[(&entries, Type::INT8_ARRAY)]).await? {
        ids.push(get::<i64>(&row, 0)?);
        names.push(tombstones.event_id(get(&row, 1)?, get(&row, 3)?));
        ce_sources.push(tombstones.event(get(&row, 1)?, get(&row, 2)?, get(&row, 3)?));
    }
    let sql = "UPDATE imprint_bridge.entry AS e SET event_id = u.event_id, ce_source = u.ce_source, lane = NULL, skipped = NULL, settled_at = $3
         FROM unnest($1::bigint[], $2::text[], $4::text[]) AS u(id, event_id, ce_source) WHERE e.id = u.id";
    let now = now.as_millis();
    let params: Params<'_> = &[
        (&ids, Type::INT8_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&now, Type::INT8),
        (&ce_sources, Type::TEXT_ARRAY),
    ];
    db.execute(sql, params).await?;
    let unfinished: Vec<i64> = unfinished.iter().map(|entry| number(entry.0)).collect();
    let sql = "UPDATE imprint_bridge.entry SET state = $2 WHERE id = ANY($1)";
    let discarded = i16::from(codec::state_number(State::Discarded));
    let params: Params<'_> = &[(&unfinished, Type::INT8_ARRAY), (&discarded, Type::INT2)];
    db.execute(sql, params).await?;
    Ok(ids.len())
}

/// Creates the tombstone of a customer without a lane.
pub(super) async fn create(
    db: &Connected,
    customer: &CustomerKey,
    erased: i16,
) -> Result<LaneId, DbFault> {
    let sql = "INSERT INTO imprint_bridge.lane (id, kind, customer, idle, low, erased)
         VALUES (nextval('imprint_bridge.lane_number'), $1, $2, true, $3, $4)
         ON CONFLICT (kind, customer) DO NOTHING RETURNING id";
    let (kind, low) = (i16::from(customer.kind), i16::from(codec::NEW_LANE_CLASS));
    let row = db
        .query_opt(
            sql,
            &[
                (&kind, Type::INT2),
                (&customer.customer.as_slice(), Type::BYTEA),
                (&low, Type::INT2),
                (&erased, Type::INT2),
            ],
        )
        .await?;
    // Another replica has created the lane.
    let row = row.ok_or(DbFault::Raced)?;
    Ok(LaneId(unsigned(get(&row, 0)?)))
}

/// Deletes the origins of a lane that are entries up to `last`. Returns whether the lane has an entry that the erasure does
/// not concern.
pub(super) async fn forget_lane(
    db: &Connected,
    lane: LaneId,
    last: EntryId,
) -> Result<bool, DbFault> {
    let (lane, last) = (number(lane.0), number(last.0));
    let sql = "DELETE FROM imprint_bridge.origin WHERE lane = $1 AND entry <= $2";
    db.execute(sql, &[(&lane, Type::INT8), (&last, Type::INT8)])
        .await?;
    let ended = candidates::ENDED;
    let sql = format!(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM imprint_bridge.payload WHERE lane = $1 AND state = 0)
             OR EXISTS (SELECT 1 FROM imprint_bridge.payload WHERE lane = $1 AND state <> 0)
             OR EXISTS (SELECT 1 FROM imprint_bridge.entry WHERE lane = $1 AND {ended})"
    );
    let newer = db.query_opt(&sql, &[(&lane, Type::INT8)]).await?;
    Ok(newer.is_some())
}
