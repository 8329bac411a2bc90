//! The use cases for the destination: show the state and the mode, and set the mode.

use serde_json::Value;

use super::{AUDIT_PAGE_MAX, Error, Operations, Operator, Reason, Role};
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::destination::{OperatorMode, RecentRequests, StateChange, UnprovenFailures};
use crate::dispatch::pace::PresentRate;
use crate::event::Visibility;
use crate::outbox::{AuditRecord, Setting};
use crate::time::Timestamp;

/// The action in the audit log that sets the mode.
const MODE: &str = "mode";
/// The maximum number of newest audit records in which the bridge looks for the latest change of the mode. More changes
/// after it are rare, and the search must stay quick.
const MODE_RECORDS_MAX: u64 = 200;

/// The mode and the state of sending to Imprint. An operator sets the mode. The state depends on the outcomes of
/// requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationView {
    pub mode: OperatorMode,
    pub state: &'static str,
    /// The change with which the state began. `None` if the state began with the process.
    pub change: Option<StateChange>,
    /// The time of the next request to Imprint. `None` if the bridge sends requests without a pause.
    pub next_try_at: Option<Timestamp>,
    /// The failures in a row whose cause is unknown, while the destination is flowing.
    pub unproven: Option<UnprovenFailures>,
    /// The last outages and their ends since the start of the process, the newest first.
    pub changes: Vec<StateChange>,
}

/// A request that the bridge did not send because of the mode `shadow`, with masked values.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowView {
    pub at: Timestamp,
    pub customer: String,
    pub operation: &'static str,
    pub body: Value,
}

impl Operations {
    /// Returns the current mode and state of sending to Imprint.
    pub fn destination(&self, _operator: &Operator) -> DestinationView {
        let state = self.destination.state();
        let next_try_at = match state {
            DestinationState::Flowing { .. } => None,
            DestinationState::Probing(probes) | DestinationState::Stopped(probes) => {
                Some(probes.due())
            }
            DestinationState::Throttled { until, .. } => Some(until),
        };
        let is_flowing = matches!(state, DestinationState::Flowing { .. });
        let unproven = self.destination.unproven_failures();
        DestinationView {
            mode: self.destination.mode(),
            unproven: unproven.filter(|_| is_flowing),
            state: state.as_str(),
            change: self.destination.present_change(),
            next_try_at,
            changes: self.destination.outage_changes(),
        }
    }

    /// Returns the configured and the present rate of requests to Imprint. Returns `None` if no rate limit is configured.
    pub fn present_rate(&self, _operator: &Operator) -> Option<PresentRate> {
        self.destination.present_rate(self.clock.now())
    }

    /// Returns the last requests to Imprint with their answers, without a value.
    pub fn recent_requests(&self, _operator: &Operator) -> RecentRequests {
        self.destination.recent_requests()
    }

    /// Returns the audit record of the latest change of the mode, if it is one of the newest records of the audit log.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn mode_change(&self, _operator: &Operator) -> Result<Option<AuditRecord>, Error> {
        let head = self.outbox.audit_head().await?.record;
        let after = head.saturating_sub(MODE_RECORDS_MAX);
        let records = self.outbox.audit(after, AUDIT_PAGE_MAX).await?;
        let mut newest = records.into_iter().rev();
        Ok(newest.find(|record| record.action == MODE))
    }

    /// Returns the names of the protections that the configuration or the machine has switched off.
    pub fn weakenings(&self, _operator: &Operator) -> Vec<&'static str> {
        self.weakened.present()
    }

    /// Sets the mode of sending to Imprint. The store keeps the mode, so that the mode survives a restart.
    ///
    /// # Errors
    /// Returns an error if the operator lacks the role, if a mode that sends nothing has no reason, or if the store fails.
    pub async fn set_mode(
        &self,
        operator: &Operator,
        mode: OperatorMode,
        reason: Option<Reason>,
    ) -> Result<DestinationView, Error> {
        operator.require(Role::Operator)?;
        // The next operator must know whether the delivery may start again. A start needs no reason: it must not take longer.
        match mode {
            OperatorMode::Open => {}
            OperatorMode::Paused | OperatorMode::Shadow if reason.is_some() => {}
            OperatorMode::Paused | OperatorMode::Shadow => return Err(Error::ReasonRequired),
        }
        let before = self.destination.mode();
        let target = format!("{} to {}", before.as_str(), mode.as_str());
        let mut event = self.audit_event(operator, MODE, target);
        event.reason = reason.map(Reason::into_text);
        let now = event.at;
        self.outbox.append_audit(event).await?;
        self.outbox
            .store_setting(Setting::DestinationMode, mode.as_str().to_owned())
            .await?;
        self.destination.set_mode(mode);
        // In the mode `shadow`, the bridge puts lanes aside instead of sending them. The change to `open` makes these
        // lanes due, even if the mode was `paused` in between.
        if before != OperatorMode::Open && mode == OperatorMode::Open {
            self.outbox.release(now).await?;
        }
        tracing::warn!(
            operator = operator.name(),
            from = before.as_str(),
            to = mode.as_str(),
            "destination mode changed"
        );
        Ok(self.destination(operator))
    }

    /// Returns, for each customer, the latest request that the bridge did not send because of the mode `shadow`.
    ///
    /// A bridge whose lease on a shared store has ended forgets its records first: another bridge possibly erased customers
    /// without waiting for this bridge.
    pub fn shadow_requests(&self, _operator: &Operator) -> Vec<ShadowView> {
        if self.outbox.has_lost_lease() {
            self.destination.forget_all();
        }
        let records = self.destination.shadow_records().into_iter();
        let views = records.map(|record| ShadowView {
            at: record.at,
            customer: record.customer,
            operation: record.operation,
            body: Visibility::Masked.object(&record.body),
        });
        views.collect()
    }
}
