//! The steps in the life of an event that have a span.

use super::span::{Span, SpanAttribute, SpanKind, SpanStatus};
use crate::event::{SourceName, SpanId, TraceContext};
use crate::outbox::{EntryId, State};
use crate::time::Timestamp;

/// An event of a trace that the store has accepted.
#[derive(Clone, Debug)]
pub struct AcceptedEvent {
    /// The span of the sender.
    pub context: TraceContext,
    pub source: SourceName,
    pub entry: EntryId,
    /// The state of the entry after the append.
    pub state: State,
    /// The reason why a new entry is parked or ignored.
    pub reason: Option<&'static str>,
    /// Whether the store had the event before.
    pub is_duplicate: bool,
    pub accepted_at: Timestamp,
    pub stored_at: Timestamp,
}

/// A later step of an entry.
#[derive(Clone, Copy, Debug)]
pub enum TraceStep {
    /// Imprint has answered a request about the entry, or has not answered in time.
    Sent(SentRequest),
    /// The store has recorded the end of the entry, or has parked it.
    Ended(EntryEnd),
}

/// A request to Imprint.
#[derive(Clone, Copy, Debug)]
pub struct SentRequest {
    pub operation: &'static str,
    pub outcome: &'static str,
    /// The HTTP status of the answer. `None` means that there was no complete answer.
    pub status: Option<u16>,
    /// Whether Imprint has served the request.
    pub is_served: bool,
    /// The number of entries whose values the request contained.
    pub entries: usize,
    pub sent_at: Timestamp,
    pub answered_at: Timestamp,
}

/// The end of an entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryEnd {
    pub state: State,
    /// The reason why the entry is parked or ignored.
    pub reason: Option<&'static str>,
    pub at: Timestamp,
}

/// The trace of an entry that is not finished.
#[derive(Clone, Debug)]
pub(super) struct EntryTrace {
    /// The span of the accepted event.
    pub(super) context: TraceContext,
    pub(super) source: SourceName,
    pub(super) accepted_at: Timestamp,
}

impl AcceptedEvent {
    /// Returns the trace of the entry, if later steps can follow.
    pub(super) fn trace(&self, id: SpanId) -> Option<EntryTrace> {
        let is_open = !self.is_duplicate && !self.state.is_final();
        is_open.then(|| EntryTrace {
            context: TraceContext {
                span: id,
                ..self.context
            },
            source: self.source.clone(),
            accepted_at: self.accepted_at,
        })
    }

    pub(super) fn span(self, id: SpanId) -> Span {
        let mut attributes = vec![
            SpanAttribute::Source(self.source),
            SpanAttribute::Entry(self.entry),
            SpanAttribute::State(self.state.as_str()),
            SpanAttribute::Duplicate(self.is_duplicate),
        ];
        attributes.extend(self.reason.map(SpanAttribute::Reason));
        Span {
            id,
            parent: self.context,
            name: "accept",
            kind: SpanKind::Server,
            begin: self.accepted_at,
            end: self.stored_at,
            status: status_of(self.state),
            attributes,
        }
    }
}

impl TraceStep {
    /// Returns whether no further step of the entry follows.
    pub(super) const fn is_last(&self) -> bool {
        match self {
            Self::Sent(_) => false,
            Self::Ended(ended) => ended.state.is_final(),
        }
    }

    pub(super) fn span(&self, id: SpanId, entry: EntryId, trace: &EntryTrace) -> Span {
        let mut attributes = vec![
            SpanAttribute::Source(trace.source.clone()),
            SpanAttribute::Entry(entry),
        ];
        let (name, kind, [begin, end], status) = match self {
            Self::Sent(request) => {
                attributes.push(SpanAttribute::Outcome(request.outcome));
                attributes.push(SpanAttribute::Entries(request.entries));
                attributes.extend(request.status.map(SpanAttribute::HttpStatus));
                let status = match request.is_served {
                    true => SpanStatus::Unset,
                    false => SpanStatus::Error,
                };
                let times = [request.sent_at, request.answered_at];
                (request.operation, SpanKind::Client, times, status)
            }
            Self::Ended(ended) => {
                attributes.push(SpanAttribute::State(ended.state.as_str()));
                attributes.extend(ended.reason.map(SpanAttribute::Reason));
                let times = [trace.accepted_at, ended.at];
                let status = status_of(ended.state);
                (ended.state.as_str(), SpanKind::Internal, times, status)
            }
        };
        Span {
            id,
            parent: trace.context,
            name,
            kind,
            begin,
            end,
            status,
            attributes,
        }
    }
}

/// Returns the status of a step after which an entry has this state. An operator must look at an error.
const fn status_of(state: State) -> SpanStatus {
    match state {
        State::Parked | State::Undecided => SpanStatus::Error,
        State::Waiting
        | State::Held
        | State::Delivered
        | State::Superseded
        | State::Ignored
        | State::Discarded => SpanStatus::Unset,
    }
}
