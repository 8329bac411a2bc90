//! Reports the condition of the store to the health checks and the metrics.

use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::ops::Health;
use crate::outbox::StoreCondition;

pub(super) struct StoreReport {
    condition: watch::Receiver<StoreCondition>,
    health: Health,
    metrics: Metrics,
}

impl StoreReport {
    pub(super) const fn new(
        condition: watch::Receiver<StoreCondition>,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        Self {
            condition,
            health,
            metrics,
        }
    }

    /// Reports every change of the store's condition, and never returns.
    pub(super) async fn run(&mut self) {
        loop {
            let condition = *self.condition.borrow_and_update();
            self.health.store(condition);
            self.metrics.store_condition(condition.as_str());
            if self.condition.changed().await.is_err() {
                // The store has dropped the sender of its condition, so the condition does not change any more.
                std::future::pending::<()>().await;
            }
        }
    }
}
