//! The sender: a client that sends events to a bridge. If the bridge does not accept an event, the sender sends the
//! event again as long as another attempt can succeed.
//!
//! Another attempt is safe, because the bridge recognizes a repeated event by its id. The sender keeps only the parts
//! of the bridge's answer that contain no customer data: the status, the problem type, JSON Pointers and rules.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use self::verdict::{FailureReason, RequestEvents, StoredEvents, Verdict, classify, retry_delay};
use crate::http::client::{ExchangeError, ExchangeLimits, HttpClient, RequestHead};
use crate::http::{HeaderName, HeaderValue, Method, Uri, header};
use crate::ingress::auth::hmac::HmacKeys;
use crate::ingress::auth::{Head, SigningKey, TokenScheme};
use crate::random::jitter;
use crate::time::Clock;

pub(crate) mod authentication;
mod event_splitter;
pub(crate) mod keyed_workers;
mod progress;
pub(crate) mod upload;
pub(crate) mod verdict;

/// The time limit of one attempt to send an event, from connecting to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// The minimum time limit of one attempt. The last attempt gets at least this time, even if the event has less time
/// left.
const DEADLINE_MIN: Duration = Duration::from_millis(200);
/// The maximum length of the bridge's answer. The answer to a batch has at most 100 errors of about 200 bytes for each of
/// 100 events.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The header with the urgency of a request (RFC 9218).
const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// The sender's authentication towards the bridge.
pub(crate) enum SenderAuth {
    /// The requests have no authentication.
    None,
    /// The requests have a token or a password in a header.
    Token(TokenScheme, SecretString),
    /// The requests have a signature as in the Standard Webhooks specification.
    Signature(SigningKey),
    /// The requests have an HMAC signature in the source's own scheme.
    Hmac(Box<HmacKeys>),
}

/// The format of the events that the sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFormat {
    /// Each body is a `CloudEvent` in structured mode, or a batch of `CloudEvents`.
    CloudEvents,
    /// Each body is plain JSON. The source file must have the expressions for the id and the type of an event.
    PlainJson,
}

impl SendFormat {
    const fn media_type(self, body: &[u8]) -> &'static str {
        match self {
            Self::PlainJson => "application/json",
            Self::CloudEvents if is_list(body) => "application/cloudevents-batch+json",
            Self::CloudEvents => "application/cloudevents+json",
        }
    }

    /// Returns the number of events in a request with this body. A source of plain JSON possibly splits a body into
    /// several events, or finds no event in it.
    const fn events(self, body: &[u8]) -> RequestEvents {
        match self {
            Self::CloudEvents if !is_list(body) => RequestEvents::One,
            Self::CloudEvents | Self::PlainJson => RequestEvents::Any,
        }
    }
}

/// The priority with which the bridge delivers the sender's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendPriority {
    /// The normal priority.
    Live,
    /// The bridge delivers the events after all events with normal priority. The requests have the urgency 7 of RFC
    /// 9218.
    BehindLive,
}

/// The result of sending one event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendResult {
    /// The bridge has stored the events of the request.
    Stored(StoredEvents),
    /// The bridge refused the event because of its content or because of the authentication.
    Refused(FailureReason),
    /// The bridge did not accept the event within the time limit.
    GaveUp(FailureReason),
    /// The sender cannot send the event, or the server is not a bridge.
    Failed(FailureReason),
}

/// A client that sends events to one source of one bridge, from one thread.
pub(crate) struct EventSender {
    http: HttpClient,
    url: String,
    authentication: SenderAuth,
    clock: Clock,
    give_up_after: Duration,
    priority: SendPriority,
    format: SendFormat,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl EventSender {
    /// Creates a sender for the event URL of a source. The function [`events_url`] returns this URL.
    pub(crate) fn new(
        url: String,
        authentication: SenderAuth,
        clock: Clock,
        give_up_after: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            http: HttpClient::new()?,
            url,
            authentication,
            clock,
            give_up_after,
            priority: SendPriority::Live,
            format: SendFormat::CloudEvents,
            headers: Vec::new(),
        })
    }

    /// Adds headers to every request, for sources whose expressions read headers.
    pub(crate) fn with_headers(self, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { headers, ..self }
    }

    /// Sets the format of the events that the sender sends.
    pub(crate) fn with_format(self, format: SendFormat) -> Self {
        Self { format, ..self }
    }

    /// Sets the priority that the sender requests from the bridge for every event.
    pub(crate) fn with_priority(self, priority: SendPriority) -> Self {
        Self { priority, ..self }
    }

    /// Sends one event repeatedly until the bridge gives a final answer or the time limit ends.
    pub(crate) async fn send(&self, id: Option<&str>, body: &[u8]) -> SendResult {
        let started = self.clock.now();
        let mut attempts = 0_u32;
        loop {
            let left = self
                .give_up_after
                .saturating_sub(self.clock.now().since(started));
            attempts = attempts.saturating_add(1);
            let deadline = left.clamp(DEADLINE_MIN, DEADLINE);
            let verdict = self.exchange(id, body, deadline).await;
            let (reason, hint) = match verdict {
                Verdict::Stored(events) => return SendResult::Stored(events),
                Verdict::Refused(reason) => return SendResult::Refused(reason),
                Verdict::Failed(reason) => return SendResult::Failed(reason),
                Verdict::Retry { reason, hint } => (reason, hint),
            };
            let delay = retry_delay(attempts, hint, jitter());
            if self.clock.now().after(delay).since(started) >= self.give_up_after {
                return SendResult::GaveUp(reason);
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn exchange(&self, id: Option<&str>, body: &[u8], deadline: Duration) -> Verdict {
        let unanswered = |what: &str| Verdict::Retry {
            reason: FailureReason::new(what),
            hint: None,
        };
        let post = match self.post(id, body) {
            Ok(post) => post,
            Err(reason) => return Verdict::Failed(reason),
        };
        let limits = ExchangeLimits {
            deadline,
            body_bytes_max: ANSWER_BYTES_MAX,
        };
        match post.send(body.to_vec(), limits).await {
            Ok(response) => classify(&response, self.clock.wall(), self.format.events(body)),
            Err(ExchangeError::Connection(cause)) => unanswered(&format!(
                "no connection to the bridge at {}: {cause}",
                self.url
            )),
            Err(ExchangeError::Deadline(_)) => unanswered(&format!(
                "the bridge at {} did not answer in time",
                self.url
            )),
        }
    }

    fn post(&self, id: Option<&str>, body: &[u8]) -> Result<RequestHead, FailureReason> {
        let media_type = HeaderValue::from_static(self.format.media_type(body));
        let post = self.http.request(Method::POST, &self.url);
        let mut post = post.header(header::CONTENT_TYPE, media_type);
        for (name, value) in &self.headers {
            post = post.header(name.clone(), value.clone());
        }
        let post = match self.priority {
            SendPriority::BehindLive => post.header(PRIORITY, HeaderValue::from_static("u=7")),
            SendPriority::Live => post,
        };
        match &self.authentication {
            SenderAuth::None => Ok(post),
            SenderAuth::Token(scheme, token) => post
                .secret(scheme.header(), &scheme.value(token))
                .map_err(|error| FailureReason::new(&format!("the token is not sent: {error}"))),
            SenderAuth::Signature(key) => {
                let invalid =
                    || FailureReason::new("the event has no id that fits the header webhook-id");
                let id = id.filter(|id| is_header_text(id)).map(str::to_owned);
                let id = match self.format.events(body) {
                    RequestEvents::One => id,
                    RequestEvents::Any => id.or_else(|| Some(content_id(body))),
                };
                let id = id.ok_or_else(invalid)?;
                let signature = key.sign(&id, self.clock.wall(), body);
                let mut signature = signature.into_iter();
                signature
                    .try_fold(post, |post, (name, value)| {
                        post.text(HeaderName::from_static(name), &value)
                    })
                    .map_err(|_invalid| invalid())
            }
            SenderAuth::Hmac(keys) => {
                let invalid =
                    || FailureReason::new("the signature covers a header that is not sent");
                let head = Head {
                    method: post.method().as_str(),
                    path: post.path(),
                    headers: post.headers(),
                };
                let signature = keys.sign(head, self.clock.wall(), body);
                let mut signature = signature.ok_or_else(invalid)?.into_iter();
                signature
                    .try_fold(post, |post, (name, value)| post.text(name, &value))
                    .map_err(|_invalid| invalid())
            }
        }
    }
}

/// Returns the event URL of a source. `base` is the URL of the bridge, with or without a path.
pub(crate) fn events_url(base: &str, source: &str) -> Result<String, String> {
    let uri: Uri = base
        .parse()
        .map_err(|_unreadable| "is not a URL".to_owned())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.host().is_none_or(str::is_empty) {
        return Err("must start with http:// or https:// and name a host".to_owned());
    }
    if uri.query().is_some() || base.contains(['@', '#']) {
        return Err("must have no user, query or fragment".to_owned());
    }
    if uri.path().contains("/v1") {
        return Err(
            "must be the URL of the bridge without a path: the command adds /v1/sources/NAME/events"
                .to_owned(),
        );
    }
    let base = base.trim_end_matches('/');
    Ok(format!("{base}/v1/sources/{source}/events"))
}

/// Computes an event id from the content of an event that has no id. The id is the same in every attempt.
fn content_id(body: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(body))
}

/// Returns whether a body of JSON is a list.
const fn is_list(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'['))
}

fn is_header_text(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_an_origin_with_or_without_a_path() {
        for (base, expected) in [
            (
                "http://127.0.0.1:8080",
                Some("http://127.0.0.1:8080/v1/sources/crm/events"),
            ),
            (
                "http://127.0.0.1:8080/",
                Some("http://127.0.0.1:8080/v1/sources/crm/events"),
            ),
            (
                "https://gw.example/bridge/",
                Some("https://gw.example/bridge/v1/sources/crm/events"),
            ),
            ("127.0.0.1:8080", None),
            ("ftp://host", None),
            ("http://", None),
            ("http://user@host", None),
            ("http://host?x=1", None),
        ] {
            assert_eq!(events_url(base, "crm").ok().as_deref(), expected, "{base}");
        }
    }
}
