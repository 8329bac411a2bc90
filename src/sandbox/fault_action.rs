//! What a fault does, as a rule spells it.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use serde::Deserialize;

use super::reply::ErrorShape;

/// What happens to a call. Every action but those that spoil a real answer may be told to come after the update.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum FaultAction {
    /// `{"body": "…", "status": 200}`: this text, labelled as JSON.
    Body {
        /// The text.
        body: String,
        /// The status; 200 unless told.
        #[serde(default)]
        status: FinalStatus,
        /// Whether the update is made first.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"status": 503, …}`: this error.
    Status(StatusFault),
    /// `{"latency_ms": 200}`: the answer comes later. With `"after": "apply"` the update is made before the delay.
    Latency {
        /// How much later.
        latency_ms: u64,
        /// Whether the update is made before the delay.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"hang": true}`: no answer, until the client goes.
    Hang {
        #[serde(rename = "hang")]
        _hang: MustBeTrue,
        /// Whether the update is made first.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"lands_after_ms": 1500}`: no answer, and so much later the update is made, whoever is still there.
    LandsLate {
        /// How much later.
        lands_after_ms: u64,
    },
    /// `{"reset": true}`: the connection is reset before the first byte of an answer.
    Reset {
        #[serde(rename = "reset")]
        _reset: MustBeTrue,
        /// Whether the update is made first.
        #[serde(default)]
        after: FaultTiming,
    },
    /// `{"interim": 103, "then_ms": 30}`: a 1xx head, and so much later the real answer.
    Interim {
        /// The interim status.
        interim: InterimStatus,
        /// The pause between the two.
        #[serde(default)]
        then_ms: u64,
    },
    /// `{"stall_body": true}`: the real answer's head, then silence.
    StallBody {
        #[serde(rename = "stall_body")]
        _stall_body: MustBeTrue,
    },
    /// `{"short_body": true}`: the real answer's head, half its body, then the end of the connection.
    ShortBody {
        #[serde(rename = "short_body")]
        _short_body: MustBeTrue,
    },
    /// `{"wrong_id": true}`: the real answer, about another customer.
    WrongId {
        #[serde(rename = "wrong_id")]
        _wrong_id: MustBeTrue,
    },
    /// `{"endless_body": true}`: a 200 whose JSON never comes to its end.
    EndlessBody {
        #[serde(rename = "endless_body")]
        _endless_body: MustBeTrue,
        /// Whether the update is made first.
        #[serde(default)]
        after: FaultTiming,
    },
}

impl FaultAction {
    /// When it strikes; what spoils a real answer strikes after the update was made.
    pub(super) const fn after(&self) -> FaultTiming {
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

    /// Its name in the ledger.
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

/// An error that is answered instead of Imprint's answer.
///
/// ```json
/// {"status": 503, "shape": "envelope", "type": "…", "param": "…", "message": "…", "retry_after": "5", "location": "…",
///  "after": "apply"}
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusFault {
    /// The status.
    pub(super) status: FinalStatus,
    /// How it is worded.
    #[serde(default)]
    pub(super) shape: ErrorShape,
    /// Its `type`; the status in capitals unless told.
    pub(super) r#type: Option<String>,
    /// Its `param`.
    pub(super) param: Option<String>,
    /// Its `message`; the reason of the status unless told.
    pub(super) message: Option<String>,
    /// Its `Retry-After`, verbatim: none, one or several.
    #[serde(default)]
    pub(super) retry_after: RetryAfter,
    /// Its `Location`.
    pub(super) location: Option<HeaderText>,
    /// Whether the update is made first.
    #[serde(default)]
    pub(super) after: FaultTiming,
}

impl StatusFault {
    /// That status and nothing else, in the guide's shape.
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
        }
    }
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum FaultTiming {
    /// Before anything was done for the call.
    #[default]
    #[serde(rename = "arrival")]
    BeforeUpdate,
    /// After the update was made.
    #[serde(rename = "apply")]
    AfterUpdate,
}

/// The status of a last answer: 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct FinalStatus(StatusCode);

impl FinalStatus {
    /// 503.
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

/// The status of an interim answer: 100 to 199.
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

/// A text that may stand in a header.
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
            .map_err(|_fault| "not a text for a header")
    }
}

/// The `Retry-After` headers of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum RetryAfter {
    /// None.
    #[default]
    Absent,
    /// One.
    One(HeaderText),
    /// One each.
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

/// `true`: the rule that says `false` is a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "bool")]
pub(super) struct MustBeTrue;

impl TryFrom<bool> for MustBeTrue {
    type Error = &'static str;

    fn try_from(yes: bool) -> Result<Self, &'static str> {
        if yes {
            Ok(Self)
        } else {
            Err("only true means something")
        }
    }
}
