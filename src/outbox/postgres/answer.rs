//! The answers of the runtime of the store to its callers.

use tokio::sync::oneshot;

use crate::outbox::{Error, STALLED_AFTER, StoreCondition, StoreFuture};

/// Waits for the answer to a command.
pub(super) fn wait<'a, T: Send + 'static>(
    sent: bool,
    answer: oneshot::Receiver<Result<T, Error>>,
) -> StoreFuture<'a, T> {
    Box::pin(async move {
        if !sent {
            return Err(Error::Closed);
        }
        answer.await.unwrap_or(Err(Error::Closed))
    })
}

/// Returns an error if the answer takes longer than [`STALLED_AFTER`].
pub(super) fn in_time<T: Send + 'static>(answer: StoreFuture<'_, T>) -> StoreFuture<'_, T> {
    Box::pin(async move {
        let answer = tokio::time::timeout(STALLED_AFTER, answer).await;
        answer.unwrap_or(Err(Error::Unavailable(StoreCondition::Stalled)))
    })
}
