//! Looks at a disk on a thread of its own, one look at a time: if the disk does not respond, only one thread hangs.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;

use tokio::sync::oneshot;

use super::listeners::yield_to_delivery;

/// The place of the one look.
#[derive(Clone, Debug, Default)]
pub(super) struct OneLook(Arc<Mutex<()>>);

impl OneLook {
    /// Begins a look. Returns `None` while another look runs.
    pub(super) fn begin(&self) -> Option<MutexGuard<'_, ()>> {
        match self.0.try_lock() {
            Ok(place) => Some(place),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Starts a look on a new thread, and returns its result. There is no result if another look runs, or if the thread
    /// cannot start.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (end, ended) = oneshot::channel();
        let place = self.clone();
        let run = move || {
            yield_to_delivery();
            if let Some(_place) = place.begin() {
                // The caller possibly waits no longer.
                let _unheard: Result<(), T> = end.send(look());
            }
        };
        let started = thread::Builder::new().name("look".to_owned()).spawn(run);
        if let Err(error) = started {
            tracing::error!(error = %error, "cannot start a thread that reads files");
        }
        ended.await.ok()
    }
}
