//! Asks about a witness: retrieves a customer whose update Imprint has applied before.
//!
//! The answer shows whether a failing lane or the destination is the cause of a failure.

use std::rc::Rc;

use super::Shell;
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::core::{conclude_inquiry, describe_lookup};
use crate::dispatch::destination::{
    Inquiry, RequestDecision, RequestOperation, RequestRecord, StateChange,
};
use crate::dispatch::evidence::SavedEvidence;
use crate::imprint::{Answered, ImprintApi, ImprintId, LookupResult};
use crate::outbox::Setting;

impl<I: ImprintApi + 'static> Shell<I> {
    /// Starts a task that asks about a witness. If the task panics, the dropped inquiry makes the core ask again.
    pub(super) fn start_inquiry(self: &Rc<Self>, inquiry: Inquiry) {
        let shell = Rc::clone(self);
        self.spawn(None, async move { shell.ask(inquiry).await });
    }

    async fn ask(&self, inquiry: Inquiry) {
        let sent_at = self.now();
        let answered = self.retrieve(inquiry.customer().clone()).await;
        let found = &answered.result;
        let moment = self.moment();
        let (states, change) = conclude_inquiry(inquiry, found, moment);
        let (outcome, cause) = describe_lookup(found);
        self.report_states(states, outcome, &cause);
        let (before, after) = (states.0.as_str(), states.1.as_str());
        self.dispatcher.destination.record_request(RequestRecord {
            sent_at,
            took: moment.now.since(sent_at),
            operation: RequestOperation::Retrieve,
            entry: None,
            is_served: !matches!(found, LookupResult::Failed(_)),
            facts: answered.facts,
            outcome,
            cause,
            decision: RequestDecision::Witness,
            state: (before != after).then_some(after),
        });
        if let Some(change) = change {
            self.save(change).await;
        }
    }

    /// Saves the evidence in the store. If `wakes_lanes` is true, makes due the lanes that wait for proof.
    pub(super) async fn save_evidence(&self, evidence: SavedEvidence) {
        let outbox = &self.dispatcher.outbox;
        let saved = outbox.store_setting(Setting::Evidence, evidence.text).await;
        let released = match evidence.wakes_lanes {
            true => outbox.release_absent(self.now()).await,
            false => Ok(()),
        };
        if let Err(error) = saved.and(released) {
            tracing::warn!(error = %error, "the store did not save the evidence that Imprint works");
        }
    }

    /// Asks Imprint whether a customer exists.
    pub(super) async fn retrieve(&self, customer: ImprintId) -> Answered<LookupResult> {
        let dispatcher = &self.dispatcher;
        let deadline = dispatcher.limits.deadline;
        let answered = dispatcher.imprint.retrieve(customer, deadline).await;
        dispatcher.metrics.lookup(answered.result.label());
        answered
    }

    /// Updates the metric of the destination's state. Logs a change of the state, and records it for operators.
    pub(super) fn report_states(
        &self,
        (before, after): (DestinationState, DestinationState),
        outcome: &'static str,
        cause: &str,
    ) {
        let (from, to) = (before.as_str(), after.as_str());
        self.dispatcher.metrics.destination_state(to);
        if from != to {
            self.dispatcher.destination.record_change(StateChange {
                to,
                at: self.now(),
                outcome,
                cause: cause.to_owned(),
            });
            tracing::warn!(
                from,
                to,
                outcome,
                cause,
                "the destination changed its state"
            );
        }
    }
}
