//! The answers of the sandbox, and the shapes of the error bodies of Imprint or of a gateway.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::time::Timestamp;

/// The shape of an error body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ErrorShape {
    /// The error body `{"error": {"type", "message", "param"}}`, as in Imprint's guide.
    #[default]
    Envelope,
    /// The error body `{"type", "message", "param"}`, as in Imprint's documented 404 answers.
    Flat,
    /// The error body `{"path", "details", "error", "status", "timestamp"}`, as in Imprint's documented 400 answers.
    InvalidRequest,
    /// The error body `{"error": "…"}`.
    String,
    /// An HTML page, such as a gateway sends for an error.
    Html,
    /// An error without a body.
    Empty,
}

/// The content of an error body.
pub(super) struct ErrorWords<'a> {
    pub(super) status: StatusCode,
    pub(super) kind: Option<&'a str>,
    pub(super) param: Option<&'a str>,
    pub(super) details: Vec<String>,
    pub(super) path: &'a str,
    pub(super) now: Timestamp,
}

/// An answer of the sandbox.
pub(super) struct SandboxReply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: ReplyBody,
}

/// The body of an answer of the sandbox.
pub(super) enum ReplyBody {
    Json(Value),
    Html(String),
    Verbatim(String),
    Nothing,
}

impl SandboxReply {
    pub(super) fn new(status: StatusCode, content: ReplyBody) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content,
        }
    }

    /// Creates an error answer whose body has the given shape.
    pub(super) fn error(shape: ErrorShape, words: &ErrorWords<'_>) -> Self {
        let status = words.status;
        let reason = status.canonical_reason().unwrap_or("Error");
        let message = words.details.first().map_or(reason, String::as_str);
        let fallback = reason.to_uppercase().replace(' ', "_");
        let kind = words.kind.unwrap_or(&fallback);
        let mut flat = json!({"type": kind, "message": message});
        if let (Some(param), Some(flat)) = (words.param, flat.as_object_mut()) {
            flat.insert("param".to_owned(), param.into());
        }
        let content = match shape {
            ErrorShape::Envelope => ReplyBody::Json(json!({"error": flat})),
            ErrorShape::Flat => ReplyBody::Json(flat),
            ErrorShape::InvalidRequest => ReplyBody::Json(json!({
                "path": words.path,
                "details": words.details,
                "error": reason,
                "status": status.as_u16(),
                "timestamp": words.now.to_rfc3339().replace('Z', "+00:00"),
            })),
            ErrorShape::String => ReplyBody::Json(json!({"error": message})),
            ErrorShape::Html => ReplyBody::Html(format!(
                "<html><head><title>{reason}</title></head><body><h1>{reason}</h1></body></html>\n"
            )),
            ErrorShape::Empty => ReplyBody::Nothing,
        };
        Self::new(status, content)
    }

    /// Converts an answer of the sandbox to a response of actix.
    pub(super) fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for header in self.headers {
            response.append_header(header);
        }
        let (kind, bytes) = self.content.into_bytes();
        if kind.is_empty() {
            response.finish()
        } else {
            response
                .insert_header((header::CONTENT_TYPE, kind))
                .body(bytes)
        }
    }
}

impl ReplyBody {
    /// Returns the content type and the bytes of the body.
    pub(super) fn into_bytes(self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Json(value) => ("application/json", value.to_string().into_bytes()),
            Self::Verbatim(text) => ("application/json", text.into_bytes()),
            Self::Html(page) => ("text/html; charset=utf-8", page.into_bytes()),
            Self::Nothing => ("", Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_requested_shape() {
        let words = ErrorWords {
            status: StatusCode::BAD_REQUEST,
            kind: Some("INVALID_REQUEST_ERROR"),
            param: Some("email"),
            details: vec!["email: no".to_owned()],
            path: "/v2/customers/a",
            now: Timestamp::from_millis(1_739_473_687_000),
        };
        for (shape, body) in [
            (
                ErrorShape::Envelope,
                r#"{"error":{"message":"email: no","param":"email","type":"INVALID_REQUEST_ERROR"}}"#,
            ),
            (
                ErrorShape::Flat,
                r#"{"message":"email: no","param":"email","type":"INVALID_REQUEST_ERROR"}"#,
            ),
            (
                ErrorShape::InvalidRequest,
                concat!(
                    r#"{"details":["email: no"],"error":"Bad Request","path":"/v2/customers/a","#,
                    r#""status":400,"timestamp":"2025-02-13T19:08:07.000+00:00"}"#
                ),
            ),
            (ErrorShape::String, r#"{"error":"email: no"}"#),
            (
                ErrorShape::Html,
                "<html><head><title>Bad Request</title></head><body><h1>Bad Request</h1></body></html>\n",
            ),
            (ErrorShape::Empty, ""),
        ] {
            let (_, bytes) = SandboxReply::error(shape, &words).content.into_bytes();
            assert_eq!(String::from_utf8(bytes).unwrap(), body, "{shape:?}");
        }
    }
}
