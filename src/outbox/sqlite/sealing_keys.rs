//! The table of the keys that possibly seal blobs of the store, and the key of the digests, which the newest key seals.
//!
//! Before the first blob is sealed with a key, the store lists the key on disk. So the store can tell a missing key from a
//! damaged key id, and knows which keys no blob needs any more.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::open_error::OpenError;
use super::store_connection::StoreConnection;
use super::{columns, erase};
use crate::failpoint::{self, CrashPoint};
use crate::outbox::codec::{self, BlobKind, CodecError};
use crate::outbox::keyed_digest::DigestKey;
use crate::outbox::sealer::{Sealer, UsedKey};
use crate::outbox::sealing_status::SealingStatus;
use crate::sealing::KeyRing;

/// Adds the sealer to the connection of an opened store. Lists the newest key of the ring, and seals the key of the
/// digests with it.
///
/// # Errors
/// Returns an error if the store is sealed and the ring has no key, or not the key that seals the digest key.
pub(super) fn unlock(
    connection: Connection,
    ring: Arc<KeyRing>,
    path: &Path,
) -> Result<(StoreConnection, DigestKey), OpenError> {
    let failed = OpenError::sqlite("reading its sealing keys");
    let used = used(&connection).map_err(&failed)?;
    if let (true, Some(key)) = (ring.is_empty(), used.iter().find_map(|used| used.id())) {
        return Err(OpenError::NoSealingKey {
            path: path.to_owned(),
            key,
        });
    }
    let store = StoreConnection::new(connection, Sealer::new(Arc::clone(&ring), used));
    let key = digest_key(&store, path)?;
    store.set_digest_key(&key);
    let used = list(&store, &ring, &key).map_err(failed)?;
    store.sealer().replace(ring, used);
    Ok((store, key))
}

/// Adds the sealer to the connection of a store that only a command reads. Lists no key.
pub(super) fn unlock_for_reading(
    connection: Connection,
    ring: Arc<KeyRing>,
) -> rusqlite::Result<StoreConnection> {
    // A store that no newer program has opened has no such table yet.
    let has_table = connection
        .prepare("SELECT 1 FROM sqlite_master WHERE name = 'sealing_key'")?
        .exists([])?;
    let used = match has_table {
        true => used(&connection)?,
        false => BTreeSet::from([UsedKey::Plain]),
    };
    Ok(StoreConnection::new(connection, Sealer::new(ring, used)))
}

/// Returns the state of the sealing of a store whose lanes nobody has claimed. If the mark of the remains cannot be read,
/// nothing shows that the store has none.
pub(super) fn status(store: &StoreConnection) -> SealingStatus {
    let sealer = store.sealer();
    SealingStatus {
        has_remains: erase::has_remains(store).unwrap_or(true),
        ..SealingStatus::of(&sealer.ring(), &sealer.used())
    }
}

/// Stores the key of the digests in a new store, which has no blob yet.
pub(super) fn begin(
    connection: &Connection,
    ring: &Arc<KeyRing>,
    key: &DigestKey,
) -> rusqlite::Result<()> {
    let newest = UsedKey::newest(ring);
    let sealed = seal_digest_key(ring, key)?;
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('digest_key', ?1)",
        [sealed],
    )?;
    connection.execute("UPDATE sealing_key SET id = ?1", [newest.bytes()])?;
    Ok(())
}

fn seal_digest_key(ring: &Arc<KeyRing>, key: &DigestKey) -> rusqlite::Result<Vec<u8>> {
    let sealer = Sealer::new(Arc::clone(ring), BTreeSet::new());
    let sealed = codec::seal(&sealer, BlobKind::DigestKey, 0, key).map_err(columns::unwritable)?;
    Ok(sealed.unwrap_or_else(|| key.to_vec()))
}

/// Lists the newest key of a ring, and seals the key of the digests with it, in one transaction. Returns the keys that
/// the store uses.
pub(super) fn list(
    store: &StoreConnection,
    ring: &Arc<KeyRing>,
    key: &DigestKey,
) -> rusqlite::Result<BTreeSet<UsedKey>> {
    let newest = UsedKey::newest(ring);
    let transaction = store.unchecked_transaction()?;
    transaction
        .prepare_cached("INSERT OR IGNORE INTO sealing_key (id) VALUES (?1)")?
        .execute([newest.bytes()])?;
    let stored = stored_digest_key(store)?;
    if key_of_digest_key(&stored) != Some(newest) {
        store.execute(
            "UPDATE meta SET value = ?1 WHERE name = 'digest_key'",
            [seal_digest_key(ring, key)?],
        )?;
        if key_of_digest_key(&stored) == Some(UsedKey::Plain) {
            erase::unmark(store)?;
        }
    }
    let used = used(store)?;
    failpoint::crash_point(CrashPoint::BeforeKeyListing);
    transaction.commit()?;
    failpoint::crash_point(CrashPoint::AfterKeyListing);
    Ok(used)
}

/// Removes keys that no blob needs any more, and damaged ids, from the list.
pub(super) fn forget(store: &Connection, keys: &BTreeSet<UsedKey>) -> rusqlite::Result<()> {
    store.execute(
        "DELETE FROM sealing_key WHERE typeof(id) <> 'blob' OR length(id) NOT IN (0, 8)",
        [],
    )?;
    for key in keys {
        store
            .prepare_cached("DELETE FROM sealing_key WHERE id = ?1")?
            .execute([key.bytes()])?;
    }
    Ok(())
}

/// Reads the list of keys. A damaged id possibly stands for blobs that are not sealed.
pub(super) fn used(connection: &Connection) -> rusqlite::Result<BTreeSet<UsedKey>> {
    let mut statement = connection.prepare_cached("SELECT id FROM sealing_key")?;
    let keys = statement.query_map([], |row| {
        let key = row.get_ref(0)?.as_blob().ok().and_then(UsedKey::from_bytes);
        Ok(key.unwrap_or(UsedKey::Plain))
    })?;
    keys.collect()
}

fn stored_digest_key(connection: &Connection) -> rusqlite::Result<Vec<u8>> {
    let stored = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'digest_key'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(stored.unwrap_or_default())
}

/// Opens the stored digest key, and derives the digests of the store from it. Returns the key that seals it.
///
/// # Errors
/// Returns an error if the digest key is missing or damaged, or its sealing key is missing.
pub(super) fn open_digest_key(store: &StoreConnection) -> Result<Option<UsedKey>, CodecError> {
    let damaged = CodecError::NoText {
        kind: BlobKind::DigestKey,
        record: 0,
    };
    let Ok(stored) = stored_digest_key(store) else {
        return Err(damaged);
    };
    if stored.len() == size_of::<DigestKey>() {
        return Ok(Some(UsedKey::Plain));
    }
    let opened = codec::decode_bytes(store.sealer(), BlobKind::DigestKey, 0, &stored)?;
    let key = opened.as_ref().try_into().map_err(|_length| damaged)?;
    store.set_digest_key(key);
    Ok(UsedKey::of_blob(&stored))
}

/// Returns the key that seals the stored digest key. Random bytes can begin as a sealed blob begins, so the length
/// decides.
fn key_of_digest_key(stored: &[u8]) -> Option<UsedKey> {
    if stored.len() == size_of::<DigestKey>() {
        Some(UsedKey::Plain)
    } else {
        UsedKey::of_blob(stored)
    }
}

fn digest_key(store: &StoreConnection, path: &Path) -> Result<DigestKey, OpenError> {
    let stored = stored_digest_key(store);
    let stored = stored.map_err(OpenError::sqlite("reading the digest key"))?;
    if let Ok(plain) = stored.as_slice().try_into() {
        return Ok(plain);
    }
    let opened = codec::decode_bytes(store.sealer(), BlobKind::DigestKey, 0, &stored);
    let key = opened.map_err(|error| match error.missing_key() {
        Some(key) => OpenError::DigestKeySealed {
            path: path.to_owned(),
            key,
        },
        None => OpenError::DigestKeyDamaged(path.to_owned()),
    })?;
    let key = key.as_ref().try_into();
    key.map_err(|_length| OpenError::DigestKeyDamaged(path.to_owned()))
}
