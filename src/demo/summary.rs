//! What the demo came to: figures for programs, a table and a sentence for people.

use std::fmt;

use serde::Serialize;

use super::expectations::Expectations;
use super::verify::FinalStates;
use crate::sandbox::SandboxStats;

/// How many complaints are told; the rest is counted.
const COMPLAINTS_MAX: usize = 20;

/// The figures, in the order in which they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct DemoFigures {
    /// Events that were kept, each counted once.
    accepted: u64,
    /// Events that were answered as kept before.
    duplicates: u64,
    /// Events that were refused.
    refused: u64,
    delivered: u64,
    superseded: u64,
    ignored: u64,
    parked: u64,
    /// Updates that Imprint was asked for, failed ones included.
    requests: u64,
    /// From the first event sent to the last one ended.
    seconds: f64,
}

/// What the demo came to.
#[derive(Debug)]
pub(super) struct DemoSummary {
    pub(super) figures: DemoFigures,
    customers: usize,
    /// Requests that changed a customer.
    applied: u64,
    wrong: Vec<String>,
}

impl DemoSummary {
    pub(super) fn new(
        expectations: &Expectations,
        final_states: FinalStates,
        stats: &SandboxStats,
        seconds: f64,
        mut wrong: Vec<String>,
    ) -> Self {
        let accepted = u64::try_from(expectations.accepted.len()).unwrap_or(u64::MAX);
        let sum = final_states.sum();
        if accepted != sum {
            wrong.push(format!("{accepted} events were accepted, {sum} have ended"));
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
            wrong,
        }
    }

    /// Whether every accepted event ended and every customer is right.
    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// What is wrong, by ids.
    pub(super) fn complaints(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.wrong.len().saturating_sub(COMPLAINTS_MAX);
        let rest = (more > 0).then(|| format!("and {more} more"));
        self.wrong.iter().take(COMPLAINTS_MAX).cloned().chain(rest)
    }

    /// How folding paid.
    fn moral(&self) -> String {
        let DemoFigures {
            accepted, requests, ..
        } = self.figures;
        let lost = requests.saturating_sub(self.applied);
        let saved = accepted.saturating_sub(self.applied);
        format!(
            "Folding brought {accepted} changes to Imprint in {} updates, {saved} fewer than without it; another {lost} requests met the outage or a broken connection.",
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
            ("accepted", accepted, "events the bridge took charge of"),
            (
                "duplicates",
                duplicates,
                "sent again, recognised, not kept twice",
            ),
            ("refused", refused, "wrong, and sent back with the reason"),
            ("delivered", delivered, "Imprint has them"),
            (
                "superseded",
                superseded,
                "newer facts of the same customer won",
            ),
            ("ignored", ignored, "had nothing to send"),
            ("parked", parked, "need a person"),
            ("requests", requests, "updates that Imprint was asked for"),
        ] {
            writeln!(f, "  {word:<11}{count:>8}  {meaning}")?;
        }
        writeln!(f)?;
        writeln!(f, "{}", self.moral())?;
        if self.is_right() {
            write!(
                f,
                "Every accepted event ended and all {} customers are right, after {seconds:.1} s.",
                self.customers
            )
        } else {
            write!(f, "Something is wrong, after {seconds:.1} s:")
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
    fn events_that_have_not_ended_are_wrong() {
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
        assert!(!summary(FinalStates::default()).is_right());
        let delivered = FinalStates {
            delivered: 1,
            ..FinalStates::default()
        };
        assert!(summary(delivered).is_right());
    }
}
