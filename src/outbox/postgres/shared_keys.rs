//! The sealing key that all replicas share: the newest key that every registered replica holds.
//!
//! Operators give a new key to one replica after the other. If the first replica sealed with the new key at once, the other
//! replicas could not read its records, and the customers of these records would wait. So each registration lists the keys
//! of its process, and a replica seals with an older key until the newest key has reached every replica. While a
//! store is not sealed yet, no replica seals until every replica has a key.
//!
//! Starts and changes of the key lock the digest key, which the shared key seals: a process that starts meanwhile either
//! counts as a replica, or finds the digest key sealed with a key that it must have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::columns::get;
use super::connection::Connected;
use super::fault::DbFault;
use super::sealing_keys;
use crate::sealing::{KeyId, KeyRing};

/// The entry in the list of a process with keys that reads updates which are bound to what routes and orders them. An older
/// program does not list it, and could not read such an update.
const BOUND_UPDATES: &[u8; 8] = b"bound-up";

/// Returns the keys of a ring as a registration lists them.
pub(super) fn listed(ring: &KeyRing) -> Vec<Vec<u8>> {
    let keys = ring.ids().map(|id| id.bytes().to_vec());
    let mut listed: Vec<Vec<u8>> = keys.collect();
    if !listed.is_empty() {
        listed.push(BOUND_UPDATES.to_vec());
    }
    listed
}

/// Returns the same keys with the shared key as the sealing key. If the replicas share no key, each seals with its newest
/// key. While an older program is one of the replicas, the updates of new entries have the form of that program.
pub(super) async fn shared(db: &Connected, ring: &KeyRing) -> Result<Arc<KeyRing>, DbFault> {
    let used = sealing_keys::used(db).await?;
    let is_sealed = used.iter().any(|used| used.id().is_some());
    let sql = "SELECT keys FROM imprint_bridge.replica";
    let mut held: Vec<BTreeSet<KeyId>> = Vec::new();
    for row in &db.query(sql, &[]).await? {
        let keys: Vec<&[u8]> = get(row, 0)?;
        held.push(keys.into_iter().filter_map(KeyId::from_bytes).collect());
    }
    // A replica that has lost all its keys must not unseal the store.
    held.retain(|keys| !(is_sealed && keys.is_empty()));
    let shared = ring.sealing_with(|id| held.iter().all(|keys| keys.contains(&id)));
    let is_plain = held.iter().any(BTreeSet::is_empty);
    let ring = match shared.is_empty() && !is_plain {
        true => ring.clone(),
        false => shared,
    };
    let bound = KeyId::from_bytes(BOUND_UPDATES);
    let reads_bound = |keys: &BTreeSet<KeyId>| bound.is_some_and(|bound| keys.contains(&bound));
    Ok(Arc::new(
        ring.with_older_form(!held.iter().all(reads_bound)),
    ))
}
