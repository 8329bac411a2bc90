//! The rejection of a request. A rejection contains the intake stage that rejects the request, and all errors of the
//! request.

use crate::event::EventError;

/// The rejection of a request by intake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The intake stage that rejected the request.
    pub class: RejectionClass,
    /// All errors of all events of the request. The errors of the stage in `class` come first.
    pub errors: Vec<EventError>,
}

/// The intake stage that rejects a request. If events fail in different stages, the earliest stage decides the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectionClass {
    /// The body is not valid JSON, or an event lacks an attribute that CloudEvents requires.
    Malformed,
    /// The body has more events than `ingress.batch_max` allows.
    TooManyEvents,
    /// The source file does not configure the type of the event.
    UnknownEventType,
    /// An event does not match the schema of the event's type.
    Invalid,
    /// An event matches its schema, but the mapping cannot turn the event into a customer change.
    Unmappable,
    /// An event contains the number of a payment card, which the bridge does not store.
    CardNumber,
}

impl RejectionClass {
    /// All classes.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::TooManyEvents,
        Self::UnknownEventType,
        Self::Invalid,
        Self::Unmappable,
        Self::CardNumber,
    ];

    /// Returns the stable name of the stage. The name is the end of the problem document's `type`, and the metric
    /// label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooManyEvents => "too_many_events",
            Self::UnknownEventType => "unknown_event_type",
            Self::Invalid => "invalid",
            Self::Unmappable => "unmappable",
            Self::CardNumber => "card_number",
        }
    }
}

impl Rejection {
    /// Creates a rejection by one intake stage.
    pub const fn new(class: RejectionClass, errors: Vec<EventError>) -> Self {
        Self { class, errors }
    }

    /// Merges the rejections of several events into one rejection.
    pub(super) fn merge(mut rejections: Vec<Self>) -> Option<Self> {
        rejections.sort_by_key(|rejection| rejection.class);
        let class = rejections.first()?.class;
        let errors = rejections
            .into_iter()
            .flat_map(|rejection| rejection.errors);
        Some(Self::new(class, errors.collect()))
    }
}
