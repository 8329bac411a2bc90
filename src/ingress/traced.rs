//! The traces of the events of a request.

use actix_web::http::header::HeaderMap;

use super::Ingress;
use super::sent_event::SentEvent;
use crate::event::trace_context::TRACEPARENT;
use crate::event::{SourceName, TraceContext, TraceReading};
use crate::http::single_header::SingleHeader;
use crate::outbox::{AppendedEntry, IgnoreReason, ParkReason};
use crate::time::{Clock, Timestamp};
use crate::traces::{AcceptedEvent, TracedAppend};

/// Returns the place of the trace contexts of the events of a request.
pub(super) fn reading(ingress: &Ingress, headers: &HeaderMap) -> TraceReading {
    match &ingress.traces {
        None => TraceReading::Off,
        Some(_) => {
            let text = SingleHeader::read(headers, TRACEPARENT).text();
            TraceReading::On(text.and_then(TraceContext::parse))
        }
    }
}

/// The events of a request, at least one of which belongs to a trace, during their append to the store.
pub(super) struct TracedEvents<'a> {
    append: TracedAppend<'a>,
    clock: &'a Clock,
    contexts: Vec<Option<TraceContext>>,
}

impl<'a> TracedEvents<'a> {
    /// Returns `None` if no event belongs to a trace.
    pub(super) fn begin(ingress: &'a Ingress, contexts: Vec<Option<TraceContext>>) -> Option<Self> {
        let traces = ingress.traces.as_ref();
        let traces = traces.filter(|_| contexts.iter().any(Option::is_some))?;
        Some(Self {
            append: traces.begin_append(),
            clock: &ingress.clock,
            contexts,
        })
    }

    /// Adds the spans of the accepted events.
    pub(super) fn stored(
        &self,
        (source, accepted_at): (&SourceName, Timestamp),
        sent: &[SentEvent],
        stored: &[AppendedEntry],
    ) {
        let stored_at = self.clock.now();
        for ((context, sent), stored) in self.contexts.iter().zip(sent).zip(stored) {
            let Some(context) = *context else { continue };
            let invalid = sent.is_invalid().then_some(ParkReason::Invalid);
            let parked = sent.parked.or(invalid).map(ParkReason::as_str);
            let ignored = || sent.ignored().map(IgnoreReason::as_str);
            self.append.accepted(AcceptedEvent {
                context,
                source: source.clone(),
                entry: stored.entry,
                state: stored.state,
                reason: parked.or_else(ignored).filter(|_| !stored.duplicate),
                is_duplicate: stored.duplicate,
                accepted_at,
                stored_at,
            });
        }
    }
}
