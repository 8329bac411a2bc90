//! Runs the work of operators that maps or explains events on a thread of its own. The events of one request can need many
//! seconds, and the thread of the operators' listener also answers the health checks.

use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use super::{Error, Operations};

/// The maximum number of threads that map events for operators. One thread uses one processor, and deliveries need the
/// others.
const THREADS_MAX: usize = 1;

/// Limits the work in progress. Further work waits.
#[derive(Clone, Debug)]
pub struct MappingWork(Arc<Semaphore>);

impl Default for MappingWork {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS_MAX)))
    }
}

impl Operations {
    /// Runs `work` on a thread, and waits for the result. If the operator waits no longer, the work that has begun still
    /// runs to its end, and keeps its place until then.
    ///
    /// # Errors
    /// Returns an error if the system starts no thread.
    pub(super) async fn map_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.mapping_work.0).acquire_owned().await;
        let (result, mapped) = oneshot::channel();
        let run = move || {
            // The operator possibly waits no longer.
            let _unheard: Result<(), T> = result.send(work());
            drop(place);
        };
        let started = thread::Builder::new().name("mapping".to_owned()).spawn(run);
        started.map_err(|_error| Error::NoThread)?;
        mapped.await.map_err(|_panicked| Error::NoThread)
    }
}
