//! The columns to which the sealed updates of entries are bound, and the updates of entries that move to other lanes.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{get, unsigned};
use super::connection::Connected;
use super::fault::DbFault;
use crate::event::SourceVersion;
use crate::outbox::LaneId;
use crate::outbox::codec::{self, UpdateRoute};
use crate::outbox::sealer::Sealer;

/// Reads the columns `lane`, `epoch`, `value`, `stated` and `jump_max` of an entry. Returns `None` if they are damaged.
pub(super) fn route(row: &Row, columns: [usize; 5]) -> Result<Option<UpdateRoute>, DbFault> {
    let [lane, epoch, value, stated, jump_max] = columns;
    let epoch: i64 = get(row, epoch)?;
    let Ok(epoch) = u32::try_from(epoch) else {
        return Ok(None);
    };
    Ok(Some(UpdateRoute {
        lane: LaneId(unsigned(get(row, lane)?)),
        version: SourceVersion {
            epoch,
            value: get(row, value)?,
        },
        jump_max: get(row, jump_max)?,
        names_imprint_id: get(row, stated)?,
    }))
}

/// Binds the updates of waiting entries, which have moved from one lane to another, to their new lanes. Leaves an update that
/// is not bound to the old lane, or that cannot be read, as it is.
pub(super) async fn bind_moved(
    db: &Connected,
    sealer: &Sealer,
    (entries, from, to): (&[i64], &[i64], &[i64]),
) -> Result<(), DbFault> {
    if !sealer.has_key() {
        return Ok(());
    }
    let sql = "SELECT p.lane, p.epoch, p.value, p.stated, p.jump_max, p.entry, u.old_lane, p.facts
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u(number, old_lane, new_lane)
         JOIN imprint_bridge.payload p ON p.entry = u.number AND p.lane = u.new_lane AND p.state = 0";
    let moved = db
        .query(
            sql,
            &[
                (&entries, Type::INT8_ARRAY),
                (&from, Type::INT8_ARRAY),
                (&to, Type::INT8_ARRAY),
            ],
        )
        .await?;
    let (mut bound, mut updates) = (Vec::new(), Vec::new());
    for row in &moved {
        let entry: i64 = get(row, 5)?;
        let Some(route) = route(row, [0, 1, 2, 3, 4])? else {
            continue;
        };
        let from = route.in_lane(LaneId(unsigned(get(row, 6)?)));
        let routes = (&from, &route);
        if let Some(update) = codec::move_update(sealer, unsigned(entry), get(row, 7)?, routes)? {
            bound.push(entry);
            updates.push(update);
        }
    }
    let sql = "UPDATE imprint_bridge.payload AS p SET facts = u.facts
         FROM unnest($1::bigint[], $2::bytea[]) AS u(entry, facts) WHERE p.entry = u.entry";
    db.execute(
        sql,
        &[(&bound, Type::INT8_ARRAY), (&updates, Type::BYTEA_ARRAY)],
    )
    .await?;
    Ok(())
}
