//! A sandbox that runs on its own thread until its owner drops it.

use std::fmt;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;

use crate::time::Clock;

use super::{Error, RunningSandbox, Sandbox, SandboxSettings};

/// A sandbox on its own thread. The sandbox stops when the `BackgroundSandbox` is dropped.
pub struct BackgroundSandbox {
    /// The address on which the sandbox listens.
    pub address: SocketAddr,
    /// The sandbox's state: received calls, customers and faults.
    pub sandbox: Sandbox,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for BackgroundSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundSandbox")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl BackgroundSandbox {
    /// Binds the sandbox's listener and starts the sandbox's thread.
    ///
    /// # Errors
    /// Returns the errors of [`Sandbox::start`], and [`Error::Thread`] if the thread cannot be started.
    pub fn start(settings: SandboxSettings, clock: Clock) -> Result<Self, Error> {
        let RunningSandbox {
            address,
            sandbox,
            handle,
            server,
        } = Sandbox::start(settings, clock)?;
        let serve = move || {
            if let Err(error) = System::new().block_on(server) {
                tracing::error!(%error, "the sandbox's server failed");
            }
        };
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(serve)
            .map_err(Error::Thread)?;
        Ok(Self {
            address,
            sandbox,
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for BackgroundSandbox {
    fn drop(&mut self) {
        // The call of `stop` stops the server at once. The returned future only waits until the server has stopped, so
        // the future can be dropped: the join in the next line waits for the thread.
        drop(self.handle.stop(false));
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the sandbox's thread panicked");
        }
    }
}
