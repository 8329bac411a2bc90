//! The memory of the traces, with fixed bounds. If it is full, the delivery goes on, and spans are missing.

use std::collections::{BTreeMap, VecDeque};

use super::span::Span;
use super::step::{AcceptedEvent, EntryTrace, TraceStep};
use crate::event::SpanId;
use crate::metrics::TraceMetrics;
use crate::outbox::EntryId;

/// The maximum number of spans that wait for their export, which take about 3 MB. The bridge drops a further span.
const SPANS_MAX: usize = 8192;
/// The maximum number of spans in one export request, as in the exporters of OpenTelemetry.
pub const BATCH_MAX: usize = 512;
/// The maximum number of unfinished entries whose traces the bridge knows, which take about 6 MB. For a further entry, the
/// bridge forgets the oldest trace.
const ENTRIES_MAX: usize = 50_000;
/// The maximum number of steps of entries whose append has not returned. The bridge forgets the oldest first.
const EARLY_MAX: usize = 1024;

/// The spans that wait, and the traces of unfinished entries.
#[derive(Debug)]
pub(super) struct SpanMemory {
    spans: VecDeque<Span>,
    entries: BTreeMap<EntryId, EntryTrace>,
    /// The number of appends in progress that have an event of a trace.
    appends: usize,
    /// The steps of unknown entries during an append. Such an entry possibly belongs to the append.
    early: VecDeque<(EntryId, TraceStep)>,
    metrics: TraceMetrics,
}

impl SpanMemory {
    pub(super) const fn new(metrics: TraceMetrics) -> Self {
        Self {
            spans: VecDeque::new(),
            entries: BTreeMap::new(),
            appends: 0,
            early: VecDeque::new(),
            metrics,
        }
    }

    pub(super) const fn begin_append(&mut self) {
        self.appends += 1;
    }

    pub(super) fn end_append(&mut self) {
        self.appends = self.appends.saturating_sub(1);
        if self.appends == 0 {
            self.early.clear();
        }
    }

    /// Adds the span of an accepted event, and the spans of the steps that its entry already had.
    pub(super) fn accepted(&mut self, event: AcceptedEvent, new_id: impl Fn() -> SpanId) {
        let (id, entry) = (new_id(), event.entry);
        let trace = event.trace(id);
        self.push(event.span(id));
        let Some(trace) = trace else { return };
        self.entries.insert(entry, trace);
        if self.entries.len() > ENTRIES_MAX {
            self.entries.pop_first();
            self.metrics.forgotten();
        }
        let early = self.early.iter().filter(|(early, _)| *early == entry);
        let steps: Vec<TraceStep> = early.map(|(_, step)| *step).collect();
        self.early.retain(|(early, _)| *early != entry);
        for step in steps {
            self.add(entry, &step, new_id());
        }
    }

    /// Adds the span of a step, if the entry belongs to a trace.
    pub(super) fn add(&mut self, entry: EntryId, step: &TraceStep, id: SpanId) {
        let Some(trace) = self.entries.get(&entry) else {
            self.keep_early(entry, *step);
            return;
        };
        let span = step.span(id, entry, trace);
        if step.is_last() {
            self.entries.remove(&entry);
        }
        self.push(span);
    }

    /// Keeps a step of an unknown entry during an append. While appends overlap without a pause, only the bound removes the
    /// steps of other entries.
    fn keep_early(&mut self, entry: EntryId, step: TraceStep) {
        if self.appends == 0 {
            return;
        }
        if self.early.len() >= EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back((entry, step));
    }

    /// Takes at most [`BATCH_MAX`] spans, those that have waited longest.
    pub(super) fn take(&mut self) -> Vec<Span> {
        let count = self.spans.len().min(BATCH_MAX);
        self.spans.drain(..count).collect()
    }

    fn push(&mut self, span: Span) {
        if self.spans.len() < SPANS_MAX {
            self.spans.push_back(span);
        } else {
            self.metrics.dropped();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{SourceName, TraceContext};
    use crate::metrics::{LabelSets, LogCounters, Metrics};
    use crate::outbox::State;
    use crate::time::Timestamp;
    use crate::traces::step::{EntryEnd, SentRequest};

    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn memory() -> (SpanMemory, Metrics) {
        let metrics = Metrics::new(LabelSets::default(), LogCounters::NONE).unwrap();
        (SpanMemory::new(metrics.traces.clone()), metrics)
    }

    fn id() -> SpanId {
        SpanId::from_bytes([7; 8])
    }

    fn event(entry: u64, state: State) -> AcceptedEvent {
        AcceptedEvent {
            context: TraceContext::parse(CONTEXT).unwrap(),
            source: SourceName::parse("crm").unwrap(),
            entry: EntryId(entry),
            state,
            reason: None,
            is_duplicate: false,
            accepted_at: AT,
            stored_at: AT,
        }
    }

    fn sent() -> TraceStep {
        TraceStep::Sent(SentRequest {
            operation: "update",
            outcome: "applied",
            status: Some(200),
            is_served: true,
            entries: 1,
            sent_at: AT,
            answered_at: AT,
        })
    }

    fn ended(state: State) -> TraceStep {
        TraceStep::Ended(EntryEnd {
            state,
            reason: None,
            at: AT,
        })
    }

    fn names(memory: &mut SpanMemory) -> Vec<&'static str> {
        memory.take().iter().map(|span| span.name).collect()
    }

    fn has_line(metrics: &Metrics, line: &str) -> bool {
        metrics.page().lines().any(|printed| printed == line)
    }

    /// FAULTS N1193: dispatch is faster than the task that accepted the event.
    #[test]
    fn a_step_before_the_end_of_the_append_has_a_span() {
        let (mut memory, _) = memory();
        memory.begin_append();
        memory.add(EntryId(1), &sent(), id());
        memory.add(EntryId(2), &sent(), id());
        memory.add(EntryId(1), &ended(State::Delivered), id());
        memory.accepted(event(1, State::Waiting), id);
        memory.end_append();
        assert_eq!(names(&mut memory), ["accept", "update", "delivered"]);
        assert!(memory.early.is_empty() && memory.entries.is_empty());
    }

    #[test]
    fn only_an_entry_of_a_trace_has_spans_until_its_final_state() {
        let (mut memory, _) = memory();
        memory.add(EntryId(1), &sent(), id());
        assert!(memory.early.is_empty(), "no append is in progress");
        memory.accepted(event(1, State::Parked), id);
        memory.accepted(event(2, State::Ignored), id);
        let duplicate = AcceptedEvent {
            is_duplicate: true,
            ..event(3, State::Waiting)
        };
        memory.accepted(duplicate, id);
        for entry in [1, 2, 3] {
            memory.add(EntryId(entry), &sent(), id());
        }
        memory.add(EntryId(1), &ended(State::Undecided), id());
        memory.add(EntryId(1), &ended(State::Superseded), id());
        memory.add(EntryId(1), &sent(), id());
        let expected = [
            "accept",
            "accept",
            "accept",
            "update",
            "undecided",
            "superseded",
        ];
        assert_eq!(names(&mut memory), expected);
    }

    /// FAULTS N1194: the collector is away for hours.
    #[test]
    fn a_full_memory_drops_and_forgets_and_counts_both() {
        let (mut memory, metrics) = memory();
        let entries = u64::try_from(ENTRIES_MAX).unwrap() + 2;
        for entry in 1..=entries {
            memory.accepted(event(entry, State::Waiting), id);
        }
        assert_eq!(memory.spans.len(), SPANS_MAX);
        let dropped = ENTRIES_MAX + 2 - SPANS_MAX;
        let line = format!("imprint_bridge_trace_spans_total{{result=\"dropped\"}} {dropped}");
        assert!(has_line(&metrics, &line), "{}", metrics.page());
        assert!(has_line(
            &metrics,
            "imprint_bridge_traces_forgotten_total 2"
        ));
        while !memory.take().is_empty() {}
        for entry in [1, 2, 3] {
            memory.add(EntryId(entry), &sent(), id());
        }
        assert_eq!(names(&mut memory), ["update"], "the oldest are forgotten");
        memory.begin_append();
        for entry in 0..=EARLY_MAX {
            let entry = EntryId(entries + 1 + u64::try_from(entry).unwrap());
            memory.add(entry, &sent(), id());
        }
        assert_eq!(memory.early.len(), EARLY_MAX);
        memory.end_append();
        assert!(memory.early.is_empty());
    }
}
