//! The change of the sealing key of a replica: after the process got other keys, or when the replicas share another key.

use std::sync::Arc;

use tokio_postgres::types::Type;

use super::columns::number;
use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use super::replica::{self, Registration};
use super::shared_keys::{listed, shared};
use super::{resealing, sealing_keys};
use crate::outbox::Error;
use crate::outbox::sealer::UsedKey;
use crate::sealing::KeyRing;

/// Uses these keys: registers them, and seals later records with the shared key.
pub(super) async fn adopt(engine: &Engine, ring: Arc<KeyRing>) -> Result<(), Error> {
    let mut pass = engine.resealing.lock().await;
    let registration = engine.registration();
    let adopted = engine.act(async |db: &Connected| {
        sealing_keys::lock(db).await?;
        hold(db, registration, &ring).await?;
        let shared = shared(db, &ring).await?;
        let used = sealing_keys::use_newest(db, &shared, &engine.digest_key).await?;
        Ok((shared, used))
    });
    let (shared, used) = adopted.await?;
    engine.ring.replace(ring);
    engine.sealer.replace(shared, used);
    *pass = None;
    resealing::publish(engine, None);
    Ok(())
}

/// Follows the other replicas: adopts the shared key again if another key is shared now, or if the database has lost its
/// listing in a crash.
pub(super) async fn follow(engine: &Engine) -> Result<(), DbFault> {
    let ring = Arc::clone(&engine.ring.borrow());
    let sealing = UsedKey::newest(&engine.sealer.ring());
    let has_older_form = engine.sealer.ring().has_older_form();
    let (connector, link) = (&engine.connector, &engine.links.tidy);
    let found = connector.read(link, async |db: &Connected| {
        let shared = shared(db, &ring).await?;
        let is_listed = sealing_keys::used(db).await?.contains(&sealing);
        let is_same = shared.has_older_form() == has_older_form;
        Ok((UsedKey::newest(&shared), is_listed && is_same))
    });
    if found.await? == (sealing, true) {
        return Ok(());
    }
    if adopt(engine, ring).await.is_ok() {
        tracing::info!(
            key = UsedKey::newest(&engine.sealer.ring())
                .id()
                .map(tracing::field::display),
            "the replicas share another sealing key now, and this replica seals with it"
        );
    }
    Ok(())
}

async fn hold(db: &Connected, registration: Registration, ring: &KeyRing) -> Result<(), DbFault> {
    replica::lock(db, registration).await?;
    let sql = "UPDATE imprint_bridge.replica SET keys = $2 WHERE owner = $1";
    let owner = number(registration.owner);
    db.execute(
        sql,
        &[(&owner, Type::INT8), (&listed(ring), Type::BYTEA_ARRAY)],
    )
    .await?;
    Ok(())
}
