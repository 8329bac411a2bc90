//! Posts events to a bridge the way a good sender does: again and again while that may help, and not once more.
//!
//! To repeat is safe: the bridge knows an event by its id. Of the answers only what says nothing about a customer is
//! kept: status, problem type, pointers and rules.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use self::verdict::{FailureReason, Verdict, classify, retry_delay};
use crate::http::client::{ExchangeError, ExchangeLimits, HttpClient, RequestHead};
use crate::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use crate::ingress::auth::hmac::HmacKeys;
use crate::ingress::auth::{Head, SigningKey};
use crate::random::jitter;
use crate::time::Clock;

pub(crate) mod authentication;
mod event_splitter;
pub(crate) mod keyed_workers;
mod progress;
pub(crate) mod upload;
pub(crate) mod verdict;

/// How long one exchange may take, from connecting to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// What the last try before giving up is given at least.
const DEADLINE_MIN: Duration = Duration::from_millis(200);
/// What of an answer is read: a problem lists a hundred faults at the most, of some two hundred bytes each.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const CLOUDEVENT: &str = "application/cloudevents+json";
const JSON: &str = "application/json";
/// RFC 9218.
const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// How a sender proves who it is.
pub(crate) enum SenderAuth {
    /// It does not.
    None,
    /// By a bearer token.
    Token(SecretString),
    /// By a signature as Standard Webhooks describes it.
    Signature(SigningKey),
    /// By a signature in the source's own scheme.
    Hmac(Box<HmacKeys>),
}

/// How sending one event ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendResult {
    /// The bridge has it.
    Accepted,
    /// The bridge had it before.
    Duplicate,
    /// The bridge will not take it.
    Refused(FailureReason),
    /// Nobody took it in time.
    GaveUp(FailureReason),
    /// It cannot be sent, or what answers is no bridge.
    Failed(FailureReason),
}

/// Sends to one source of one bridge, from one thread.
pub(crate) struct EventSender {
    http: HttpClient,
    url: String,
    authentication: SenderAuth,
    clock: Clock,
    give_up_after: Duration,
    urgency: Option<HeaderValue>,
    media_type: &'static str,
}

impl EventSender {
    /// A sender to the source's `url`, which ends in `/events`.
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
            urgency: None,
            media_type: CLOUDEVENT,
        })
    }

    /// The same; what it sends is plain JSON and no event of CloudEvents, if so.
    pub(crate) fn plain(self, is_plain: bool) -> Self {
        let media_type = if is_plain { JSON } else { CLOUDEVENT };
        Self { media_type, ..self }
    }

    fn is_plain(&self) -> bool {
        self.media_type == JSON
    }

    /// The same; what it sends goes behind everything live (the urgency "background" of RFC 9218), if so.
    pub(crate) fn behind_live(self, is_behind: bool) -> Self {
        let urgency = is_behind.then(|| HeaderValue::from_static("u=7"));
        Self { urgency, ..self }
    }

    /// Sends one event until there is an answer for good, or for as long as was said.
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
            let (why, hint) = match verdict {
                Verdict::Accepted => return SendResult::Accepted,
                Verdict::Duplicate => return SendResult::Duplicate,
                Verdict::Refused(problem) => return SendResult::Refused(problem),
                Verdict::NotABridge(problem) => return SendResult::Failed(problem),
                Verdict::Retry { why, hint } => (why, hint),
            };
            let delay = retry_delay(attempts, hint, jitter());
            if self.clock.now().after(delay).since(started) >= self.give_up_after {
                return SendResult::GaveUp(why);
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn exchange(&self, id: Option<&str>, body: &[u8], deadline: Duration) -> Verdict {
        let unanswered = |what: &str| Verdict::Retry {
            why: FailureReason::unanswered(what),
            hint: None,
        };
        let post = match self.post(id, body) {
            Ok(post) => post,
            Err(problem) => return Verdict::NotABridge(problem),
        };
        let limits = ExchangeLimits {
            deadline,
            body_bytes_max: ANSWER_BYTES_MAX,
        };
        match post.send(body.to_vec(), limits).await {
            Ok(response) => classify(&response, self.clock.wall()),
            Err(ExchangeError::Connection(_)) => unanswered("the bridge cannot be reached"),
            Err(ExchangeError::Deadline(_)) => unanswered("the bridge did not answer in time"),
        }
    }

    fn post(&self, id: Option<&str>, body: &[u8]) -> Result<RequestHead, FailureReason> {
        let media_type = HeaderValue::from_static(self.media_type);
        let post = self.http.request(Method::POST, &self.url);
        let post = post.header(header::CONTENT_TYPE, media_type);
        let post = match &self.urgency {
            Some(urgency) => post.header(PRIORITY, urgency.clone()),
            None => post,
        };
        match &self.authentication {
            SenderAuth::None => Ok(post),
            SenderAuth::Token(token) => post.bearer(token).map_err(|_invalid| {
                FailureReason::unsendable("the token cannot stand in a header")
            }),
            SenderAuth::Signature(key) => {
                let unfit = || {
                    FailureReason::unsendable(
                        "it has no id that could stand in the header webhook-id",
                    )
                };
                let id = id.filter(|id| is_header(id)).map(str::to_owned);
                let id = id.or_else(|| self.is_plain().then(|| of_content(body)));
                let id = id.ok_or_else(unfit)?;
                let signature = key.sign(&id, self.clock.wall(), body);
                let mut signature = signature.into_iter();
                signature
                    .try_fold(post, |post, (name, value)| {
                        post.text(HeaderName::from_static(name), &value)
                    })
                    .map_err(|_invalid| unfit())
            }
            SenderAuth::Hmac(keys) => {
                let unfit = || {
                    FailureReason::unsendable("what is to be signed has a header that is not sent")
                };
                let head = Head {
                    method: post.method().as_str(),
                    path: post.path(),
                    headers: post.headers(),
                };
                let signature = keys.sign(head, self.clock.wall(), body).ok_or_else(unfit)?;
                let mut signature = signature.into_iter();
                signature
                    .try_fold(post, |post, (name, value)| post.text(name, &value))
                    .map_err(|_invalid| unfit())
            }
        }
    }
}

/// The URL that events of a source are posted to, at a bridge that is named by its origin and perhaps a path.
pub(crate) fn events_url(base: &str, source: &str) -> Result<String, String> {
    let uri: Uri = base.parse().map_err(|_unreadable| "is no URL".to_owned())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.host().is_none_or(str::is_empty) {
        return Err("must start with http:// or https:// and name a host".to_owned());
    }
    if uri.query().is_some() || base.contains(['@', '#']) {
        return Err("must have no user, query or fragment".to_owned());
    }
    let base = base.trim_end_matches('/');
    Ok(format!("{base}/v1/sources/{source}/events"))
}

/// Reads what stands at a URL; anything but a 200 in time is an error.
pub(crate) async fn fetch(
    http: &HttpClient,
    url: &str,
    body_bytes_max: usize,
) -> anyhow::Result<Vec<u8>> {
    let limits = ExchangeLimits {
        deadline: DEADLINE,
        body_bytes_max,
    };
    let response = http
        .request(Method::GET, url)
        .send(Vec::new(), limits)
        .await;
    let response = response.with_context(|| url.to_owned())?;
    if response.status != StatusCode::OK {
        return Err(anyhow!("{url}: {}", response.status));
    }
    response
        .body
        .with_context(|| format!("{url}: the answer broke off"))
}

/// An id for the signature of a body that says none: the same one whenever it is sent.
fn of_content(body: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(body))
}

fn is_header(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_an_origin_and_perhaps_a_path() {
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
