//! Metrics of the export of traces.

use prometheus::{IntCounter, IntCounterVec};

use super::declare::Declare;

/// The result of a span: the collector has it.
const EXPORTED: &str = "exported";
/// The result of a span: the memory of the bridge was full.
const DROPPED: &str = "dropped";
/// The result of a span: the collector refused it, or the bridge has given it up.
const FAILED: &str = "failed";

/// The counters of the spans and of the traces.
#[derive(Clone, Debug)]
pub struct TraceMetrics {
    spans: IntCounterVec,
    forgotten: IntCounter,
}

impl TraceMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        let spans = declare.counters(
            "trace_spans_total",
            "Spans for the collector of traces, by result: exported, dropped because too many wait, or failed because the collector refuses them or does not answer.",
            "result",
        )?;
        for result in [EXPORTED, DROPPED, FAILED] {
            spans.with_label_values(&[result]);
        }
        let forgotten = declare.counter(
            "traces_forgotten_total",
            "Traces of unfinished entries that the bridge has forgotten because there are too many. Their later spans are missing.",
        )?;
        Ok(Self { spans, forgotten })
    }

    /// Counts spans that the collector has taken.
    pub fn exported(&self, spans: usize) {
        self.count(EXPORTED, spans);
    }

    /// Counts a span that the bridge drops.
    pub fn dropped(&self) {
        self.count(DROPPED, 1);
    }

    /// Counts spans that the bridge does not send again.
    pub fn failed(&self, spans: usize) {
        self.count(FAILED, spans);
    }

    /// Counts the trace of an entry whose later spans are missing.
    pub fn forgotten(&self) {
        self.forgotten.inc();
    }

    fn count(&self, result: &str, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        self.spans.with_label_values(&[result]).inc_by(spans);
    }
}
