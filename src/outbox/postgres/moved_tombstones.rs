//! The tombstones that a transfer from a file has moved into the store.
//!
//! A store in a file finds a tombstone by another digest than a store in PostgreSQL, and only the id has both digests. So a
//! moved tombstone keeps its digest, and gets the digests of this store when its customer or its event comes back: before
//! the store of an event, in a store that possibly has moved tombstones. Operators find it by its own digest.

use tokio_postgres::types::Type;

use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::keys::EventKeys;
use crate::event::{Attribute, Identity};
use crate::outbox::tombstone::TombstoneKey;
use crate::outbox::{LaneKey, Lookup};

/// Records that the store has moved tombstones, if a transfer has moved one.
pub(super) async fn announce(db: &Connected) -> Result<(), DbFault> {
    let sql =
        "INSERT INTO imprint_bridge.meta (name, value) SELECT 'moved_tombstones', '\\x0031'::bytea
         WHERE EXISTS (SELECT 1 FROM imprint_bridge.lane WHERE kind > 1)
             OR EXISTS (SELECT 1 FROM imprint_bridge.entry WHERE event_id LIKE 'erased-%')";
    db.execute(sql, &[]).await.map(|_| ())
}

/// Returns whether the store possibly has moved tombstones.
pub(super) async fn exist(db: &Connected) -> Result<bool, DbFault> {
    let sql = "SELECT 1 FROM imprint_bridge.meta WHERE name = 'moved_tombstones'";
    Ok(db.query_opt(sql, &[]).await?.is_some())
}

/// Returns the digests under which moved tombstones of these customers are stored, in hexadecimal digits. Returns `None` if
/// the store has no moved tombstone.
pub(super) fn names(engine: &Engine, keys: &[LaneKey]) -> Option<Vec<String>> {
    let tombstones = TombstoneKey::new(&engine.digest_key);
    let names = keys.iter().map(|key| tombstones.lane(key));
    engine.has_moved_tombstones.then(|| names.collect())
}

/// Gives the moved tombstones of these customers the digests of this store.
pub(super) async fn adopt_customers(
    db: &Connected,
    engine: &Engine,
    keys: impl Iterator<Item = LaneKey>,
) -> Result<(), DbFault> {
    if !engine.has_moved_tombstones {
        return Ok(());
    }
    let tombstones = TombstoneKey::new(&engine.digest_key);
    let (mut kinds, mut customers, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        let own = engine.digests.lane(&key);
        kinds.push(i16::from(own.kind));
        customers.push(own.customer.to_vec());
        moved.push(tombstones.lane(&key));
    }
    if kinds.is_empty() {
        return Ok(());
    }
    // The kind of a moved tombstone is 2 or 4 higher than the kind of the lane.
    let sql = "UPDATE imprint_bridge.lane AS l SET kind = u.kind, customer = u.customer
         FROM (SELECT DISTINCT * FROM unnest($1::smallint[], $2::bytea[], $3::text[]) AS u(kind, customer, moved)) AS u
         WHERE l.kind = ANY(ARRAY[u.kind + 2, u.kind + 4]::smallint[]) AND l.customer = decode(u.moved, 'hex')
             AND NOT EXISTS (SELECT 1 FROM imprint_bridge.lane o WHERE o.kind = u.kind AND o.customer = u.customer)";
    db.execute(
        sql,
        &[
            (&kinds, Type::INT2_ARRAY),
            (&customers, Type::BYTEA_ARRAY),
            (&moved, Type::TEXT_ARRAY),
        ],
    )
    .await
    .map(|_| ())
}

/// Gives the moved tombstones of these events the digests of this store.
pub(super) async fn adopt_events(
    db: &Connected,
    engine: &Engine,
    identities: impl Iterator<Item = &Identity>,
) -> Result<(), DbFault> {
    if !engine.has_moved_tombstones {
        return Ok(());
    }
    let tombstones = TombstoneKey::new(&engine.digest_key);
    let (mut own, mut own_ce, mut moved, mut moved_ce) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for identity in identities {
        let keys = engine.digests.event(identity);
        for other in moved_keys(engine, &tombstones, identity) {
            own.push(keys.event.to_vec());
            own_ce.push(keys.ce_source.to_vec());
            moved.push(other.event.to_vec());
            moved_ce.push(other.ce_source.to_vec());
        }
    }
    if own.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE imprint_bridge.entry AS e SET event_key = u.own, ce_key = u.own_ce
         FROM (SELECT DISTINCT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[]) AS u(own, own_ce, moved, moved_ce)) AS u
         WHERE e.event_key = u.moved AND e.ce_key = u.moved_ce
             AND NOT EXISTS (SELECT 1 FROM imprint_bridge.entry o WHERE o.event_key = u.own AND o.ce_key = u.own_ce)";
    db.execute(
        sql,
        &[
            (&own, Type::BYTEA_ARRAY),
            (&own_ce, Type::BYTEA_ARRAY),
            (&moved, Type::BYTEA_ARRAY),
            (&moved_ce, Type::BYTEA_ARRAY),
        ],
    )
    .await
    .map(|_| ())
}

/// Returns the digests of the moved tombstone of an event: of this program, and of an earlier program. Is empty if the store
/// has no moved tombstone.
pub(super) fn event_keys(engine: &Engine, lookup: &Lookup) -> Vec<EventKeys> {
    if !engine.has_moved_tombstones {
        return Vec::new();
    }
    let identity = Identity {
        source: lookup.source.clone(),
        ce_source: lookup.ce_source.clone(),
        id: lookup.id.clone(),
    };
    let tombstones = TombstoneKey::new(&engine.digest_key);
    moved_keys(engine, &tombstones, &identity).to_vec()
}

fn moved_keys(engine: &Engine, tombstones: &TombstoneKey, identity: &Identity) -> [EventKeys; 2] {
    let (source, id) = (identity.source.as_str(), identity.id.as_str());
    let ce_source = identity.ce_source.as_ref().map_or("", Attribute::as_str);
    let event = tombstones.event(source, ce_source, id);
    let event_id = tombstones.event_id(source, id);
    [(&event_id, event.as_str()), (&event, "")]
        .map(|(id, ce_source)| engine.digests.stored_event(source, ce_source, id))
}
