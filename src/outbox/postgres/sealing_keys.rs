//! The list of the keys that possibly seal blobs of the store, and the key of the digests.
//!
//! Before the first blob is sealed with a key, the store lists the key. So the store can tell a missing key from a damaged
//! key id.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::columns::get;
use super::connection::Connected;
use super::fault::DbFault;
use super::shared_keys;
use crate::failpoint::{self, CrashPoint};
use crate::outbox::codec::{self, BlobKind, CodecError};
use crate::outbox::keyed_digest::DigestKey;
use crate::outbox::sealer::{Sealer, UsedKey};
use crate::random;
use crate::sealing::{KeyId, KeyRing};

/// What a process needs to read and write the blobs of the store, or the key that the process lacks.
pub(super) enum Unlocked {
    Open(Sealer, DigestKey),
    NoKey(KeyId),
}

/// Reads the list of keys and the digest key, and creates both in a new store. Lists the key that all replicas share, and
/// seals the digest key with it.
pub(super) async fn unlock(db: &Connected, all: &Arc<KeyRing>) -> Result<Unlocked, DbFault> {
    let created = create(db, &shared_keys::shared(db, all).await?).await?;
    lock(db).await?;
    let used = used(db).await?;
    if let (true, Some(key)) = (all.is_empty(), used.iter().find_map(|used| used.id())) {
        return Ok(Unlocked::NoKey(key));
    }
    let ring = shared_keys::shared(db, all).await?;
    let sealer = Sealer::new(Arc::clone(&ring), used);
    let stored = stored_digest_key(db).await?;
    let key = match open(&sealer, &stored) {
        Err(DbFault::Codec(error)) if error.missing_key().is_some() => {
            let missing = error.missing_key();
            return missing.map(Unlocked::NoKey).ok_or(DbFault::Codec(error));
        }
        key => key?,
    };
    let newest = UsedKey::newest(&ring);
    if !created && key_of(&stored) != Some(newest) {
        write_digest_key(db, &sealed(&ring, &key)?).await?;
    }
    let used = list(db, newest).await?;
    failpoint::crash_point(CrashPoint::BeforeKeyListing);
    sealer.replace(ring, used);
    Ok(Unlocked::Open(sealer, key))
}

/// Makes other starts and changes of the shared key wait until the commit.
pub(super) async fn lock(db: &Connected) -> Result<(), DbFault> {
    let sql = "SELECT 1 FROM imprint_bridge.meta WHERE name = 'digest_key' FOR UPDATE";
    db.query(sql, &[]).await.map(|_row| ())
}

/// Creates the digest key of a new store. Returns `false` if the store has a digest key.
async fn create(db: &Connected, ring: &Arc<KeyRing>) -> Result<bool, DbFault> {
    let mut key = [0; size_of::<DigestKey>()];
    if random::fill_random(&mut key).is_err() {
        return Err(DbFault::Damaged(
            "the random source of the operating system",
        ));
    }
    let sql = "INSERT INTO imprint_bridge.meta (name, value) VALUES ('digest_key', $1) ON CONFLICT (name) DO NOTHING";
    let inserted = db
        .execute(sql, &[(&sealed(ring, &key)?, Type::BYTEA)])
        .await?;
    if inserted > 0 {
        list(db, UsedKey::newest(ring)).await?;
    }
    Ok(inserted > 0)
}

/// Stores the digest key of a new store, and lists the newest key.
pub(super) async fn begin(
    db: &Connected,
    ring: &Arc<KeyRing>,
    key: &DigestKey,
) -> Result<(), DbFault> {
    let sql = "INSERT INTO imprint_bridge.meta (name, value) VALUES ('digest_key', $1)";
    db.execute(sql, &[(&sealed(ring, key)?, Type::BYTEA)])
        .await?;
    list(db, UsedKey::newest(ring)).await.map(|_| ())
}

fn sealed(ring: &Arc<KeyRing>, key: &DigestKey) -> Result<Vec<u8>, DbFault> {
    let sealer = Sealer::new(Arc::clone(ring), BTreeSet::new());
    let sealed = codec::seal(&sealer, BlobKind::DigestKey, 0, key)?;
    Ok(sealed.unwrap_or_else(|| key.to_vec()))
}

/// Opens the stored digest key. Random bytes can begin as a sealed blob begins, so the length decides.
fn open(sealer: &Sealer, stored: &[u8]) -> Result<DigestKey, DbFault> {
    if let Ok(plain) = stored.try_into() {
        return Ok(plain);
    }
    let opened = codec::decode_bytes(sealer, BlobKind::DigestKey, 0, stored)?;
    let key = opened.as_ref().try_into();
    key.map_err(|_length| DbFault::Damaged("the digest key"))
}

/// Opens the stored digest key for a verification. Returns the key that seals it, and the digest key if it could be opened.
pub(super) async fn examine_digest_key(
    db: &Connected,
    sealer: &Sealer,
) -> Result<(Result<Option<UsedKey>, CodecError>, Option<DigestKey>), DbFault> {
    let stored = match stored_digest_key(db).await {
        // A missing key is a key without bytes.
        Err(DbFault::Damaged(_)) => Vec::new(),
        stored => stored?,
    };
    Ok(match open(sealer, &stored) {
        Ok(key) => (Ok(key_of(&stored)), Some(key)),
        Err(DbFault::Codec(error)) => (Err(error), None),
        Err(_length) => {
            let (kind, record) = (BlobKind::DigestKey, 0);
            (Err(CodecError::NoText { kind, record }), None)
        }
    })
}

/// Returns the key that seals the stored digest key.
fn key_of(stored: &[u8]) -> Option<UsedKey> {
    if stored.len() == size_of::<DigestKey>() {
        Some(UsedKey::Plain)
    } else {
        UsedKey::of_blob(stored)
    }
}

async fn stored_digest_key(db: &Connected) -> Result<Vec<u8>, DbFault> {
    let sql = "SELECT value FROM imprint_bridge.meta WHERE name = 'digest_key'";
    let row = db.query_opt(sql, &[]).await?;
    row.as_ref()
        .map_or(Err(DbFault::Damaged("the digest key")), |row| get(row, 0))
}

/// Lists a key, and returns all listed keys.
pub(super) async fn list(db: &Connected, key: UsedKey) -> Result<BTreeSet<UsedKey>, DbFault> {
    let sql = "INSERT INTO imprint_bridge.sealing_key (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    db.execute(sql, &[(&key.bytes(), Type::BYTEA)]).await?;
    used(db).await
}

/// Reads the list of keys. A damaged id possibly stands for blobs that are not sealed.
pub(super) async fn used(db: &Connected) -> Result<BTreeSet<UsedKey>, DbFault> {
    let sql = "SELECT id FROM imprint_bridge.sealing_key";
    let rows = db.query(sql, &[]).await?;
    let keys = rows.iter().map(|row| {
        let id: &[u8] = get(row, 0)?;
        Ok(UsedKey::from_bytes(id).unwrap_or(UsedKey::Plain))
    });
    keys.collect()
}

/// Lists the sealing key of the ring, and seals the digest key with it. Returns all listed keys. The caller has locked the
/// digest key.
pub(super) async fn use_newest(
    db: &Connected,
    ring: &Arc<KeyRing>,
    key: &DigestKey,
) -> Result<BTreeSet<UsedKey>, DbFault> {
    let newest = UsedKey::newest(ring);
    let used = list(db, newest).await?;
    let stored = stored_digest_key(db).await?;
    if key_of(&stored) != Some(newest) {
        write_digest_key(db, &sealed(ring, key)?).await?;
    }
    failpoint::crash_point(CrashPoint::BeforeKeyListing);
    Ok(used)
}

async fn write_digest_key(db: &Connected, stored: &[u8]) -> Result<(), DbFault> {
    let sql = "UPDATE imprint_bridge.meta SET value = $1 WHERE name = 'digest_key'";
    db.execute(sql, &[(&stored, Type::BYTEA)]).await?;
    Ok(())
}

/// Removes keys that no value needs any more, and damaged ids, from the list. Returns the listed keys.
pub(super) async fn forget(
    db: &Connected,
    keys: &BTreeSet<UsedKey>,
) -> Result<BTreeSet<UsedKey>, DbFault> {
    let keys: Vec<&[u8]> = keys.iter().map(UsedKey::bytes).collect();
    let sql =
        "DELETE FROM imprint_bridge.sealing_key WHERE id = ANY($1) OR length(id) NOT IN (0, 8)";
    db.execute(sql, &[(&keys, Type::BYTEA_ARRAY)]).await?;
    used(db).await
}
