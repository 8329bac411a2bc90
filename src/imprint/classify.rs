//! Turns Imprint's answer to an update into an [`Outcome`]. The classifier is a pure function.
//!
//! The classifier looks at the HTTP status first. The `type` of an error body is only a hint, because a gateway
//! possibly answers instead of Imprint. The callers of Imprint's client see only the outcome, never the HTTP answer.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::echo::applied;
use super::{Cause, Field, Outcome, Rejection, Request};
use crate::http::retry_after;
use crate::time::Timestamp;

/// The error types that Imprint documents. Two types lack the word "NOT", exactly as in Imprint's documentation.
///
/// The store and the log keep no type outside this list, because any other text is possibly a customer's value.
const TYPES: [&str; 10] = [
    "INVALID_REQUEST_ERROR",
    "BAD_REQUEST_ERROR",
    CUSTOMER_NOT_FOUND,
    PARTNER_CUSTOMER_NOT_FOUND,
    "SESSION_NOT_FOUND_ERROR",
    "PAYMENT_METHOD_NOT_FOUND_ERROR",
    "REWARD_NOT_FOUND_ERROR",
    "TRANSACTION_INTENT_FOUND_ERROR",
    "TRANSACTION_FOUND_ERROR",
    "CUSTOMER_ALREADY_LINKED",
];
const CUSTOMER_NOT_FOUND: &str = "CUSTOMER_NOT_FOUND_ERROR";
const PARTNER_CUSTOMER_NOT_FOUND: &str = "PARTNER_CUSTOMER_NOT_FOUND_ERROR";
/// The ending of most error types of Imprint.
const TYPE_ENDING: &str = "_ERROR";
/// The request parameters that Imprint can name in an error, besides the fields of an update.
const PARAMETERS: [&str; 4] = ["customer_id", "partner_customer_id", "metadata", "address"];

/// The parts of Imprint's answer that decide the outcome.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "the body is personal data")]
pub struct ImprintResponse<'a> {
    /// The HTTP status of Imprint's answer.
    pub status: u16,
    /// The values of all `Retry-After` headers in Imprint's answer.
    pub retry_after: &'a [String],
    /// The body of Imprint's answer. If the body does not decide the outcome (see `needs_body`), and the client could not
    /// read the whole body, the field is empty.
    pub body: &'a str,
}

/// Classifies Imprint's answer to an update. The classifier compares a date in `Retry-After` with `wall`, the current
/// time.
pub fn classify(request: &Request, response: ImprintResponse<'_>, wall: Timestamp) -> Outcome {
    match response.status {
        200..=299 => applied(request, response.body),
        status if needs_body(status) && is_cut_short(response.body) => {
            Outcome::Unknown(Cause::Unreadable)
        }
        300..=399 | 401 => Outcome::Denied(Cause::Status(response.status)),
        404 | 410 if is_customer_not_found(response.body) => Outcome::NotFound,
        429 => Outcome::Throttled(retry_after::parse(response.retry_after, wall)),
        503 => match retry_after::parse(response.retry_after, wall) {
            Some(wait) => Outcome::Throttled(Some(wait)),
            None => Outcome::Unavailable(Cause::Status(503)),
        },
        // The status 403, 404, 405 or 410 does not tell whether the answer concerns one customer or every customer.
        403..=405 | 410 => Outcome::Unclear(Cause::Status(response.status)),
        408 | 425 | 500..=599 => Outcome::Unavailable(Cause::Status(response.status)),
        400..=499 => {
            let ErrorBody { kind, param } = ErrorBody::parse(response.body);
            Outcome::Rejected(Rejection {
                status: response.status,
                kind,
                param,
            })
        }
        _ => Outcome::Unknown(Cause::Protocol),
    }
}

/// Returns whether the outcome of an answer with this status depends on the whole body of the answer.
///
/// The outcome depends on the body for a 2xx, and for a status with which Imprint can reject the content of an update.
/// For any other answer, the status alone decides the outcome.
pub(super) const fn needs_body(status: u16) -> bool {
    match status {
        401 | 403 | 405 | 408 | 425 | 429 => false,
        200..=299 | 400..=499 => true,
        _ => false,
    }
}

/// Returns whether a body is JSON that breaks off. If an answer states no length and ends when the connection closes,
/// only the JSON shows that a part is missing.
pub(super) fn is_cut_short(body: &str) -> bool {
    let json = body.trim_ascii();
    let is_json = json.starts_with(['{', '[']);
    is_json && serde_json::from_str::<IgnoredAny>(json).is_err_and(|error| error.is_eof())
}

/// Returns whether an error body of Imprint has a type for "the customer does not exist".
pub(super) fn is_customer_not_found(body: &str) -> bool {
    let kind = ErrorBody::parse(body).kind;
    matches!(kind, Some(CUSTOMER_NOT_FOUND | PARTNER_CUSTOMER_NOT_FOUND))
}

/// Returns the error type and the name of the parameter in an error body.
pub(super) fn error_names(body: &str) -> (Option<&'static str>, Option<String>) {
    let ErrorBody { kind, param } = ErrorBody::parse(body);
    (kind, param)
}

/// The error type and the parameter name in an error body, for each of the JSON formats that Imprint uses.
#[derive(Default)]
struct ErrorBody {
    /// The error type, in the spelling of [`TYPES`].
    kind: Option<&'static str>,
    param: Option<String>,
}

impl ErrorBody {
    fn parse(body: &str) -> Self {
        let Ok(Value::Object(flat)) = serde_json::from_str(body) else {
            return Self::default();
        };
        let nested = flat.get("error").and_then(Value::as_object);
        let text = |key: &str| {
            let value = nested
                .and_then(|nested| nested.get(key))
                .or_else(|| flat.get(key));
            value.and_then(Value::as_str)
        };
        // Each detail of Imprint's `InvalidRequestError` starts with the name of the field: "email: must be …".
        let detail = flat
            .get("details")
            .and_then(|details| details.get(0))
            .and_then(Value::as_str);
        let field = detail
            .and_then(|detail| detail.split_once(':'))
            .map(|(field, _)| field);
        Self {
            kind: text("type").and_then(error_type),
            param: text("param").or(field).and_then(parameter),
        }
    }
}

/// Returns the error type in [`TYPES`] that equals a text. The comparison ignores the case of letters, the difference
/// between `-` and `_`, and the ending `_ERROR`.
fn error_type(raw: &str) -> Option<&'static str> {
    let spelled = raw.to_ascii_uppercase().replace('-', "_");
    let without_ending = |text: &str| text.strip_suffix(TYPE_ENDING).unwrap_or(text).to_owned();
    let name = without_ending(&spelled);
    TYPES
        .into_iter()
        .find(|known| without_ending(known) == name)
}

/// Returns the text if it is a known name: the path of a field, the path of an object that contains fields, or a
/// parameter in [`PARAMETERS`].
///
/// The function drops any other text, because the text is possibly a customer's value.
fn parameter(raw: &str) -> Option<String> {
    let is_known = PARAMETERS.contains(&raw)
        || Field::paths().any(|path| path == raw)
        || Field::is_object(raw);
    is_known.then(|| raw.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Echo, ImprintId};
    use super::*;

    const CUSTOMER: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
    /// The test time: 2025-02-13T19:08:07Z, a Thursday.
    const WALL: Timestamp = Timestamp::from_millis(1_739_473_687_000);

    fn check(status: u16, retry_after: &[&str], body: &str) -> Outcome {
        let retry_after: Vec<String> = retry_after
            .iter()
            .map(|&header| header.to_owned())
            .collect();
        let response = ImprintResponse {
            status,
            retry_after: &retry_after,
            body,
        };
        let request = Request {
            customer: ImprintId::parse(CUSTOMER).unwrap(),
            body: super::super::Body::default(),
            cleared: Vec::new(),
        };
        classify(&request, response, WALL)
    }

    #[test]
    fn a_2xx_counts_only_with_the_customer_of_the_request() {
        let own = format!(r#"{{"id":"{}","ssn4":"1234"}}"#, CUSTOMER.to_lowercase());
        let applied = Outcome::Applied(Echo::default());
        for status in [200, 202, 299] {
            assert_eq!(check(status, &[], &own), applied);
        }
        assert_eq!(
            check(200, &[], r#"{"id":"other"}"#),
            Outcome::Unknown(Cause::WrongCustomer)
        );
        let unreadable = [
            "",
            "<html>",
            "{}",
            r#"{"id":1}"#,
            r#"["BBB815E9-F654-438D-9AD3-3F7BB8136FC0"]"#,
            r#"{"error":{"type":"X"}}"#,
            r#"{"id":"#,
            r#"{"data":[],"total":0}"#,
        ];
        for body in unreadable {
            assert_eq!(
                check(200, &[], body),
                Outcome::Unknown(Cause::Unreadable),
                "{body}"
            );
        }
        assert_eq!(check(204, &[], ""), Outcome::Unknown(Cause::Unreadable));
    }

    #[test]
    fn a_retry_after_makes_a_503_throttling() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let table: [(&[&str], Option<Duration>); 5] = [
            (&["5"], seconds(5)),
            (&["Thu, 13 Feb 2025 19:08:37 GMT"], seconds(30)),
            (&["0"], seconds(1)),
            (&["soon"], None),
            (&[], None),
        ];
        for (headers, wait) in table {
            assert_eq!(
                check(429, headers, ""),
                Outcome::Throttled(wait),
                "{headers:?}"
            );
            let unavailable = Outcome::Unavailable(Cause::Status(503));
            let expected = wait.map_or(unavailable, |wait| Outcome::Throttled(Some(wait)));
            assert_eq!(check(503, headers, ""), expected, "{headers:?}");
        }
        // The classifier ignores a `Retry-After` header in an answer with any status except 429 and 503.
        let unavailable = Outcome::Unavailable(Cause::Status(502));
        assert_eq!(check(502, &["5"], ""), unavailable);
    }

    #[test]
    fn every_status_has_one_outcome() {
        for status in [300, 301, 302, 303, 307, 308, 399, 401] {
            let denied = Outcome::Denied(Cause::Status(status));
            assert_eq!(check(status, &[], ""), denied);
        }
        for status in [403, 404, 405, 410] {
            let unclear = Outcome::Unclear(Cause::Status(status));
            assert_eq!(check(status, &[], "<html>"), unclear);
        }
        for status in [408, 425, 500, 501, 502, 503, 504, 505, 599] {
            let unavailable = Outcome::Unavailable(Cause::Status(status));
            assert_eq!(check(status, &[], "<html>"), unavailable);
        }
        for status in [
            400, 402, 406, 407, 409, 411, 412, 413, 415, 418, 422, 424, 426, 428, 430, 431, 451,
            499,
        ] {
            let rejection = Rejection {
                status,
                kind: None,
                param: None,
            };
            assert_eq!(check(status, &[], ""), Outcome::Rejected(rejection));
        }
        for status in [100, 103, 199, 600] {
            let unknown = Outcome::Unknown(Cause::Protocol);
            assert_eq!(check(status, &[], ""), unknown, "{status}");
        }
    }

    #[test]
    fn only_a_404_with_a_type_for_it_says_that_the_customer_does_not_exist() {
        for body in [
            r#"{"type":"CUSTOMER_NOT_FOUND_ERROR","message":"…","param":"customer_id"}"#,
            r#"{"error":{"type":"CUSTOMER_NOT_FOUND_ERROR"}}"#,
            r#"{"type":"customer-not-found"}"#,
            r#"{"type":"PARTNER_CUSTOMER_NOT_FOUND_ERROR","param":"partner_customer_id"}"#,
        ] {
            assert_eq!(check(404, &[], body), Outcome::NotFound, "{body}");
            // The error type alone does not change the outcome of an answer.
            let rejected = check(400, &[], body);
            assert!(matches!(rejected, Outcome::Rejected(_)), "{body}");
        }
        for body in [
            "",
            "<html>404</html>",
            r#"{"error":"Not Found"}"#,
            r#"{"type":"NOT_FOUND"}"#,
            r#"{"type":"CUSTOMER_BLOCKED"}"#,
            r#"{"type":"CUSTOMERNOTFOUND"}"#,
            r#"{"type":"NOT_FOUND_CUSTOMER"}"#,
            r#"{"type":"CUSTOMER_SESSION_NOT_FOUND_ERROR"}"#,
            r#"{"type":"PAYMENT_METHOD_NOT_FOUND_ERROR"}"#,
            r#"{"message":"CUSTOMER_NOT_FOUND_ERROR"}"#,
        ] {
            let unclear = Outcome::Unclear(Cause::Status(404));
            assert_eq!(check(404, &[], body), unclear, "{body}");
        }
    }

    #[test]
    fn a_rejection_has_imprints_type_and_parameter_in_every_shape() {
        let table = [
            (
                r#"{"error":{"type":"INVALID_REQUEST_ERROR","message":"m","param":"email"}}"#,
                Some("INVALID_REQUEST_ERROR"),
                Some("email"),
            ),
            (
                r#"{"type":"BAD_REQUEST_ERROR","message":"m"}"#,
                Some("BAD_REQUEST_ERROR"),
                None,
            ),
            (
                r#"{"type":"BAD_REQUEST_ERROR","error":{"type":"invalid-request"},"param":"city"}"#,
                Some("INVALID_REQUEST_ERROR"),
                Some("city"),
            ),
            (
                r#"{"error":"Bad Request","status":400,"details":["email: must be well-formed"]}"#,
                None,
                Some("email"),
            ),
            (
                r#"{"param":"phone","details":["email: m"]}"#,
                None,
                Some("phone"),
            ),
            (r#"{"details":["email"]}"#, None, None),
            (r#"{"error":null}"#, None, None),
            ("[]", None, None),
        ];
        for (body, kind, param) in table {
            let rejection = Rejection {
                status: 400,
                kind,
                param: param.map(str::to_owned),
            };
            let outcome = check(400, &[], body);
            assert_eq!(outcome, Outcome::Rejected(rejection), "{body}");
        }
    }

    #[test]
    fn a_text_that_may_be_a_value_is_not_kept() {
        let body = r#"{"error":{"type":"jane@example.com is wrong","param":"+1 415 555 2671"}}"#;
        let named = ErrorBody::parse(body);
        assert_eq!((named.kind, named.param), (None, None));
        let named = ErrorBody::parse(r#"{"type":"Jane","details":["JaneDoe: is not a name"]}"#);
        assert_eq!((named.kind, named.param), (None, None));
        for (raw, is_kept) in [
            ("email", true),
            ("customer_history", true),
            ("customer_history.address", true),
            ("customer_history.address.city", true),
            ("customer_id", true),
            ("partner_customer_id", true),
            ("address", true),
            ("metadata", true),
            ("metadata.jane", false),
            ("custom", false),
            ("", false),
        ] {
            assert_eq!(parameter(raw).is_some(), is_kept, "{raw}");
        }
    }

    /// FAULTS N211: a customer's name in capitals would pass any rule about the spelling of a type.
    #[test]
    fn only_a_documented_type_is_kept() {
        for known in TYPES {
            assert_eq!(error_type(known), Some(known));
        }
        for (raw, read) in [
            ("bad-request", Some("BAD_REQUEST_ERROR")),
            ("Customer_Already_Linked", Some("CUSTOMER_ALREADY_LINKED")),
            (
                "CUSTOMER_ALREADY_LINKED_ERROR",
                Some("CUSTOMER_ALREADY_LINKED"),
            ),
            ("JANE_DOE", None),
            ("JANE_DOE_ERROR", None),
            ("BAD_REQUEST_ERROR_JANE", None),
            ("BAD_REQUEST_ERROR_ERROR", None),
            ("_ERROR", None),
            ("", None),
        ] {
            assert_eq!(error_type(raw), read, "{raw}");
        }
    }

    /// FAULTS N212: the missing part may hold the type.
    #[test]
    fn an_error_body_that_breaks_off_shows_nothing() {
        let unreadable = Outcome::Unknown(Cause::Unreadable);
        for body in [
            "{",
            "[",
            r#"{"error":{"type":"INVALID_REQUEST_ERROR","param":"em"#,
            r#" {"error":{"type":"INVALID_REQUEST_ERROR"}"#,
        ] {
            for status in [400, 404, 409, 410, 422, 451] {
                assert_eq!(check(status, &[], body), unreadable, "{status} {body}");
            }
            for status in [302, 401, 403, 405, 408, 425, 429, 500, 503] {
                assert_ne!(check(status, &[], body), unreadable, "{status} {body}");
            }
        }
        for body in ["", "<html>", "{}", "{]", "\"Bad", "Bad Request"] {
            let outcome = check(422, &[], body);
            assert!(matches!(outcome, Outcome::Rejected(_)), "{body}");
        }
    }
}
