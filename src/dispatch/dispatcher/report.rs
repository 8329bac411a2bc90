//! Reports what a delivery has done: to the metrics, to the log and to operators.

use super::Shell;
use super::sent::SentRequests;
use crate::dispatch::core::{LaneResult, Report};
use crate::imprint::ImprintApi;
use crate::outbox::{Ending, Settlement};

impl<I: ImprintApi + 'static> Shell<I> {
    /// Shows operators the requests of a delivery, and whether its lane fails.
    pub(super) fn record_requests(&self, sent: SentRequests, result: &LaneResult) {
        let destination = &self.dispatcher.destination;
        let requests: Vec<_> = sent.settled(result).collect();
        if let Some(last) = requests.last() {
            destination.record_lane(last, &result.settlement);
        }
        for request in requests {
            destination.record_request(request);
        }
    }

    pub(super) fn report(&self, report: &Report) {
        let metrics = &self.dispatcher.metrics;
        if let Some(delivered) = &report.delivered {
            metrics.reasserted(delivered.reasserted);
            metrics.ties(delivered.ties);
            for group in &delivered.differs {
                metrics.echo_differs(group.as_str());
            }
        }
        if report.misdirected > 0 {
            metrics.misdirected(report.misdirected);
            tracing::error!(
                lane.id = report.lane.0,
                entries = report.misdirected,
                "Imprint applied the values to a customer whose partner customer id differs from the id in the event; the detail of the parked entries names this customer"
            );
        }
        if report.is_unproven {
            metrics.unproven();
        }
        let Some((before, after)) = report.states else {
            return;
        };
        self.report_states((before, after), report.outcome, &report.cause);
        self.report_failure(report);
        tracing::debug!(
            lane.id = report.lane.0,
            outcome = report.outcome,
            cause = %report.cause,
            entries = report.entries,
            "delivery attempt finished"
        );
    }

    /// Logs requests that fail in a row, if nothing has shown the cause.
    fn report_failure(&self, report: &Report) {
        let failure = (report.outcome, report.cause.as_str());
        let failure = report.is_unproven.then_some(failure);
        let destination = &self.dispatcher.destination;
        if let Some(failures) = destination.record_result(failure, self.now()) {
            tracing::warn!(
                requests = failures.requests,
                since = failures.since.to_rfc3339(),
                outcome = failures.outcome,
                cause = %failures.cause,
                "{}",
                unproven(failures.outcome)
            );
        }
    }

    pub(super) fn count_endings(&self, settlement: &Settlement) {
        let metrics = &self.dispatcher.metrics;
        for (entry, ending) in &settlement.endings {
            metrics.ended(ending.state().as_str());
            match ending {
                Ending::Delivered => metrics.delivered_at(settlement.at.as_millis() / 1000),
                Ending::Parked { reason, detail } => {
                    metrics.parked(reason.as_str());
                    let detail = detail.as_deref().filter(|_| !reason.is_about_ids());
                    tracing::warn!(
                        entry.id = entry.0,
                        reason = reason.as_str(),
                        detail = detail.unwrap_or_default(),
                        "entry parked"
                    );
                }
                Ending::Undecided => tracing::warn!(
                    entry.id = entry.0,
                    "entry undecided: nothing proves the cause of its failures"
                ),
                Ending::Ignored(reason) => metrics.ignored(reason.as_str()),
                Ending::Superseded(_) => {}
            }
        }
    }
}

/// Describes requests without a success, if nothing has shown the cause.
fn unproven(outcome: &str) -> &'static str {
    match outcome {
        "unknown_customer" => {
            "Imprint answers, and finds none of the customers of the last requests: compare customer.partner_id and customer.imprint_id in the source files with the ids at Imprint. The sandbox takes customers with --seed"
        }
        _other => {
            "requests to Imprint fail, and nothing has shown whether a customer or Imprint as a whole is the cause"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1294: Imprint answers each search with an empty list, so no request fails.
    #[test]
    fn a_log_line_about_unknown_customers_names_the_ids() {
        let text = unproven("unknown_customer");
        assert!(text.contains("compare customer.partner_id"), "{text}");
        assert!(!text.contains("fail"), "{text}");
        assert!(unproven("unavailable").contains("requests to Imprint fail"));
    }
}
