//! Obeys the mass-change brakes that operators have opened, at this bridge or at another one with the same store, and divides the
//! limits of the brakes between the bridges.

use std::sync::Arc;
use std::time::Duration;

use super::sources::RunningSources;
use crate::intake::OpenBrakes;
use crate::ops::operate::LiveSources as _;
use crate::outbox::{Outbox, Setting};
use crate::time::Clock;

/// The time between two looks at the store. A change must reach every bridge within 2 s.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct BrakesWatch {
    outbox: Arc<dyn Outbox>,
    running: Arc<RunningSources>,
    clock: Clock,
}

impl BrakesWatch {
    /// Obeys the open brakes of the store.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub(super) async fn start(
        outbox: Arc<dyn Outbox>,
        running: &Arc<RunningSources>,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let watch = Self {
            outbox,
            running: Arc::clone(running),
            clock: clock.clone(),
        };
        watch.look().await?;
        Ok(watch)
    }

    /// Obeys the changes of the open brakes, and never returns. While the store fails, the brakes stay as they are: the bridge
    /// reports a failing store elsewhere, and accepts nothing.
    pub(super) async fn run(&self) {
        loop {
            self.clock.sleep(LOOK_EVERY).await;
            drop(self.look().await);
        }
    }

    async fn look(&self) -> anyhow::Result<()> {
        let bridges = self.outbox.bridges().await?;
        self.running.set_bridges(bridges, self.clock.now());
        let changes = self.running.brake_changes();
        let stored = self.outbox.setting(Setting::OpenBrakes).await?;
        // Otherwise, an operator has changed a brake at this bridge, and the text is possibly older.
        if changes == self.running.brake_changes() {
            let open = OpenBrakes::parse(&stored.unwrap_or_default());
            self.running.set_open_brakes(&open);
        }
        Ok(())
    }
}
