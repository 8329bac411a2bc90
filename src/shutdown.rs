//! Unix signals: SIGTERM and SIGINT stop the process, SIGXFSZ and SIGHUP must not stop it.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// A listener for SIGTERM, which Kubernetes sends, and SIGINT, which a terminal sends.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Starts to handle SIGTERM and SIGINT, and to ignore SIGXFSZ.
    ///
    /// If the process ignores SIGXFSZ, a write beyond its file size limit fails with EFBIG, and the store treats this
    /// error as a full disk.
    ///
    /// # Errors
    /// Fails if the operating system refuses the signal handlers.
    pub fn listen() -> io::Result<Self> {
        // Dropping the listener does not remove the handler, which stays in place for the life of the process.
        drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and returns the name of the signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A listener for SIGHUP. An operator sends this signal to make the bridge read its secret files again.
#[derive(Debug)]
pub struct Hangups(tokio::signal::unix::Signal);

impl Hangups {
    /// Starts to handle SIGHUP, which otherwise ends the process.
    ///
    /// # Errors
    /// Fails if the operating system refuses the signal handler.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next SIGHUP.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}
