//! The answers to request heads that never reach the HTTP server.

use crate::http::framing::{HEAD_BYTES_MAX, Violation};
use crate::http::problem::{MEDIA_TYPE, ProblemDocument};

/// The reason why a request head does not reach the HTTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedHead {
    /// The bytes are not an acceptable HTTP/1 request.
    Violation(Violation),
    /// The head did not arrive in time.
    Timeout,
}

impl From<Violation> for RefusedHead {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl RefusedHead {
    /// Returns the status, the last word of the problem type, and the title.
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Violation(Violation::LineEnd | Violation::Chunk) => {
                (400, "malformed_http", "Malformed HTTP request")
            }
            Self::Violation(Violation::Tunnel) => {
                (400, "tunnel", "Tunnels and WebSocket not supported")
            }
            Self::Violation(Violation::HeadTooLarge) => {
                (431, "head_too_large", "Request head too large")
            }
            Self::Timeout => (408, "head_timeout", "Request head timeout"),
        }
    }

    /// Returns the last word of the problem type.
    pub(super) const fn word(self) -> &'static str {
        self.row().1
    }

    fn detail(self) -> String {
        let detail = match self {
            Self::Violation(Violation::LineEnd | Violation::Chunk) => {
                "Every line of a request head ends in CR LF, and no line contains CR, LF or NUL."
            }
            Self::Violation(Violation::Tunnel) => {
                "Send the request without CONNECT and without Upgrade: websocket."
            }
            Self::Violation(Violation::HeadTooLarge) => {
                return format!("The maximum size of a request head is {HEAD_BYTES_MAX} bytes.");
            }
            Self::Timeout => "The request head did not arrive in time. Send it without pauses.",
        };
        detail.to_owned()
    }

    /// Returns the whole HTTP response, after which the connection ends.
    pub(super) fn response(self) -> Vec<u8> {
        let (status, word, title) = self.row();
        let problem = ProblemDocument::new(word, status, title, self.detail());
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
