//! The rejection of a request: the stage that rejects it, and all errors.

use crate::event::EventError;

/// A request that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stage that rejected it.
    pub class: RejectionClass,
    /// All errors of all events of the request; those of `class` come first.
    pub errors: Vec<EventError>,
}

/// The stage that rejects a request. If events fail in different stages, the earliest stage decides the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectionClass {
    /// The media type is not one that the source sends.
    UnsupportedMediaType,
    /// The body is not valid JSON, or an event lacks what CloudEvents requires.
    Malformed,
    /// The source has no such event type.
    UnknownEventType,
    /// An event does not match the schema of its type.
    Invalid,
    /// An event matches its schema, but its mapping cannot turn it into a change.
    Unmappable,
}

impl RejectionClass {
    /// Returns the stable name: the end of the problem `type`, and the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Malformed => "malformed",
            Self::UnknownEventType => "unknown_event_type",
            Self::Invalid => "invalid",
            Self::Unmappable => "unmappable",
        }
    }
}

impl Rejection {
    /// Creates a rejection by one stage.
    pub const fn new(class: RejectionClass, errors: Vec<EventError>) -> Self {
        Self { class, errors }
    }

    /// One rejection for those of several events.
    pub(super) fn merge(mut rejections: Vec<Self>) -> Option<Self> {
        rejections.sort_by_key(|rejection| rejection.class);
        let class = rejections.first()?.class;
        let errors = rejections
            .into_iter()
            .flat_map(|rejection| rejection.errors);
        Some(Self::new(class, errors.collect()))
    }
}
