//! Reports the condition of the store, and its reserve of disk space, to the health checks and the metrics.

use tokio::sync::watch;

use super::weakening::Weakening;
use crate::metrics::Metrics;
use crate::ops::Health;
use crate::outbox::{Lifecycle, Reserve, StoreCondition};

pub(super) struct StoreReport {
    condition: watch::Receiver<StoreCondition>,
    reserve: watch::Receiver<Reserve>,
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
            reserve: store.reserve(),
            health,
            metrics,
        }
    }

    /// Reports every change of the store's condition and of its reserve, and never returns.
    pub(super) async fn run(&mut self) {
        loop {
            let condition = *self.condition.borrow_and_update();
            self.health.store(condition);
            self.metrics.store_condition(condition.as_str());
            let reserve = *self.reserve.borrow_and_update();
            self.health.disk_full(reserve == Reserve::Missing);
            let lacks_reserve = reserve != Reserve::Held;
            let weakened = &self.metrics.weakened;
            weakened.show(Weakening::DiskReserve.as_str(), lacks_reserve);
            let changed = tokio::select! {
                changed = self.condition.changed() => changed,
                changed = self.reserve.changed() => changed,
            };
            if changed.is_err() {
                // The store has closed, so neither value changes any more.
                std::future::pending::<()>().await;
            }
        }
    }
}
