//! The SQL statements for tombstones: the rows that remain of an erased customer and of the customer's events, and of a
//! retired customer.
//!
//! The tombstone of an event is its receipt: the event id is a keyed digest, and the receipt has no lane. The tombstone of a
//! customer is the lane: its kind says that it is a tombstone and why, and its customer is a keyed digest. The versions of an
//! erased customer are version floors. A retired customer keeps all versions. The next event of the customer makes the tombstone a lane again. Retention deletes the tombstones of events with
//! the other receipts.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension, params};

use super::store_connection::StoreConnection;
use super::store_connection::lookup_id::LookupIds;
use super::{columns, lane};
use crate::event::{Attribute, Identity};
use crate::imprint::{CustomerChange, CustomerRef};
use crate::outbox::tombstone::TombstoneKind;
use crate::outbox::{
    Disposition, IgnoreReason, IgnoredEvent, LaneId, LaneKey, LaterEvents, NewEntry, codec,
};

/// The name of the number of erasures in the table `meta`.
const ERASURES: &str = "erasures";
/// The name of the number of retirements of customers in the table `meta`.
const RETIREMENTS: &str = "retirements";

/// Reads whether the store possibly has tombstones of erasures, and tombstones of retired customers.
pub(super) fn expect(store: &StoreConnection) -> rusqlite::Result<()> {
    if exist(store)? {
        store.expect_tombstones();
    }
    if is_announced(store, RETIREMENTS)? {
        store.expect_retired();
    }
    Ok(())
}

/// Returns whether the store possibly has tombstones of erasures.
pub(super) fn exist(connection: &Connection) -> rusqlite::Result<bool> {
    is_announced(connection, ERASURES)
}

/// Returns whether the store has a tombstone of an erased customer, or of a retired customer, that it does not announce.
pub(super) fn has_unannounced(connection: &Connection) -> rusqlite::Result<[bool; 2]> {
    let has = |name, kinds| {
        let sql = format!("SELECT 1 FROM lane WHERE {kinds} LIMIT 1");
        Ok::<_, rusqlite::Error>(
            !is_announced(connection, name)? && connection.prepare(&sql)?.exists([])?,
        )
    };
    Ok([
        has(ERASURES, "kind BETWEEN 2 AND 5")?,
        has(RETIREMENTS, "kind > 5")?,
    ])
}

fn is_announced(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare("SELECT 1 FROM meta WHERE name = ?1")?
        .exists([name])
}

/// Records that the store possibly has tombstones of erasures.
pub(super) fn announce(store: &StoreConnection) -> rusqlite::Result<()> {
    count(store, ERASURES)?;
    store.expect_tombstones();
    Ok(())
}

/// Records that the store possibly has tombstones of retired customers.
pub(super) fn announce_retired(store: &StoreConnection) -> rusqlite::Result<()> {
    count(store, RETIREMENTS)?;
    store.expect_retired();
    Ok(())
}

fn count(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1";
    connection.execute(sql, [name]).map(|_| ())
}

/// Returns the event id and the CloudEvents source under which the tombstone of an event is stored: by this program, and by an
/// earlier program. Returns `None` if the store has no tombstones.
pub(super) fn event_columns(
    store: &StoreConnection,
    identity: &Identity,
) -> Option<[(String, String); 2]> {
    let ce_source = identity.ce_source.as_ref().map_or("", Attribute::as_str);
    let (source, id) = (identity.source.as_str(), identity.id.as_str());
    let tombstones = store.tombstones()?;
    let event = tombstones.event(source, ce_source, id);
    Some([
        (tombstones.event_id(source, id), event.clone()),
        (event, String::new()),
    ])
}

/// Finds the tombstone of a customer. Returns its lane and its kind.
pub(super) fn find(
    store: &StoreConnection,
    key: &LaneKey,
) -> rusqlite::Result<Option<(LaneId, TombstoneKind)>> {
    for kind in TombstoneKind::ALL {
        if let Some(lane) = find_kind(store, key, kind)? {
            return Ok(Some((lane, kind)));
        }
    }
    Ok(None)
}

/// Finds the tombstone of a customer that has this kind.
fn find_kind(
    store: &StoreConnection,
    key: &LaneKey,
    kind: TombstoneKind,
) -> rusqlite::Result<Option<LaneId>> {
    let possible = match kind {
        TombstoneKind::Erased(_) => store.tombstones(),
        TombstoneKind::Retired => store.retired(),
    };
    let Some(tombstones) = possible else {
        return Ok(None);
    };
    // A transfer from PostgreSQL has moved tombstones with the digests by which a sealed store finds lanes.
    let columns = codec::lane_columns(key);
    let moved = store.customer_key().map(|digests| digests.of(&columns));
    store
        .prepare_cached("SELECT id FROM lane WHERE kind = ?1 AND customer IN (?2, ?3)")?
        .query_row(
            params![
                codec::tombstone_kind(columns.kind, kind),
                tombstones.lane(key),
                moved
            ],
            |row| row.get(0).map(LaneId),
        )
        .optional()
}

/// Makes the tombstone of a customer a lane again, with this due time and this queue. Returns `None` if the customer has no
/// tombstone.
pub(super) fn revive(
    store: &StoreConnection,
    key: &LaneKey,
    (due, class): (Option<i64>, u8),
) -> rusqlite::Result<Option<(LaneId, TombstoneKind)>> {
    let Some((lane, tombstone)) = find(store, key)? else {
        return Ok(None);
    };
    let id = codec::lane_columns(key);
    let received = lane::stored_id(store.sealer(), lane, id.received)?;
    store
        .prepare_cached(
            "UPDATE lane SET kind = ?2, customer = ?3, received = ?4, due_at = ?5, low = ?6, idle = ?7 WHERE id = ?1",
        )?
        .execute(params![
            lane.0,
            id.kind,
            LookupIds::of(store, &id).new,
            columns::bound_text(&received),
            due,
            class,
            due.is_none()
        ])?;
    Ok(Some((lane, tombstone)))
}

/// Makes a lane the tombstone of its customer. Changes neither the versions of the lane nor the mark of values that an
/// earlier process possibly sent: if there is a mark, it then means any value.
pub(super) fn bury(
    store: &StoreConnection,
    lane: LaneId,
    key: &LaneKey,
    tombstone: TombstoneKind,
) -> rusqlite::Result<()> {
    let kind = codec::lane_columns(key).kind;
    store
        .prepare_cached(
            "UPDATE lane SET kind = ?2, customer = ?3, received = '', due_at = NULL, low = ?4, idle = 1, failures = 0,
                    spent = 0, tried_at = NULL, unfold_to = NULL, blamed_since = NULL, unproven_since = NULL,
                    absence = NULL, spelled = 0, maybe_sent = CASE maybe_sent WHEN 0 THEN 0 ELSE -1 END
             WHERE id = ?1",
        )?
        .execute(params![
            lane.0,
            codec::tombstone_kind(kind, tombstone),
            store.tombstone_key().map(|digests| digests.lane(key)),
            codec::NEW_LANE_CLASS,
        ])?;
    Ok(())
}

/// Creates the tombstone of an erased customer without a lane.
pub(super) fn create(
    store: &StoreConnection,
    key: &LaneKey,
    later: LaterEvents,
) -> rusqlite::Result<LaneId> {
    let kind = codec::lane_columns(key).kind;
    store.execute(
        "INSERT INTO lane (kind, customer, received, idle, low) VALUES (?1, ?2, '', 1, ?3)",
        params![
            codec::tombstone_kind(kind, TombstoneKind::Erased(later)),
            store.tombstone_key().map(|digests| digests.lane(key)),
            codec::NEW_LANE_CLASS,
        ],
    )?;
    Ok(LaneId(store.last_insert_rowid().unsigned_abs()))
}

/// Returns whether the bridge ignores the events of this customer, because an operator has erased and blocked it.
pub(super) fn is_blocked(
    store: &StoreConnection,
    customer: &CustomerRef,
) -> rusqlite::Result<bool> {
    let imprint = customer.imprint().cloned().map(LaneKey::Imprint);
    let partner = customer.partner().cloned();
    for key in imprint.into_iter().chain(partner.map(LaneKey::Partner)) {
        let blocked = TombstoneKind::Erased(LaterEvents::Ignored);
        if find_kind(store, &key, blocked)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the batch, in which the events of blocked customers are ignored.
pub(super) fn without_blocked<'a>(
    store: &StoreConnection,
    batch: &'a [NewEntry],
) -> rusqlite::Result<Cow<'a, [NewEntry]>> {
    let mut batch = Cow::Borrowed(batch);
    if store.tombstones().is_none() {
        return Ok(batch);
    }
    for place in 0..batch.len() {
        let change = batch.get(place).and_then(|new| change(&new.disposition));
        let is_blocked = change.map(|change| is_blocked(store, &change.customer));
        if is_blocked.transpose()?.unwrap_or_default()
            && let Some(new) = batch.to_mut().get_mut(place)
        {
            new.disposition = Disposition::Ignore(IgnoredEvent::from(IgnoreReason::Blocked));
        }
    }
    Ok(batch)
}

const fn change(disposition: &Disposition) -> Option<&CustomerChange> {
    match disposition {
        Disposition::Enqueue(change) | Disposition::Park(change, _) | Disposition::Hold(change) => {
            Some(change)
        }
        Disposition::Ignore(_) | Disposition::Invalid(_) => None,
    }
}
