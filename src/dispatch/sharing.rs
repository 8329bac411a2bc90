//! Shares the destination with the other processes of the store: one task of the process.
//!
//! The task asks the store about once a second. A store that belongs to one process has nothing to share, and the task
//! does nothing.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::destination::{Destination, OperatorMode};
use crate::outbox::{Error, SharedDestination, SharedView};
use crate::random::jitter;
use crate::time::Clock;

/// The mean time between two looks into the store. With the jitter and the time of a look, a change of the mode reaches
/// every process within two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(800);

/// The task that shares the destination.
#[derive(Debug)]
pub struct Sharing {
    outbox: Arc<dyn SharedDestination>,
    destination: Arc<Destination>,
    clock: Clock,
    /// True if other processes possibly use the same store.
    is_shared: bool,
}

impl Sharing {
    /// Takes over what the other processes know.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn start(
        outbox: Arc<dyn SharedDestination>,
        destination: &Arc<Destination>,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let mut sharing = Self {
            outbox,
            destination: Arc::clone(destination),
            clock: clock.clone(),
            is_shared: false,
        };
        sharing.is_shared = sharing.exchange().await?;
        Ok(sharing)
    }

    /// Shares the destination, without end.
    pub async fn run(&self) {
        if !self.is_shared {
            return pending().await;
        }
        loop {
            let pause = LOOK_EVERY.mul_f64(0.75 + jitter() / 2.0);
            self.clock.sleep_until(self.clock.now().after(pause)).await;
            if let Err(error) = self.exchange().await {
                tracing::debug!(error = %error, "the store does not say what the other replicas know");
            }
        }
    }

    /// Takes over what the other processes know. Returns `false` if the store belongs to this process alone.
    async fn exchange(&self) -> Result<bool, Error> {
        let mode_changes = self.destination.mode_changes();
        let Some(SharedView { mode }) = self.outbox.exchange().await? else {
            return Ok(false);
        };
        let mode = mode.and_then(|mode| OperatorMode::parse(&mode));
        let mode = mode.unwrap_or_default();
        if let Some(before) = self.destination.adopt_mode(mode, mode_changes) {
            tracing::warn!(
                from = before.as_str(),
                to = mode.as_str(),
                "another replica changed the destination mode"
            );
        }
        Ok(true)
    }
}
