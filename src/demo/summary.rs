//! The summary of the demo: figures in JSON for other programs, and text for the person who runs the demo.

use std::fmt;

use serde::Serialize;

use super::expectations::Expectations;
use super::verify::FinalStates;
use crate::sandbox::SandboxStats;

/// The maximum number of errors that the demo prints. If there are more errors, the demo prints the number of the
/// remaining errors.
const ERRORS_MAX: usize = 20;

/// The figures of the demo, in the order of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct DemoFigures {
    /// The number of accepted events, each event counted once.
    accepted: u64,
    /// The number of answers in which the bridge reported a duplicate event.
    duplicates: u64,
    /// The number of events that the bridge refused.
    refused: u64,
    delivered: u64,
    superseded: u64,
    ignored: u64,
    parked: u64,
    /// The number of update requests to Imprint, including failed requests.
    requests: u64,
    /// The time in seconds from the first event that the CRM sends to the last final state.
    seconds: f64,
}

/// The result of the demo.
#[derive(Debug)]
pub(super) struct DemoSummary {
    pub(super) figures: DemoFigures,
    customers: usize,
    /// The number of update requests that changed a customer.
    applied: u64,
    errors: Vec<String>,
}

impl DemoSummary {
    pub(super) fn new(
        expectations: &Expectations,
        final_states: FinalStates,
        stats: &SandboxStats,
        seconds: f64,
        mut errors: Vec<String>,
    ) -> Self {
        let accepted = u64::try_from(expectations.accepted.len()).unwrap_or(u64::MAX);
        let sum = final_states.sum();
        if accepted != sum {
            errors.push(format!(
                "{accepted} events were accepted, but {sum} are in a final state"
            ));
        }
        let FinalStates {
            delivered,
            superseded,
            ignored,
            parked,
        } = final_states;
        Self {
            figures: DemoFigures {
                accepted,
                duplicates: expectations.duplicates,
                refused: expectations.refused,
                delivered,
                superseded,
                ignored,
                parked,
                requests: stats.updates,
                seconds: (seconds * 1000.0).round() / 1000.0,
            },
            customers: expectations.newest.len(),
            applied: stats.applied,
            errors,
        }
    }

    /// Returns whether the demo found no error.
    pub(super) fn is_correct(&self) -> bool {
        self.errors.is_empty()
    }

    /// Returns the errors of the demo as lines of text, and the number of the errors that the lines omit.
    pub(super) fn error_lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.errors.len().saturating_sub(ERRORS_MAX);
        let rest = (more > 0).then(|| format!("and {more} more"));
        self.errors.iter().take(ERRORS_MAX).cloned().chain(rest)
    }

    /// Describes how many updates the bridge saved by folding, and how many requests failed.
    fn folding_effect(&self) -> String {
        let DemoFigures {
            accepted, requests, ..
        } = self.figures;
        let lost = requests.saturating_sub(self.applied);
        let saved = accepted.saturating_sub(self.applied);
        format!(
            "Folding delivered {accepted} changes to Imprint in {} updates, {saved} fewer than without folding. Another {lost} requests failed in the outage or on a broken connection.",
            self.applied
        )
    }
}

impl fmt::Display for DemoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DemoFigures {
            accepted,
            duplicates,
            refused,
            delivered,
            superseded,
            ignored,
            parked,
            requests,
            seconds,
        } = self.figures;
        let sent = accepted.saturating_add(duplicates).saturating_add(refused);
        let customers = self.customers;
        writeln!(
            f,
            "  {:<11}{sent:>8}  changes of {customers} customers",
            "sent"
        )?;
        for (word, count, meaning) in [
            (
                "accepted",
                accepted,
                "stored by the bridge, each counted once",
            ),
            (
                "duplicates",
                duplicates,
                "sent again, recognised by their id",
            ),
            ("refused", refused, "invalid, answered with the reason"),
            ("delivered", delivered, "Imprint has applied them"),
            (
                "superseded",
                superseded,
                "replaced by newer values of the same customer",
            ),
            ("ignored", ignored, "had nothing to send to Imprint"),
            ("parked", parked, "wait for an operator"),
            (
                "requests",
                requests,
                "update requests to Imprint, failed ones included",
            ),
        ] {
            writeln!(f, "  {word:<11}{count:>8}  {meaning}")?;
        }
        writeln!(f)?;
        writeln!(f, "{}", self.folding_effect())?;
        if self.is_correct() {
            write!(
                f,
                "Every accepted event is in a final state, and all {} customers have the newest values, after {seconds:.1} s.",
                self.customers
            )
        } else {
            write!(f, "The result is not correct, after {seconds:.1} s:")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_one_object_in_a_fixed_order() {
        let figures = DemoFigures {
            seconds: 1.5,
            ..DemoFigures::default()
        };
        assert_eq!(
            serde_json::to_string(&figures).unwrap(),
            r#"{"accepted":0,"duplicates":0,"refused":0,"delivered":0,"superseded":0,"ignored":0,"parked":0,"requests":0,"seconds":1.5}"#
        );
    }

    #[test]
    fn an_event_without_a_final_state_is_an_error() {
        let mut expectations = Expectations::default();
        expectations.accepted.insert("demo-0000001".to_owned());
        let summary = |final_states| {
            DemoSummary::new(
                &expectations,
                final_states,
                &SandboxStats::default(),
                0.1,
                Vec::new(),
            )
        };
        assert!(!summary(FinalStates::default()).is_correct());
        let delivered = FinalStates {
            delivered: 1,
            ..FinalStates::default()
        };
        assert!(summary(delivered).is_correct());
    }
}
