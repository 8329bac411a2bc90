//! Shares the destination with the other processes of the store: one task of the process.
//!
//! The task looks about once a second for the mode that an operator has set, for the state of the destination on which
//! the processes agree, and for customers that an operator has erased at another process. It orders tokens of the rate limit when dispatch needs tokens, and proposes changes of the state.
//! All decisions are in [`Destination`]. A store that belongs to one process has nothing to share.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::destination::{Destination, OperatorMode, StateChange};
use crate::metrics::DispatchMetrics;
use crate::outbox::{Error, Forgotten, ReplicaReport, SharedDestination, SharedSettings};
use crate::random::jitter;
use crate::time::{Clock, Timestamp};

/// The mean time between two looks into the store. With the jitter and the time of a look, a change of the mode reaches
/// every process within two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(800);
/// The pause after an exchange that the store refused.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The task that shares the destination.
#[derive(Debug)]
pub struct Sharing {
    outbox: Arc<dyn SharedDestination>,
    destination: Arc<Destination>,
    clock: Clock,
    metrics: DispatchMetrics,
    /// True if other processes possibly use the same store.
    is_shared: bool,
}

impl Sharing {
    /// Takes over what the other processes know. The API key of the destination must be known.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn start(
        outbox: Arc<dyn SharedDestination>,
        destination: &Arc<Destination>,
        (clock, metrics): (&Clock, &DispatchMetrics),
    ) -> Result<Self, Error> {
        let mut sharing = Self {
            outbox,
            destination: Arc::clone(destination),
            clock: clock.clone(),
            metrics: metrics.clone(),
            is_shared: false,
        };
        sharing.is_shared = sharing.exchange(true).await?;
        if sharing.is_shared {
            sharing.destination.share();
        }
        Ok(sharing)
    }

    /// Shares the destination, without end.
    pub async fn run(&self) {
        if !self.is_shared {
            return pending().await;
        }
        let mut look_at = self.next_look();
        loop {
            let asked = self.destination.asked();
            let now = self.clock.now();
            let exchange_at = self.destination.next_exchange(now);
            let next = exchange_at.map_or(look_at, |at| look_at.min(at));
            if now < next {
                tokio::select! {
                    () = self.clock.sleep_until(next) => {}
                    () = asked => {}
                }
                continue;
            }
            let looks = look_at <= now;
            if let Err(error) = self.exchange(looks).await {
                tracing::debug!(error = %error, "the store did not share the destination");
                self.forget_without_lease();
                let again_at = self.clock.now().after(RETRY_AFTER);
                self.clock.sleep_until(again_at).await;
            } else if looks {
                look_at = self.next_look();
            }
        }
    }

    fn next_look(&self) -> Timestamp {
        let pause = LOOK_EVERY.mul_f64(0.75 + jitter() / 2.0);
        self.clock.now().after(pause)
    }

    /// Orders the tokens that dispatch needs, and looks at the settings. Returns `false` if the store belongs to this
    /// process alone.
    async fn exchange(&self, looks: bool) -> Result<bool, Error> {
        let destination = &self.destination;
        let now = self.clock.now();
        let mode_changes = destination.mode_changes();
        let proposed = destination.propose(now);
        let report = ReplicaReport {
            key: destination.key(),
            tokens: destination.order(now),
            proposal: proposed.as_ref().map(|it| it.proposal.clone()),
            looks,
        };
        let order = report.tokens;
        let Some(view) = self.outbox.exchange(report).await? else {
            return Ok(false);
        };
        if let Some((order, grant)) = order.zip(view.tokens) {
            destination.ordered(order, grant, (now, self.clock.now()));
        }
        if let Some(settings) = view.settings {
            self.adopt_mode(&settings, mode_changes);
        }
        match view.forgotten {
            Forgotten::Nobody => {}
            Forgotten::Lanes(lanes) => {
                destination.forget(&lanes);
                self.outbox.confirm_forgotten(lanes).await?;
            }
            Forgotten::Everybody => destination.forget_all(),
        }
        let agreed = view.agreed;
        let states =
            agreed.and_then(|view| destination.agree(proposed.as_ref(), &view, self.clock.now()));
        if let Some((from, to)) = states {
            self.metrics.destination_state(to.as_str());
            destination.record_change(StateChange {
                to: to.as_str(),
                at: self.clock.now(),
                outcome: "another_bridge",
                cause: String::new(),
            });
            tracing::warn!(
                from = from.as_str(),
                to = to.as_str(),
                "the destination changed its state for another replica"
            );
        }
        Ok(true)
    }

    /// Forgets all customers if other bridges possibly erased some of them without waiting for this bridge.
    fn forget_without_lease(&self) {
        if self.outbox.has_lost_lease() {
            self.destination.forget_all();
        }
    }

    /// Takes over the mode in the store.
    fn adopt_mode(&self, settings: &SharedSettings, mode_changes: u64) {
        let stored = settings.mode.as_deref().and_then(OperatorMode::parse);
        let mode = stored.unwrap_or_default();
        if let Some(before) = self.destination.adopt_mode(mode, mode_changes) {
            tracing::warn!(
                from = before.as_str(),
                to = mode.as_str(),
                "another replica changed the destination mode"
            );
        }
    }
}
