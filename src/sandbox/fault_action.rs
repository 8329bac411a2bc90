//! The action of a fault rule, as the JSON of the rule defines it.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use serde::Deserialize;

use super::reply::ErrorShape;

/// The effect of a fault on a call. For most actions, `after` decides whether the sandbox makes the update before the
/// fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum FaultAction {
    /// `{"body": "…", "status": 200}`: answers with this text as the body, and with the content type JSON.
    Body {
        body: String,
        /// The status of the answer. The default is 200.
        #[serde(default)]
        status: FinalStatus,
        /// Tells whether the fault replaces the update or comes after the update.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"status": 503, …}`: sends an error answer with this status.
    Status(StatusFault),
    /// `{"latency_ms": 200}`: delays the answer. With `"after": "apply"`, the update happens before the delay.
    Latency {
        latency_ms: u64,
        /// Tells whether the delay comes before or after the update.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"hang": true}`: sends no answer, and keeps the connection open until the client closes it.
    Hang {
        #[serde(rename = "hang")]
        _hang: MustBeTrue,
        /// Tells whether the fault replaces the update or comes after the update.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"lands_after_ms": 1500}`: sends no answer, and makes the update after this time, even if the client has closed
    /// the connection.
    LandsLate { lands_after_ms: u64 },
    /// `{"reset": true}`: resets the connection before the first byte of an answer.
    Reset {
        #[serde(rename = "reset")]
        _reset: MustBeTrue,
        /// Tells whether the fault replaces the update or comes after the update.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"interim": 103, "then_ms": 30}`: sends a 1xx head, waits for this time, and then sends the real answer.
    Interim {
        interim: InterimStatus,
        /// The time between the interim head and the real answer.
        #[serde(default)]
        then_ms: u64,
    },
    /// `{"stall_body": true}`: sends the head of the real answer and nothing more.
    StallBody {
        #[serde(rename = "stall_body")]
        _stall_body: MustBeTrue,
    },
    /// `{"short_body": true}`: sends the head of the real answer and half its body, and closes the connection.
    ShortBody {
        #[serde(rename = "short_body")]
        _short_body: MustBeTrue,
    },
    /// `{"wrong_id": true}`: sends the real answer with the id of another customer.
    WrongId {
        #[serde(rename = "wrong_id")]
        _wrong_id: MustBeTrue,
    },
    /// `{"endless_body": true}`: answers 200 with a JSON body that does not end.
    EndlessBody {
        #[serde(rename = "endless_body")]
        _endless_body: MustBeTrue,
        /// Tells whether the fault replaces the update or comes after the update.
        #[serde(default)]
        after: FaultTiming,
    },
}

impl FaultAction {
    /// Returns whether the fault replaces the update or comes after it. A fault that changes the real answer comes
    /// after the update.
    pub(super) const fn timing(&self) -> FaultTiming {
        match self {
            Self::Body { after, .. }
            | Self::Status(StatusFault { after, .. })
            | Self::Latency { after, .. }
            | Self::Hang { after, .. }
            | Self::Reset { after, .. }
            | Self::EndlessBody { after, .. } => *after,
            Self::LandsLate { .. } => FaultTiming::BeforeUpdate,
            Self::Interim { .. }
            | Self::StallBody { .. }
            | Self::ShortBody { .. }
            | Self::WrongId { .. } => FaultTiming::AfterUpdate,
        }
    }

    /// Returns the name that the ledger shows for the fault.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Body { .. } => "body",
            Self::Status(_) => "status",
            Self::Latency { .. } => "latency",
            Self::Hang { .. } => "hang",
            Self::LandsLate { .. } => "lands_late",
            Self::Reset { .. } => "reset",
            Self::Interim { .. } => "interim",
            Self::StallBody { .. } => "stall_body",
            Self::ShortBody { .. } => "short_body",
            Self::WrongId { .. } => "wrong_id",
            Self::EndlessBody { .. } => "endless_body",
        }
    }
}

/// An error answer that the sandbox sends instead of the real answer.
///
/// ```json
/// {"status": 503, "shape": "envelope", "type": "…", "param": "…", "message": "…", "retry_after": "5", "location": "…",
///  "after": "apply", "lands_after_ms": 1500}
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusFault {
    pub(super) status: FinalStatus,
    /// The shape of the error body.
    #[serde(default)]
    pub(super) shape: ErrorShape,
    /// The `type` of the error. The default is the reason phrase of the status in capital letters, such as `NOT_FOUND`.
    pub(super) r#type: Option<String>,
    pub(super) param: Option<String>,
    /// The `message` of the error. The default is the reason phrase of the status.
    pub(super) message: Option<String>,
    /// The `Retry-After` headers, which the sandbox sends verbatim.
    #[serde(default)]
    pub(super) retry_after: RetryAfter,
    /// The `Location` header.
    pub(super) location: Option<HeaderText>,
    /// Tells whether the fault replaces the update or comes after the update.
    #[serde(default)]
    pub(super) after: FaultTiming,
    /// The time after the error answer at which the sandbox makes the update. This simulates a gateway that answers 504
    /// while its server still works on the request. `None` means that no update follows.
    pub(super) lands_after_ms: Option<u64>,
}

impl StatusFault {
    /// Creates an error answer with this status, in the format that Imprint documents.
    pub(super) const fn new(status: FinalStatus) -> Self {
        Self {
            status,
            shape: ErrorShape::Envelope,
            r#type: None,
            param: None,
            message: None,
            retry_after: RetryAfter::Absent,
            location: None,
            after: FaultTiming::BeforeUpdate,
            lands_after_ms: None,
        }
    }
}

/// Tells whether a fault replaces the update or comes after the update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum FaultTiming {
    /// The fault replaces the update: the sandbox makes no update.
    #[default]
    #[serde(rename = "arrival")]
    BeforeUpdate,
    /// The sandbox first makes the update, and then causes the fault.
    #[serde(rename = "apply")]
    AfterUpdate,
}

/// A final HTTP status: 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct FinalStatus(StatusCode);

impl FinalStatus {
    pub(super) const UNAVAILABLE: Self = Self(StatusCode::SERVICE_UNAVAILABLE);

    pub(super) const fn code(self) -> StatusCode {
        self.0
    }
}

impl Default for FinalStatus {
    fn default() -> Self {
        Self(StatusCode::OK)
    }
}

impl TryFrom<u16> for FinalStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, &'static str> {
        StatusCode::from_u16(status)
            .ok()
            .filter(|_| (200..600).contains(&status))
            .map(Self)
            .ok_or("a status is 200 to 599")
    }
}

/// An interim HTTP status: 100 to 199.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct InterimStatus(u16);

impl InterimStatus {
    pub(super) const fn code(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for InterimStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, &'static str> {
        if (100..200).contains(&status) {
            Ok(Self(status))
        } else {
            Err("an interim status is 100 to 199")
        }
    }
}

/// A string that is a valid header value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct HeaderText(HeaderValue);

impl HeaderText {
    pub(super) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl TryFrom<String> for HeaderText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        HeaderValue::try_from(text)
            .map(Self)
            .map_err(|_fault| "a header cannot carry this text")
    }
}

/// The `Retry-After` headers of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum RetryAfter {
    #[default]
    Absent,
    One(HeaderText),
    /// One header for each string.
    Each(Vec<HeaderText>),
}

impl RetryAfter {
    pub(super) fn texts(&self) -> &[HeaderText] {
        match self {
            Self::Absent => &[],
            Self::One(text) => std::slice::from_ref(text),
            Self::Each(texts) => texts,
        }
    }
}

/// The value of a fault action that has no settings, such as `{"hang": true}`. The value `false` is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "bool")]
pub(super) struct MustBeTrue;

impl TryFrom<bool> for MustBeTrue {
    type Error = &'static str;

    fn try_from(yes: bool) -> Result<Self, &'static str> {
        if yes { Ok(Self) } else { Err("must be true") }
    }
}
