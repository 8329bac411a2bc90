//! The table of refusals. Only this table sets the HTTP status, the problem `type`, the title and the metric label of a
//! refusal.
//!
//! The answer to a refused request is a problem document (RFC 9457), never a redirect. For each error, the problem
//! document names the JSON pointer and the broken rule. The document never repeats a value of the request.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};

use crate::event::EventError;
use crate::http::problem::{ERRORS_MAX, MEDIA_TYPE, ProblemDocument, ProblemError};
use crate::intake::{Rejection, RejectionClass};
use crate::outbox;

mod charset;

/// The `Retry-After` time of a source whose storage quota is used up. The bridge cannot know when it will have
/// delivered enough events. One retry in half a minute costs little.
const STORAGE_RETRY_SECONDS: u32 = 30;

/// The problem types of requests that the sender must change, because the bridge refuses the same request again.
///
/// If the sender does not read the answer, the events of the request are lost. The bridge therefore reports these refusals
/// to the operator.
pub const FINAL_PROBLEMS: [&str; 9] = [
    "malformed",
    "conflict",
    "too_large",
    "too_many_events",
    "unsupported_media_type",
    "unknown_event_type",
    "invalid",
    "unmappable",
    "card_number",
];

/// The reason why the event listener refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The module `intake` rejects the request, for example because an event does not match its schema.
    Rejected(Rejection),
    /// The source does not take bodies of this media type or with this encoding.
    UnsupportedMediaType {
        reason: MediaTypeReason,
        /// The media types that the source takes.
        taken: TakenMediaTypes,
    },
    /// The request does not prove that it comes from the source.
    Unauthenticated {
        /// The authentication scheme of the source, for the `WWW-Authenticate` header.
        challenge: &'static str,
    },
    /// The bridge has no source with the name in the path.
    UnknownSource,
    /// The bridge has no receipt for the event id in the path.
    UnknownEvent,
    /// The listener has no resource at this path.
    NotFound,
    /// The resource at this path does not support the HTTP method of the request.
    MethodNotAllowed {
        /// The HTTP methods that the resource supports.
        allow: &'static str,
    },
    /// The bridge did not receive the whole request body in time.
    BodyTimeout,
    /// The request contains an event with the id of an earlier event, but with other content than the earlier event.
    Conflict(Vec<EventError>),
    /// The request body is too large.
    TooLarge {
        /// The maximum size of a request body, in bytes.
        limit_bytes: usize,
    },
    /// The request bodies in memory use up the budget for request bodies.
    BodyBudget,
    /// The source has sent more events than its quota allows.
    RateQuota {
        /// The time after which the quota allows the request.
        retry_after_seconds: u32,
    },
    /// The unfinished events of the source would take more bytes in the store than the quota of the source allows.
    StorageQuota,
    /// The store's queue is full.
    Busy,
    /// The store's disk is full.
    StoreFull,
    StoreFailed,
    /// The store is closed, because the process is stopping.
    Stopping,
    /// Internal error of the bridge.
    Internal,
}

/// The reason why the source does not take the body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaTypeReason {
    /// The header `Content-Type` is missing, occurs more than once, or is not text.
    NoContentType,
    /// The source does not take this media type, or takes it only in UTF-8.
    ContentType,
    /// The body is JSON in another charset than UTF-8 and ASCII.
    Charset,
    /// The body is an HTML form.
    Form,
    /// The body has a content encoding, such as gzip.
    ContentEncoding,
    /// The signature does not cover these attributes of a request in binary mode.
    Unsigned(Vec<EventError>),
}

/// The media types that a source takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenMediaTypes {
    CloudEvents,
    PlainJson,
}

impl TakenMediaTypes {
    /// Returns the value of the header `Accept` of the answer (RFC 9110, section 15.5.16).
    const fn accept(self) -> &'static str {
        match self {
            Self::CloudEvents => {
                "application/cloudevents+json, application/cloudevents-batch+json, application/json"
            }
            Self::PlainJson => "application/json, application/*+json",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::CloudEvents => {
                "This source takes application/cloudevents+json, application/cloudevents-batch+json, or application/json with ce- headers, in UTF-8."
            }
            Self::PlainJson => {
                "This source takes application/json, or another media type that ends in +json, in UTF-8. It does not take CloudEvents."
            }
        }
    }
}

/// The media types of HTML forms. Many CRMs post them as long as nobody chooses JSON.
const FORMS: [&str; 2] = ["application/x-www-form-urlencoded", "multipart/form-data"];

impl MediaTypeReason {
    /// Returns the reason why a source does not take a media type.
    pub fn of_content_type(content_type: &str) -> Self {
        let is_form = |form: &str| {
            let start = content_type.get(..form.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(form))
        };
        if FORMS.into_iter().any(is_form) {
            Self::Form
        } else if charset::has_other_charset(content_type) {
            Self::Charset
        } else {
            Self::ContentType
        }
    }

    const fn detail(&self) -> &'static str {
        match self {
            Self::NoContentType => "The request needs exactly one header Content-Type.",
            Self::ContentType => "The Content-Type of the request does not fit.",
            Self::Charset => {
                "The charset of the Content-Type is neither UTF-8 nor ASCII. Send the body in UTF-8, with charset=utf-8 or without a charset."
            }
            Self::Form => {
                "The Content-Type says that the body is a form, which no source takes. If the body is JSON, send the header Content-Type: application/json. Otherwise choose JSON in the settings of the sender, or put a relay before the bridge that converts the form to JSON."
            }
            Self::ContentEncoding => "The body has a Content-Encoding, which no source takes.",
            Self::Unsigned(_) => {
                "The signature does not cover all event attributes of the request. Send the event in structured mode."
            }
        }
    }
}

/// One row of the refusal table.
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
    /// Adds a `Retry-After` time to a refusal.
    const fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }
}

/// Returns the row of the refusal table for a rejection by the module `intake`.
const fn rejected(class: RejectionClass) -> RefusalRow {
    let (status, title) = match class {
        RejectionClass::Malformed => (400, "Malformed request body"),
        RejectionClass::TooManyEvents => (413, "Too many events in the request body"),
        RejectionClass::UnknownEventType => (422, "Unknown event type"),
        RejectionClass::Invalid => (422, "Event does not match its schema"),
        RejectionClass::Unmappable => (422, "Event cannot be mapped"),
        RejectionClass::CardNumber => (422, "Event contains a payment card number"),
    };
    row(status, class.as_str(), title)
}

impl Refusal {
    fn row(&self) -> RefusalRow {
        match self {
            Self::Rejected(rejection) => rejected(rejection.class),
            Self::UnsupportedMediaType { .. } => {
                row(415, "unsupported_media_type", "Unsupported media type")
            }
            Self::Unauthenticated { .. } => row(401, "unauthenticated", "Authentication failed"),
            Self::UnknownSource => row(404, "unknown_source", "Unknown source"),
            Self::UnknownEvent => row(404, "unknown_event", "Unknown event"),
            Self::NotFound => row(404, "not_found", "Not found"),
            Self::MethodNotAllowed { .. } => row(405, "method_not_allowed", "Method not allowed"),
            Self::BodyTimeout => row(408, "body_timeout", "Request body timeout"),
            Self::Conflict(_) => row(
                409,
                "conflict",
                "Event id already used with different content",
            ),
            Self::TooLarge { .. } => row(413, "too_large", "Request body too large"),
            Self::RateQuota {
                retry_after_seconds,
            } => row(429, "rate_quota", "Event rate quota of the source exceeded")
                .retry_after(*retry_after_seconds),
            Self::StorageQuota => row(429, "storage_quota", "Storage quota of the source exceeded")
                .retry_after(STORAGE_RETRY_SECONDS),
            Self::Internal => row(500, "internal", "Internal error"),
            Self::BodyBudget => {
                row(503, "body_budget", "Too many request bodies at once").retry_after(1)
            }
            Self::Busy => row(503, "busy", "Store queue full").retry_after(1),
            Self::StoreFull => row(503, "store_full", "Store disk full").retry_after(30),
            Self::StoreFailed => row(503, "store_failed", "Store failed").retry_after(10),
            Self::Stopping => row(503, "stopping", "Service is stopping").retry_after(2),
        }
    }

    /// Returns whether the sender can send the same request again after the time in `Retry-After`.
    pub(super) fn is_temporary(&self) -> bool {
        self.row().retry_after_seconds.is_some()
    }

    /// Returns the last word of the problem document's `type`, which is also the metric label of the refusal.
    pub fn word(&self) -> &'static str {
        self.row().word
    }

    pub(crate) fn detail(&self) -> String {
        let text = match self {
            Self::Rejected(rejection) => return counted(&rejection.errors),
            Self::UnsupportedMediaType { reason, taken } => {
                return format!("{} {}", reason.detail(), taken.detail());
            }
            Self::TooLarge { limit_bytes } => {
                return format!("The maximum size of a request body is {limit_bytes} bytes.");
            }
            Self::MethodNotAllowed { allow } => return format!("Allowed methods: {allow}."),
            Self::Unauthenticated { .. } => {
                "The request does not prove that it comes from this source."
            }
            Self::UnknownSource => "No source with this name is configured.",
            Self::UnknownEvent => "No event with this id was accepted, or its receipt has expired.",
            Self::NotFound => {
                "No resource has this path. Events go to POST /v1/sources/{source}/events, without a slash at the end, and their receipts are at GET /v1/sources/{source}/events/{id}. Health checks, metrics and the admin API have another listener."
            }
            Self::BodyTimeout => "The request body did not arrive in time. Send it without pauses.",
            Self::Conflict(_) => {
                "An accepted event cannot be replaced. Send another change as a new event with a new id. If this is the same change and only values about the attempt differ, body.split in the source file can remove these values."
            }
            Self::RateQuota { .. } => {
                "The source sends more events per second than its quota allows. Nothing was stored. Send the same request again after the time in Retry-After."
            }
            Self::StorageQuota => {
                "The store has as many bytes of unfinished events of the source as the quota allows. Nothing was stored. Send the same request again later."
            }
            Self::BodyBudget
            | Self::Busy
            | Self::StoreFull
            | Self::StoreFailed
            | Self::Stopping => "Nothing was stored. Send the same request again later.",
            Self::Internal => "The result is unknown. Send the same request again later.",
        };
        text.to_owned()
    }

    /// Returns the errors of the events in the request.
    pub(super) fn errors(&self) -> &[EventError] {
        match self {
            Self::Rejected(rejection) => &rejection.errors,
            Self::Conflict(errors)
            | Self::UnsupportedMediaType {
                reason: MediaTypeReason::Unsigned(errors),
                ..
            } => errors,
            Self::UnsupportedMediaType { .. }
            | Self::Unauthenticated { .. }
            | Self::UnknownSource
            | Self::UnknownEvent
            | Self::NotFound
            | Self::MethodNotAllowed { .. }
            | Self::BodyTimeout
            | Self::TooLarge { .. }
            | Self::BodyBudget
            | Self::RateQuota { .. }
            | Self::StorageQuota
            | Self::Busy
            | Self::StoreFull
            | Self::StoreFailed
            | Self::Stopping
            | Self::Internal => &[],
        }
    }
}

fn counted(errors: &[EventError]) -> String {
    match errors.len() {
        1 => "1 error.".to_owned(),
        count if count > ERRORS_MAX => {
            format!("{count} errors; the first {ERRORS_MAX} are listed.")
        }
        count => format!("{count} errors."),
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<&outbox::Error> for Refusal {
    fn from(error: &outbox::Error) -> Self {
        match error {
            outbox::Error::Busy => Self::Busy,
            outbox::Error::Full => Self::StoreFull,
            outbox::Error::Failed { .. } | outbox::Error::Unavailable(_) => Self::StoreFailed,
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
        if let Self::UnsupportedMediaType { taken, .. } = self {
            response.insert_header((header::ACCEPT, taken.accept()));
        }
        if let Self::Unauthenticated { challenge } = self {
            response.insert_header((header::WWW_AUTHENTICATE, *challenge));
        }
        let problem = ProblemDocument::new(row.word, row.status, row.title, self.detail());
        response.json(problem.with_errors(self.errors().iter().map(listed)))
    }
}

fn listed(error: &EventError) -> ProblemError<'_> {
    ProblemError {
        pointer: &error.pointer,
        rule: &error.rule,
        location: &error.location,
        detail: &error.detail,
    }
}

#[cfg(test)]
mod tests;
