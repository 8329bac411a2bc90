//! The tasks that run beside the listeners and the senders, until the process ends. They also run during a shutdown: until
//! the last request is answered, an operator's pause, a revoked token and a new key must have their effect.

use std::sync::Arc;

use anyhow::anyhow;

use super::audit_keys::AuditKeysWatch;
use super::brakes::BrakesWatch;
use super::egress::EgressWatch;
use super::erasure;
use super::key::KeyFiles;
use super::notices::NoticeTask;
use super::operators::TokensWatch;
use super::retention::Retention;
use super::sealing::SealingTasks;
use super::secrets::SecretsWatch;
use super::shared_clock;
use super::source_activity::SourceActivity;
use super::store::StoreReport;
use super::traces::TraceTask;
use crate::dispatch::sharing::Sharing;
use crate::ops::Figures;
use crate::outbox::Outbox;
use crate::time::Clock;

pub(super) struct BackgroundTasks {
    pub(super) sharing: Sharing,
    pub(super) store_report: StoreReport,
    pub(super) sealing: SealingTasks,
    pub(super) figures: Figures,
    pub(super) notices: NoticeTask,
    pub(super) activity: Arc<SourceActivity>,
    pub(super) traces: TraceTask,
    pub(super) brakes: BrakesWatch,
    pub(super) retention: Retention,
    pub(super) secrets: SecretsWatch,
    pub(super) keys: KeyFiles,
    pub(super) egress: EgressWatch,
    pub(super) tokens: TokensWatch,
    pub(super) audit_keys: AuditKeysWatch,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) clock: Clock,
}

impl BackgroundTasks {
    /// Runs the tasks, without end. Returns an error that names the task that ended.
    pub(super) async fn run(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            () = Box::pin(self.sharing.run()) => "shares the destination",
            () = self.store_report.run() => "reports the store's condition",
            () = Box::pin(self.sealing.run(&self.clock)) => "seals the store with new keys",
            () = Box::pin(self.figures.keep_history()) => "records the totals",
            () = Box::pin(self.notices.run()) => "sends notices",
            () = Box::pin(self.activity.run()) => "keeps the times of the last events",
            () = Box::pin(self.traces.run()) => "exports traces",
            () = self.brakes.run() => "obeys the open brakes",
            () = shared_clock::follow(&*self.outbox, &self.clock) => "follows the clock of the store",
            () = Box::pin(self.retention.run()) => "removes old entries",
            () = erasure::run(&*self.outbox, &self.clock) => "erases ended entries",
            () = Box::pin(self.secrets.watch()) => "reads the secrets of sources",
            () = Box::pin(self.keys.watch()) => "reads the keys of Imprint",
            () = Box::pin(self.egress.watch()) => "reads the files for the connections to Imprint",
            () = Box::pin(self.tokens.watch()) => "reads the tokens of operators",
            () = Box::pin(self.audit_keys.watch()) => "reads the keys of the audit log",
        };
        anyhow!("the task that {ended} ended")
    }
}
