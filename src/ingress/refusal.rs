//! The one table of refusals: which status, which stable `type`, which words, which metric label.
//!
//! The answer is a problem as RFC 9457 has it. It says what is wrong by pointer and rule, and never repeats a value;
//! it is never a redirect.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::event::EventError;
use crate::outbox;

/// How many faults an answer lists; the rest is counted.
const FAULTS_MAX: usize = 100;
const TYPE_PREFIX: &str = "urn:imprint-bridge:problem:";
const MEDIA_TYPE: &str = "application/problem+json";

/// The reason for a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not JSON as we take it, or no event of CloudEvents.
    Malformed(Vec<EventError>),
    /// It does not prove that it comes from the source.
    Unauthenticated {
        /// What the source is to prove itself with.
        challenge: &'static str,
    },
    /// There is no source of that name.
    UnknownSource,
    /// There is no receipt of that event.
    UnknownEvent,
    /// There is nothing at this path.
    NotFound,
    /// There is something at this path, and it takes other methods.
    MethodNotAllowed {
        /// Which.
        allow: &'static str,
    },
    /// The body came too slowly.
    BodyTimeout,
    /// These repeat an identity with other content.
    Conflict(Vec<EventError>),
    /// The body is too long.
    TooLarge {
        /// How long it may be.
        limit_bytes: usize,
    },
    /// The body is in no form that events come in.
    UnsupportedMediaType,
    /// The source has no such event type.
    UnknownEventType(Vec<EventError>),
    /// An event does not fit its schema.
    Invalid(Vec<EventError>),
    /// An event fits its schema and still cannot become an update.
    Unmappable(Vec<EventError>),
    /// The store's queue is full.
    Busy,
    /// The store's disk is full.
    StoreFull,
    /// The store failed.
    StoreFailed,
    /// The store is closed: the process is ending.
    Stopping,
    /// We are at fault.
    Internal,
}

/// One row of the table.
struct RefusalRow {
    status: u16,
    word: &'static str,
    title: &'static str,
    retry_after_seconds: Option<u32>,
}

const fn row(status: u16, word: &'static str, title: &'static str) -> RefusalRow {
    RefusalRow {
        status,
        word,
        title,
        retry_after_seconds: None,
    }
}

impl RefusalRow {
    /// A sender that waits this long finds either room or a gateway that has noticed.
    const fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }
}

impl Refusal {
    fn row(&self) -> RefusalRow {
        match self {
            Self::Malformed(_) => row(400, "malformed", "The body cannot be read"),
            Self::Unauthenticated { .. } => row(401, "unauthenticated", "Not authentic"),
            Self::UnknownSource => row(404, "unknown_source", "There is no such source"),
            Self::UnknownEvent => row(404, "unknown_event", "There is no such event"),
            Self::NotFound => row(404, "not_found", "There is nothing here"),
            Self::MethodNotAllowed { .. } => row(405, "method_not_allowed", "Wrong method"),
            Self::BodyTimeout => row(408, "body_timeout", "The body came too slowly"),
            Self::Conflict(_) => row(409, "conflict", "The event is known otherwise"),
            Self::TooLarge { .. } => row(413, "too_large", "The body is too long"),
            Self::UnsupportedMediaType => row(415, "unsupported_media_type", "Wrong media type"),
            Self::UnknownEventType(_) => row(422, "unknown_event_type", "No such event type"),
            Self::Invalid(_) => row(422, "invalid", "The event does not fit its schema"),
            Self::Unmappable(_) => row(422, "unmappable", "The event cannot be mapped"),
            Self::Internal => row(500, "internal", "The service failed"),
            Self::Busy => row(503, "busy", "There is too much to do").retry_after(1),
            Self::StoreFull => row(503, "store_full", "The store is full").retry_after(30),
            Self::StoreFailed => row(503, "store_failed", "The store failed").retry_after(10),
            Self::Stopping => row(503, "stopping", "The service is stopping").retry_after(2),
        }
    }

    /// The word for it: the end of its `type`, and its metric label.
    pub fn word(&self) -> &'static str {
        self.row().word
    }

    fn detail(&self) -> String {
        let text = match self {
            Self::Malformed(faults) | Self::Invalid(faults) | Self::Unmappable(faults) => {
                return listed(faults);
            }
            Self::UnknownEventType(faults) => return listed(faults),
            Self::TooLarge { limit_bytes } => {
                return format!("The body may have at most {limit_bytes} bytes.");
            }
            Self::MethodNotAllowed { allow } => return format!("Allowed: {allow}."),
            Self::Unauthenticated { .. } => {
                "The request does not prove that it comes from the source."
            }
            Self::UnknownSource => "No source of this name is configured.",
            Self::UnknownEvent => "No event of this id was accepted, or its receipt has expired.",
            Self::NotFound => "No resource has this path.",
            Self::BodyTimeout => "Send the whole body without pauses.",
            Self::Conflict(_) => {
                "An accepted event is never replaced. Send a change as an event with an id of its own."
            }
            Self::UnsupportedMediaType => {
                "Send application/cloudevents+json, application/cloudevents-batch+json, or JSON with ce- headers; in UTF-8, without content-encoding."
            }
            Self::Busy | Self::StoreFull | Self::StoreFailed | Self::Stopping => {
                "Nothing was kept. Send the same request again after a while."
            }
            Self::Internal => "Nothing was promised. Send the same request again after a while.",
        };
        text.to_owned()
    }

    /// What is wrong with the events of the request, if it is them.
    pub fn faults(&self) -> &[EventError] {
        match self {
            Self::Malformed(faults)
            | Self::Conflict(faults)
            | Self::UnknownEventType(faults)
            | Self::Invalid(faults)
            | Self::Unmappable(faults) => faults,
            Self::Unauthenticated { .. }
            | Self::UnknownSource
            | Self::UnknownEvent
            | Self::NotFound
            | Self::MethodNotAllowed { .. }
            | Self::BodyTimeout
            | Self::TooLarge { .. }
            | Self::UnsupportedMediaType
            | Self::Busy
            | Self::StoreFull
            | Self::StoreFailed
            | Self::Stopping
            | Self::Internal => &[],
        }
    }
}

fn listed(faults: &[EventError]) -> String {
    match faults.len() {
        1 => "1 fault.".to_owned(),
        count if count > FAULTS_MAX => {
            format!("{count} faults, the first {FAULTS_MAX} of them listed.")
        }
        count => format!("{count} faults."),
    }
}

impl From<&outbox::Error> for Refusal {
    fn from(error: &outbox::Error) -> Self {
        match error {
            outbox::Error::Busy => Self::Busy,
            outbox::Error::Full => Self::StoreFull,
            outbox::Error::Failed { .. } => Self::StoreFailed,
            outbox::Error::Closed => Self::Stopping,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().title)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let row = self.row();
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, MEDIA_TYPE));
        if let Some(seconds) = row.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((header::ALLOW, *allow));
        }
        if let Self::Unauthenticated { challenge } = self {
            response.insert_header((header::WWW_AUTHENTICATE, *challenge));
        }
        response.json(Problem {
            r#type: format!("{TYPE_PREFIX}{}", row.word),
            title: row.title,
            status: row.status,
            detail: self.detail(),
            faults: self
                .faults()
                .iter()
                .take(FAULTS_MAX)
                .map(ListedError::from)
                .collect(),
        })
    }
}

/// The body of an answer, as RFC 9457 has it.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<ListedError<'a>>,
}

#[derive(Serialize)]
struct ListedError<'a> {
    pointer: &'a str,
    rule: &'a str,
    location: &'a str,
    detail: &'a str,
}

impl<'a> From<&'a EventError> for ListedError<'a> {
    fn from(fault: &'a EventError) -> Self {
        Self {
            pointer: &fault.pointer,
            rule: &fault.rule,
            location: &fault.location,
            detail: &fault.detail,
        }
    }
}

#[cfg(test)]
mod tests;
