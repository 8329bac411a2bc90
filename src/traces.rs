//! Collects the spans of the events whose sender takes part in a trace, for the export to a collector of OpenTelemetry.
//!
//! An event has one span for each step: the bridge accepts it, sends a request with its values to Imprint, and ends it. The
//! first span is a child of the sender's span, and the others are children of the first.
//!
//! All callers only add to a memory with fixed bounds, so that no collector slows the delivery. The memory belongs to this
//! process: after a restart, and for an event that another process has accepted, the later spans of an event are missing.
//!
//! A span has only the attributes in [`SpanAttribute`]: words of the program, numbers, and the names of configured sources.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::memory::SpanMemory;
use crate::event::SpanId;
use crate::metrics::TraceMetrics;
use crate::outbox::EntryId;
use crate::random::random_u32;

mod memory;
mod otlp;
mod span;
mod step;

pub use self::memory::BATCH_MAX;
pub use self::otlp::{ExportedProcess, body};
pub use self::span::{Span, SpanAttribute};
pub use self::step::{AcceptedEvent, EntryEnd, SentRequest, TraceStep};

/// The spans that wait for their export, and the traces of the entries that are not finished. All clones share them.
#[derive(Clone, Debug)]
pub struct Traces(Arc<Mutex<SpanMemory>>);

impl Traces {
    /// Creates an empty memory.
    pub fn new(metrics: TraceMetrics) -> Self {
        Self(Arc::new(Mutex::new(SpanMemory::new(metrics))))
    }

    /// Announces an append to the store with an event of a trace. Dispatch can send an entry before the append has returned
    /// its number.
    pub fn begin_append(&self) -> TracedAppend<'_> {
        self.memory().begin_append();
        TracedAppend(self)
    }

    /// Adds a span for each of these entries that belongs to a trace.
    pub fn add(&self, entries: &[EntryId], step: &TraceStep) {
        let mut memory = self.memory();
        for entry in entries {
            memory.add(*entry, step, new_span_id());
        }
    }

    /// Takes the spans that have waited longest.
    pub fn take(&self) -> Vec<Span> {
        self.memory().take()
    }

    /// Each use locks the memory only to add or to take spans.
    fn memory(&self) -> MutexGuard<'_, SpanMemory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An append to the store with an event of a trace.
#[derive(Debug)]
pub struct TracedAppend<'a>(&'a Traces);

impl TracedAppend<'_> {
    /// Adds the span of an accepted event. If its entry is not finished, the later spans of the entry follow.
    pub fn accepted(&self, event: AcceptedEvent) {
        self.0.memory().accepted(event, new_span_id);
    }
}

impl Drop for TracedAppend<'_> {
    fn drop(&mut self) {
        self.0.memory().end_append();
    }
}

fn new_span_id() -> SpanId {
    let (high, low) = (random_u32(), random_u32());
    SpanId::from_bytes((u64::from(high) << 32 | u64::from(low)).to_be_bytes())
}
