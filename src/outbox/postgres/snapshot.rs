//! Reads of several statements that see one state of the store.

use super::connection::Connected;
use super::engine::Engine;
use super::fault::DbFault;
use crate::outbox::Error;

const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Engine {
    /// Runs a read of several statements that all see the same committed state.
    pub(super) async fn snapshot<T>(
        &self,
        read: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, Error> {
        self.read(async |db: &Connected| in_snapshot(db, &read).await)
            .await
    }
}

/// Runs a read of several statements that all see the same committed state.
pub(super) async fn in_snapshot<T>(
    db: &Connected,
    read: impl AsyncFn(&Connected) -> Result<T, DbFault>,
) -> Result<T, DbFault> {
    db.batch(BEGIN_SNAPSHOT).await?;
    match read(db).await {
        Ok(found) => {
            db.batch("COMMIT").await?;
            Ok(found)
        }
        Err(fault) => {
            // If this fails, the connection is closed.
            let _is_closed = db.batch("ROLLBACK").await;
            Err(fault)
        }
    }
}
