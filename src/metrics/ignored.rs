//! Counts the ignored entries. The event listener ignores events when they arrive, and dispatch ignores entries later.

use prometheus::IntCounterVec;

use super::LabelSets;
use super::declare::Declare;
use super::snapshot::{CountByLabel, counts};

/// The counter of ignored entries, by reason.
#[derive(Clone, Debug)]
pub(super) struct IgnoredEntries(IntCounterVec);

impl IgnoredEntries {
    pub(super) fn new(declare: &Declare<'_>, labels: LabelSets) -> prometheus::Result<Self> {
        let ignored = declare.counters(
            "ignored_total",
            "Entries that the bridge ignores when they arrive or later, by reason.",
            "reason",
        )?;
        for reason in labels.ignore_reasons {
            ignored.with_label_values(&[reason]);
        }
        Ok(Self(ignored))
    }

    pub(super) fn count(&self, reason: &'static str) {
        self.0.with_label_values(&[reason]).inc();
    }

    pub(super) fn snapshot(&self) -> CountByLabel {
        counts(&self.0)
    }
}
