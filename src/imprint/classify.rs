//! What an answer of Imprint means. Pure: status first, `type` as a hint (imprint-api.md §6); after this nobody looks at
//! HTTP again.

use serde_json::Value;

use super::echo::applied;
use super::{Cause, Field, Outcome, Rejection, Request};
use crate::http::retry_after;
use crate::time::Timestamp;

/// The longest `type`; a longer one is none.
const NAME_CHARS_MAX: usize = 64;
/// The fields outside the update that Imprint may name.
const PARAMETERS: [&str; 4] = ["customer_id", "partner_customer_id", "metadata", "address"];

/// The parts of an answer that decide.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "the body is personal data")]
pub struct ImprintResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The Retry-After headers, as they came.
    pub retry_after: &'a [String],
    /// The body, cut at the cap.
    pub body: &'a [u8],
}

/// Says what came of an update.
pub fn classify(request: &Request, reply: ImprintResponse<'_>, wall: Timestamp) -> Outcome {
    match reply.status {
        200..=299 => applied(request, reply.body),
        300..=399 | 401 => Outcome::Denied(Cause::Status(reply.status)),
        404 if error_body(reply.body).names_the_customer() => Outcome::NotFound,
        410 => Outcome::NotFound,
        429 => Outcome::Throttled(retry_after::parse(reply.retry_after, wall)),
        503 => match retry_after::parse(reply.retry_after, wall) {
            Some(wait) => Outcome::Throttled(Some(wait)),
            None => Outcome::Unavailable(Cause::Status(503)),
        },
        // One customer or everybody? The answer does not say (imprint-api.md §0).
        403..=405 => Outcome::Unclear(Cause::Status(reply.status)),
        408 | 425 | 500..=599 => Outcome::Unavailable(Cause::Status(reply.status)),
        400..=499 => {
            let ErrorBody { kind, param } = error_body(reply.body);
            Outcome::Rejected(Rejection {
                status: reply.status,
                kind,
                param,
            })
        }
        _ => Outcome::Unknown(Cause::Protocol),
    }
}

/// What an error body names, in whichever of its shapes.
#[derive(Default)]
struct ErrorBody {
    kind: Option<String>,
    param: Option<String>,
}

impl ErrorBody {
    fn names_the_customer(&self) -> bool {
        self.kind
            .as_deref()
            .is_some_and(|kind| kind.contains("CUSTOMER") && kind.contains("NOT_FOUND"))
    }
}

/// Whether an error body says that there is no such customer.
pub(super) fn names_the_customer(body: &[u8]) -> bool {
    error_body(body).names_the_customer()
}

fn error_body(body: &[u8]) -> ErrorBody {
    let Ok(Value::Object(flat)) = serde_json::from_slice(body) else {
        return ErrorBody::default();
    };
    let nested = flat.get("error").and_then(Value::as_object);
    let text = |key: &str| {
        let value = nested
            .and_then(|nested| nested.get(key))
            .or_else(|| flat.get(key));
        value.and_then(Value::as_str)
    };
    // The InvalidRequestError shape names the field at the head of each detail: "email: must be …".
    let detail = flat
        .get("details")
        .and_then(|details| details.get(0))
        .and_then(Value::as_str);
    let field = detail
        .and_then(|detail| detail.split_once(':'))
        .map(|(field, _)| field);
    ErrorBody {
        kind: text("type").and_then(kind),
        param: text("param").or(field).and_then(param),
    }
}

/// Takes what is spelled like one of Imprint's types, `CUSTOMER_NOT_FOUND_ERROR`, in whichever case.
fn kind(raw: &str) -> Option<String> {
    let spelled = raw.to_ascii_uppercase().replace('-', "_");
    let fits = spelled.len() <= NAME_CHARS_MAX
        && spelled.contains('_')
        && spelled.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    fits.then_some(spelled)
}

/// Takes the name of a field that we know, or of an object of such fields: what else a partner puts there may be a value.
fn param(raw: &str) -> Option<String> {
    let known = PARAMETERS.contains(&raw)
        || Field::paths().any(|path| path == raw)
        || Field::is_object(raw);
    known.then(|| raw.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Echo, ImprintId};
    use super::*;

    const CUSTOMER: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
    /// 2025-02-13T19:08:07Z, a Thursday.
    const WALL: Timestamp = Timestamp::from_millis(1_739_473_687_000);

    fn check(status: u16, retry_after: &[&str], body: &str) -> Outcome {
        let retry_after: Vec<String> = retry_after
            .iter()
            .map(|&header| header.to_owned())
            .collect();
        let reply = ImprintResponse {
            status,
            retry_after: &retry_after,
            body: body.as_bytes(),
        };
        let request = Request {
            customer: ImprintId::parse(CUSTOMER).unwrap(),
            body: super::super::Body::default(),
            cleared: Vec::new(),
        };
        classify(&request, reply, WALL)
    }

    /// M01, M09, U16, U17, U18
    #[test]
    fn a_2xx_counts_only_with_the_customer_that_was_asked_for() {
        let own = format!(r#"{{"id":"{}","ssn4":"1234"}}"#, CUSTOMER.to_lowercase());
        let applied = Outcome::Applied(Echo::default());
        assert_eq!(check(200, &[], &own), applied);
        assert_eq!(check(202, &[], &own), applied);
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

    /// U34, M08
    #[test]
    fn a_retry_after_is_honoured_or_clamped_and_garbage_is_ignored() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let digits = "9".repeat(400);
        let table: [(&[&str], Option<Duration>); 12] = [
            (&["5"], seconds(5)),
            (&[" 5 "], seconds(5)),
            (&["Thu, 13 Feb 2025 19:08:37 GMT"], seconds(30)),
            (&["Thu, 13 Feb 2020 19:08:37 GMT"], seconds(1)),
            (&["0"], seconds(1)),
            (&["1000000000"], seconds(3600)),
            (&[&digits], seconds(3600)),
            (&["-1"], None),
            (&["1e9"], None),
            (&["soon"], None),
            (&["", "x"], None),
            (&["2", "7"], seconds(7)),
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
    }

    /// U23–U35, M04, M05
    #[test]
    fn every_status_has_its_outcome() {
        for status in [301, 302, 303, 307, 308, 401] {
            assert_eq!(
                check(status, &[], ""),
                Outcome::Denied(Cause::Status(status))
            );
        }
        for status in [403, 404, 405] {
            let unclear = Outcome::Unclear(Cause::Status(status));
            assert_eq!(check(status, &[], "<html>"), unclear);
        }
        for status in [408, 425, 500, 501, 502, 503, 504, 505, 599] {
            assert_eq!(
                check(status, &[], "<html>"),
                Outcome::Unavailable(Cause::Status(status))
            );
        }
        for status in [400, 402, 406, 407, 409, 412, 413, 415, 418, 422, 431, 451] {
            let rejection = Rejection {
                status,
                kind: None,
                param: None,
            };
            assert_eq!(check(status, &[], ""), Outcome::Rejected(rejection));
        }
        assert_eq!(check(410, &[], ""), Outcome::NotFound);
        assert_eq!(check(103, &[], ""), Outcome::Unknown(Cause::Protocol));
    }

    #[test]
    fn only_a_typed_404_says_that_the_customer_is_not_there() {
        let flat = r#"{"type":"CUSTOMER_NOT_FOUND_ERROR","message":"…","param":"customer_id"}"#;
        let nested = r#"{"error":{"type":"CUSTOMER_NOT_FOUND_ERROR"}}"#;
        let lower = r#"{"type":"customer-not-found"}"#;
        for body in [flat, nested, lower] {
            assert_eq!(check(404, &[], body), Outcome::NotFound);
        }
        for body in ["", "<html>404</html>", r#"{"error":"Not LookupResult"}"#] {
            assert_eq!(
                check(404, &[], body),
                Outcome::Unclear(Cause::Status(404)),
                "{body}"
            );
        }
    }

    /// M04, U44: names only, whichever shape they come in, and never a value.
    #[test]
    fn a_rejection_carries_imprints_names_and_no_value() {
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
                r#"{"error":"Bad Request","status":400,"details":["email: must be a well-formed email address"]}"#,
                None,
                Some("email"),
            ),
            (
                r#"{"error":{"type":"jane@example.com is wrong","param":"+1 415 555 2671"}}"#,
                None,
                None,
            ),
            (
                r#"{"type":"Jane","details":["JaneDoe: is not a valid first name"]}"#,
                None,
                None,
            ),
            (
                r#"{"error":{"type":"INVALID","param":"customer_history.address"}}"#,
                None,
                Some("customer_history.address"),
            ),
            (r#"{"error":null}"#, None, None),
            ("[]", None, None),
        ];
        for (body, kind, param) in table {
            let rejection = Rejection {
                status: 400,
                kind: kind.map(str::to_owned),
                param: param.map(str::to_owned),
            };
            assert_eq!(
                check(400, &[], body),
                Outcome::Rejected(rejection),
                "{body}"
            );
        }
    }
}
