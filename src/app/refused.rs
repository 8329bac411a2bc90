//! The answers to request heads that the stream or the HTTP server refuses before a handler runs.

use crate::http::framing::{HEAD_BYTES_MAX, OtherProtocol, Violation};
use crate::http::problem::{MEDIA_TYPE, ProblemDocument};
use crate::http::refused::RefusedProblem;

/// The second line of an answer without a body, as the HTTP server writes it.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// The reason why a request head does not reach a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedHead {
    /// The bytes break a rule for HTTP/1 requests.
    Violation(Violation),
    /// The head did not arrive in time.
    Timeout,
    /// The incomplete heads of all connections use up their memory limit.
    Budget,
    /// The HTTP server refuses the head with this status.
    ByServer(u16),
}

impl From<Violation> for RefusedHead {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl RefusedHead {
    /// Returns the refusal if `written` starts with an error answer that the HTTP server itself creates. Such an answer
    /// has no body.
    pub(super) fn by_server(written: &[u8]) -> Option<Self> {
        let status = [
            (400, "HTTP/1.1 400 Bad Request\r\n"),
            (431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
        ];
        let is_of = |line: &str| {
            let rest = written.strip_prefix(line.as_bytes());
            rest.is_some_and(|rest| rest.starts_with(NO_BODY))
        };
        let status = status.into_iter().find(|(_, line)| is_of(line));
        status.map(|(status, _)| Self::ByServer(status))
    }

    /// Returns the HTTP status, the last word of the problem type, and the title.
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Violation(
                Violation::LineEnd | Violation::Chunk | Violation::OtherProtocol(_),
            ) => (400, "malformed_http", "Malformed HTTP request"),
            Self::Violation(Violation::Tunnel) => {
                (400, "tunnel", "Tunnels and WebSocket not supported")
            }
            Self::Violation(Violation::HeadTooLarge) | Self::ByServer(431) => {
                (431, "head_too_large", "Request head too large")
            }
            Self::ByServer(_) => (400, "malformed_http", "Malformed HTTP request"),
            Self::Budget => (503, "head_budget", "Too many request heads at once"),
            Self::Timeout => (408, "head_timeout", "Request head timeout"),
        }
    }

    /// Returns the problem that the answer describes.
    pub(super) fn problem(self) -> RefusedProblem {
        let (status, word, title) = self.row();
        RefusedProblem {
            status,
            word,
            title: title.to_owned(),
            detail: self.detail(),
        }
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
            Self::Violation(Violation::OtherProtocol(OtherProtocol::Tls)) => {
                "The client speaks TLS, and this port has no TLS. Send to http://, or let the gateway end TLS."
            }
            Self::Violation(Violation::OtherProtocol(OtherProtocol::Http2)) => {
                "The client speaks HTTP/2 without TLS. Use HTTP/1.1 behind the gateway."
            }
            Self::Violation(Violation::OtherProtocol(OtherProtocol::Proxy)) => {
                "The gateway sends the PROXY protocol before the request. Turn it off in the gateway."
            }
            Self::Timeout => "The request head did not arrive in time. Send it without pauses.",
            Self::Budget => "Send the request again later.",
            Self::ByServer(431) => "The request head has too many headers.",
            Self::ByServer(_) => "The request line or a header is not valid HTTP/1.1.",
        };
        detail.to_owned()
    }

    /// Returns the complete HTTP response. The bridge closes the connection after this response.
    pub(super) fn response(self) -> Vec<u8> {
        let (status, word, title) = self.row();
        let problem = ProblemDocument::new(word, status, title, self.detail());
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let length = body.len();
        let retry_after = match self {
            Self::Budget => "retry-after: 1\r\n",
            Self::Violation(_) | Self::Timeout | Self::ByServer(_) => "",
        };
        format!(
            "HTTP/1.1 {status} {title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {length}\r\n{retry_after}connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
