//! A span, and the closed list of its attributes.

use crate::event::{SourceName, SpanId, TraceContext};
use crate::outbox::EntryId;
use crate::time::Timestamp;

/// A span that waits for its export.
#[derive(Clone, Debug)]
pub struct Span {
    pub(super) id: SpanId,
    /// The trace, and the parent of the span.
    pub(super) parent: TraceContext,
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    pub(super) begin: Timestamp,
    pub(super) end: Timestamp,
    pub(super) status: SpanStatus,
    pub(super) attributes: Vec<SpanAttribute>,
}

/// The role of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanKind {
    Internal,
    /// The bridge has answered a request.
    Server,
    /// The bridge has sent a request.
    Client,
}

/// Whether a step has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanStatus {
    Unset,
    Error,
}

/// An attribute of a span. No span has another attribute. The types admit no text from an event, from a sender or from
/// Imprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanAttribute {
    /// The name of the source.
    Source(SourceName),
    /// The number of the entry.
    Entry(EntryId),
    /// The state of the entry.
    State(&'static str),
    /// The reason why the entry is parked or ignored.
    Reason(&'static str),
    /// Whether the store had the event before.
    Duplicate(bool),
    /// The outcome of the request.
    Outcome(&'static str),
    /// The number of entries whose values the request contained.
    Entries(usize),
    /// The HTTP status of Imprint's answer.
    HttpStatus(u16),
}

impl SpanAttribute {
    /// The names of all attributes.
    pub const NAMES: [&'static str; 8] = [
        "imprint_bridge.source",
        "imprint_bridge.entry",
        "imprint_bridge.state",
        "imprint_bridge.reason",
        "imprint_bridge.duplicate",
        "imprint_bridge.outcome",
        "imprint_bridge.entries",
        "http.response.status_code",
    ];

    pub(super) const fn name(&self) -> &'static str {
        let [
            source,
            entry,
            state,
            reason,
            duplicate,
            outcome,
            entries,
            status,
        ] = Self::NAMES;
        match self {
            Self::Source(_) => source,
            Self::Entry(_) => entry,
            Self::State(_) => state,
            Self::Reason(_) => reason,
            Self::Duplicate(_) => duplicate,
            Self::Outcome(_) => outcome,
            Self::Entries(_) => entries,
            Self::HttpStatus(_) => status,
        }
    }
}
