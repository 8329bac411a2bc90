//! Reports the condition of the store, and the state of its disk, to the health checks and the metrics.

use tokio::sync::watch;

use super::weakening::Weakening;
use crate::metrics::Metrics;
use crate::ops::Health;
use crate::outbox::{DiskState, Lifecycle, Reserve, StoreCondition};

/// The name of the condition of a store that works, but whose disk has no space for events.
const FULL: &str = "full";

/// The names of the conditions in the metrics. The first name is the condition at the start of the process.
pub(super) const CONDITIONS: [&str; 4] = {
    let [working, stalled, file_gone] = StoreCondition::NAMES;
    [working, FULL, stalled, file_gone]
};

pub(super) struct StoreReport {
    condition: watch::Receiver<StoreCondition>,
    disk: watch::Receiver<DiskState>,
    health: Health,
    metrics: Metrics,
}

impl StoreReport {
    pub(super) fn new(store: &(impl Lifecycle + ?Sized), health: Health, metrics: Metrics) -> Self {
        metrics
            .weakened
            .show(Weakening::CommitsLost.as_str(), store.can_lose_commits());
        Self {
            condition: store.condition(),
            disk: store.disk(),
            health,
            metrics,
        }
    }

    /// Reports every change of the store's condition and of its disk, and never returns.
    pub(super) async fn run(&mut self) {
        loop {
            let condition = *self.condition.borrow_and_update();
            self.health.store(condition);
            let disk = *self.disk.borrow_and_update();
            let is_full = disk.is_full();
            self.health.disk_full(is_full);
            self.metrics.store_condition(match condition {
                StoreCondition::Working if is_full => FULL,
                StoreCondition::Working | StoreCondition::Stalled | StoreCondition::FileGone => {
                    condition.as_str()
                }
            });
            let lacks_reserve = disk.reserve != Reserve::Held;
            let weakened = &self.metrics.weakened;
            weakened.show(Weakening::DiskReserve.as_str(), lacks_reserve);
            let changed = tokio::select! {
                changed = self.condition.changed() => changed,
                changed = self.disk.changed() => changed,
            };
            if changed.is_err() {
                // The store has closed, so neither value changes any more.
                std::future::pending::<()>().await;
            }
        }
    }
}
