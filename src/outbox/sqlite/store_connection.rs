//! The connection to an open store, together with the sealer of the store's blobs.

use std::fmt;
use std::ops::Deref;

use rusqlite::Connection;

use crate::outbox::sealer::Sealer;

/// The connection to an open store, and the sealer with which the codec reads and writes the blobs of the store.
pub(super) struct StoreConnection {
    connection: Connection,
    sealer: Sealer,
}

impl StoreConnection {
    pub(super) const fn new(connection: Connection, sealer: Sealer) -> Self {
        Self { connection, sealer }
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
