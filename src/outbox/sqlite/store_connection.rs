//! The connection to an open store, together with the sealer of the store's blobs.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::ops::Deref;

use rusqlite::Connection;

use crate::outbox::erasure_journal::ErasureJournal;
use crate::outbox::keyed_digest::CustomerDigests;
use crate::outbox::sealer::Sealer;
use crate::outbox::tombstone::TombstoneKey;

pub(super) mod lookup_id;

/// The connection to an open store, and the sealer with which the codec reads and writes the blobs of the store.
pub(super) struct StoreConnection {
    connection: Connection,
    sealer: Sealer,
    /// The key of the tombstones. A command that only reads the store does not set the key.
    tombstone_key: OnceCell<TombstoneKey>,
    /// The digests of customer ids. A command that only reads the store does not set them.
    customer_digests: OnceCell<CustomerDigests>,
    /// True if the store possibly has tombstones of erasures. Otherwise the store looks for none.
    has_tombstones: Cell<bool>,
    /// True if the store possibly has tombstones of retired customers. Otherwise the store looks for none.
    has_retired: Cell<bool>,
    /// The journal of the erasures.
    journal: RefCell<Option<ErasureJournal>>,
}

impl StoreConnection {
    pub(super) const fn new(connection: Connection, sealer: Sealer) -> Self {
        Self {
            connection,
            sealer,
            tombstone_key: OnceCell::new(),
            customer_digests: OnceCell::new(),
            has_tombstones: Cell::new(false),
            has_retired: Cell::new(false),
            journal: RefCell::new(None),
        }
    }

    /// Derives the keys of the tombstones and of the digests of customer ids from the key of the content digests, which
    /// never changes.
    pub(super) fn set_digest_key(&self, key: &[u8; 32]) {
        self.tombstone_key.get_or_init(|| TombstoneKey::new(key));
        self.customer_digests
            .get_or_init(|| CustomerDigests::new(key));
    }

    /// Records that the store possibly has tombstones of erasures.
    pub(super) fn expect_tombstones(&self) {
        self.has_tombstones.set(true);
    }

    /// Records that the store possibly has tombstones of retired customers.
    pub(super) fn expect_retired(&self) {
        self.has_retired.set(true);
    }

    /// Sets the journal of the erasures.
    pub(super) fn set_journal(&self, journal: ErasureJournal) {
        self.journal.replace(Some(journal));
    }

    /// Runs an action with the journal of the erasures. Returns `None` if the store has no journal.
    pub(super) fn with_journal<T>(&self, run: impl FnOnce(&mut ErasureJournal) -> T) -> Option<T> {
        self.journal.borrow_mut().as_mut().map(run)
    }

    /// Returns the key of the tombstones.
    pub(super) fn tombstone_key(&self) -> Option<&TombstoneKey> {
        self.tombstone_key.get()
    }

    /// Returns the key of the tombstones if the store possibly has tombstones of erasures.
    pub(super) fn tombstones(&self) -> Option<&TombstoneKey> {
        self.tombstone_key().filter(|_| self.has_tombstones.get())
    }

    /// Returns the key of the tombstones if the store possibly has tombstones of retired customers.
    pub(super) fn retired(&self) -> Option<&TombstoneKey> {
        self.tombstone_key().filter(|_| self.has_retired.get())
    }

    /// Returns the digests of customer ids, also if the store is not sealed.
    pub(super) fn customer_key(&self) -> Option<&CustomerDigests> {
        self.customer_digests.get()
    }

    /// Returns the digests that replace customer ids. Returns `None` if the store is not sealed: it then contains the ids.
    pub(super) fn customer_digests(&self) -> Option<&CustomerDigests> {
        self.customer_digests
            .get()
            .filter(|_| self.sealer.has_key())
    }

    pub(super) const fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

impl Deref for StoreConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl fmt::Debug for StoreConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConnection").finish_non_exhaustive()
    }
}
