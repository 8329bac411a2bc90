//! The reasons for a failed authentication. The sender sees none of them: every denied request gets the same response.

use actix_web::http::header::HeaderMap;

use crate::http::single_header::SingleHeader;

/// A failed authentication: the reason, and a sentence for the operator.
///
/// The sentence names headers and settings, and never contains a value of a header or a part of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub reason: DenialReason,
    pub detail: String,
}

/// The reason for an authentication failure. The bridge shows the reason to the operator, never to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// A header that authentication needs is missing.
    Missing,
    /// A header that authentication needs cannot be parsed.
    Malformed,
    /// The signing time is too far from the bridge's clock.
    Stale,
    /// None of the configured secrets matches the token or signature.
    Mismatch,
}

impl DenialReason {
    /// The metric labels of all denial reasons.
    pub const NAMES: [&'static str; 4] = [
        Self::Missing.as_str(),
        Self::Malformed.as_str(),
        Self::Stale.as_str(),
        Self::Mismatch.as_str(),
    ];

    /// Returns the metric label of the denial reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Mismatch => "mismatch",
        }
    }
}

impl Denial {
    pub(in crate::ingress) fn malformed(detail: impl Into<String>) -> Self {
        Self {
            reason: DenialReason::Malformed,
            detail: detail.into(),
        }
    }

    pub(in crate::ingress) fn mismatch(detail: impl Into<String>) -> Self {
        Self {
            reason: DenialReason::Mismatch,
            detail: detail.into(),
        }
    }

    /// Creates the denial of every request for a receipt from a source that does not sign the path.
    pub(super) fn unsigned_path() -> Self {
        Self::mismatch(
            "the signature does not cover the event id in the path: auth.signed has no {path}, so the source cannot request receipts. The sender must also sign the path, or ask for the result with the header `Prefer: wait`",
        )
    }

    /// Creates the denial of a request for a receipt whose signature covers another event id.
    pub(in crate::ingress) fn other_event() -> Self {
        Self::mismatch(
            "the signature does not cover the event id in the path: the sender must sign this id as the id of the message",
        )
    }

    /// Creates the denial of a request whose signing time lies `apart_millis` after the bridge's clock, or before the
    /// clock if the number is negative.
    pub(super) fn stale(header: &str, apart_millis: i64, tolerance_millis: u64) -> Self {
        let side = if apart_millis < 0 { "before" } else { "after" };
        Self {
            reason: DenialReason::Stale,
            detail: format!(
                "the signing time in the header {header} is {} s {side} the bridge's clock; the tolerance is {} s",
                apart_millis.unsigned_abs() / 1000,
                tolerance_millis / 1000
            ),
        }
    }
}

/// Returns the text of a header that must occur exactly once.
pub(super) fn required<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Denial> {
    match SingleHeader::read(headers, name) {
        SingleHeader::Absent => Err(Denial {
            reason: DenialReason::Missing,
            detail: format!("the request has no header {name}"),
        }),
        SingleHeader::Text("") => Err(Denial::malformed(format!("the header {name} is empty"))),
        SingleHeader::Unreadable => Err(Denial::malformed(match headers.get_all(name).count() {
            0 | 1 => format!("the value of the header {name} is not visible ASCII"),
            count => format!("the header {name} occurs {count} times"),
        })),
        SingleHeader::Text(text) => Ok(text),
    }
}
