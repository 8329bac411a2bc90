//! The HTTP client for Imprint's API: sends one update, retrieve or search over HTTP/1.1 and returns the outcome.
//!
//! The client sets one deadline for the whole exchange, and never sends a request twice. If the connection breaks
//! before Imprint has answered, the outcome is [`Outcome::Unknown`], because Imprint has possibly received the request.
//! [`StrictClient`] pairs each answer with its request, and reports an incomplete answer as an error.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use awc::error::PayloadError;
use awc::http::Method;
use awc::http::header::{self, HeaderValue};
use futures_util::{Stream, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::watch;

use self::credential::KeyHeaders;
use self::failure::{body_error, send_error};
use self::key_choice::KeyVerdict;
use self::request_body::checked;
use super::classify::{ImprintResponse, classify, error_names, needs_body};
use super::excerpt::Excerpt;
use super::lookup::{retrieved, searched};
use super::{
    AnswerFacts, Answered, Cause, ImprintApi, ImprintId, LastCheck, LookupResult, Outcome,
    PartnerCustomerId, Request,
};
use crate::http::client::StrictClient;
use crate::http::egress::Egress;
use crate::time::Clock;

mod credential;
mod failure;
mod key_choice;
mod request_body;

pub use self::credential::{ApiKeys, Credential, KeyChange, KeyError, KeyScheme};

/// The maximum length of an answer. The client keeps at most 64 KiB of an answer, but reads the answer to its end: only
/// a complete answer proves that Imprint applied the update.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The maximum time for reading a body if the status of the answer alone decides the outcome, such as 401 or 500.
const ERROR_BODY_DEADLINE: Duration = Duration::from_secs(1);
/// The initial capacity of the buffer for a request body.
const BODY_BYTES_USUAL: usize = 1024;
/// The maximum number of hits that a search requests from Imprint. One matching hit identifies the customer, but two
/// matching hits are ambiguous.
const HITS_MAX: usize = 10;
const JSON: &str = "application/json";
/// The header that tells Imprint to which product a request belongs. Only a company with several products at Imprint
/// needs the header.
const MERCHANT_KEY: &str = "x-imprint-merchant-key";

/// A client of Imprint's API, for use on one thread.
pub struct Client {
    credential: Arc<Credential>,
    clock: Clock,
    http: StrictClient,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Creates a client of Imprint's API at `base_url`, which has no path and no slash at its end. The caller keeps at
    /// most `concurrency` requests in flight.
    pub fn new(
        base_url: &str,
        credential: Arc<Credential>,
        egress: watch::Receiver<Arc<Egress>>,
        clock: Clock,
        concurrency: usize,
    ) -> Self {
        Self {
            credential,
            http: StrictClient::new(base_url, egress, clock.clone(), concurrency),
            clock,
        }
    }

    /// Sends one request to Imprint and reads the answer. If Imprint does not answer, the error is the outcome of the
    /// request.
    ///
    /// If the outcome depends on the body of the answer, an incomplete body is also an error.
    ///
    /// The client does not ask the rate limiter, because the caller already has a permit for the request.
    ///
    /// Writes the facts of the answer as soon as they are known, so that they outlive the deadline of the request.
    async fn exchange(
        &self,
        (method, path): (Method, &str),
        body: Option<(Vec<u8>, LastCheck)>,
        facts: &mut Option<AnswerFacts>,
    ) -> Result<RawResponse, Outcome> {
        let keys = self.credential.headers();
        let mut request = self
            .http
            .request(method, &format!("/v2/customers{path}"))
            .insert_header((header::AUTHORIZATION, keys.authorization.clone()))
            .insert_header((header::ACCEPT, HeaderValue::from_static(JSON)));
        if let Some(key) = &keys.merchant_key {
            request = request.insert_header((MERCHANT_KEY, key.clone()));
        }
        let sent = match body {
            Some((body, check)) => request
                .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(JSON)))
                .send_body(checked(body, check)),
            None => request.send_body(Vec::new()),
        };
        let response = sent.await.map_err(|error| send_error(&error))?;
        let status = response.status().as_u16();
        if let Some(verdict) = KeyVerdict::of_status(status) {
            self.credential.answered(&keys, verdict);
        }
        let facts = facts.insert(AnswerFacts {
            status,
            kind: None,
            param: None,
        });
        let retry_after = response
            .headers()
            .get_all(header::RETRY_AFTER)
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        let body = if needs_body(status) {
            read(response).await.map_err(Outcome::Unknown)?
        } else {
            match tokio::time::timeout(ERROR_BODY_DEADLINE, read(response)).await {
                Ok(Err(Cause::Protocol)) => return Err(Outcome::Unknown(Cause::Protocol)),
                Ok(body) => body.unwrap_or_default(),
                Err(_elapsed) => Excerpt::default(),
            }
        };
        let is_abridged = body.is_abridged();
        let body = body.into_text();
        if status >= 300 {
            (facts.kind, facts.param) = error_names(&body);
        }
        Ok(RawResponse {
            keys,
            status,
            retry_after,
            is_abridged,
            body,
        })
    }

    async fn update(
        &self,
        request: &Request,
        check: &LastCheck,
        facts: &mut Option<AnswerFacts>,
    ) -> Outcome {
        let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
        if serde_json::to_writer(&mut body, &request.body).is_err() {
            return Outcome::Unknown(Cause::Protocol);
        }
        let path = segment(&request.customer);
        let body = Some((body, check.clone()));
        match self.exchange((Method::POST, &path), body, facts).await {
            Ok(response) => {
                let outcome = classify(request, response.as_response(), self.clock.shared_wall());
                if let Some(verdict) = KeyVerdict::of_update(&outcome) {
                    self.credential.answered(&response.keys, verdict);
                }
                self.suspect(&outcome);
                outcome
            }
            Err(outcome) => outcome,
        }
    }

    /// Closes the idle connections after a 2xx answer that is unreadable or names a different customer: such an answer
    /// possibly belongs to a different request.
    fn suspect(&self, outcome: &Outcome) {
        if matches!(
            outcome,
            Outcome::Unknown(Cause::WrongCustomer | Cause::Unreadable)
        ) {
            self.http.close_idle();
        }
    }

    fn looked_up(&self, result: LookupResult) -> LookupResult {
        if let LookupResult::Failed(outcome) = &result {
            self.suspect(outcome);
        }
        result
    }
}

/// Reads the body of an answer.
async fn read<Bytes: AsRef<[u8]>>(
    mut body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<Excerpt, Cause> {
    let mut excerpt = Excerpt::default();
    let mut length = 0_usize;
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| body_error(&error))?;
        let bytes = bytes.as_ref();
        length = length.saturating_add(bytes.len());
        if length > RESPONSE_BYTES_MAX {
            return Err(Cause::TooLong);
        }
        excerpt.read(bytes);
    }
    Ok(excerpt)
}

/// Returns the path of one customer: one percent-encoded segment. The characters of Imprint ids need no encoding. The
/// encoding protects the path even if the check of the id has a bug.
fn segment(customer: &ImprintId) -> String {
    format!("/{}", utf8_percent_encode(customer.as_str(), &SEGMENT))
}

/// The parts of Imprint's HTTP answer that the client reads.
struct RawResponse {
    /// The headers with the keys of the request.
    keys: KeyHeaders,
    status: u16,
    retry_after: Vec<String>,
    body: String,
    /// Whether the body lacks the long members of the answer.
    is_abridged: bool,
}

impl RawResponse {
    fn as_response(&self) -> ImprintResponse<'_> {
        ImprintResponse {
            status: self.status,
            retry_after: &self.retry_after,
            body: &self.body,
        }
    }
}

impl ImprintApi for Client {
    async fn deliver(
        &self,
        request: Request,
        deadline: Duration,
        check: &LastCheck,
    ) -> Answered<Outcome> {
        let mut facts = None;
        let update = self.update(&request, check, &mut facts);
        let in_time = tokio::time::timeout(deadline, update).await;
        Answered {
            result: in_time.unwrap_or(Outcome::Unknown(Cause::Deadline)),
            facts,
        }
    }

    async fn retrieve(&self, customer: ImprintId, deadline: Duration) -> Answered<LookupResult> {
        let (path, mut facts) = (segment(&customer), None);
        let exchange = self.exchange((Method::GET, &path), None, &mut facts);
        let result = match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(response)) => {
                let result = retrieved(&customer, response.as_response(), self.clock.shared_wall());
                self.looked_up(result)
            }
            Ok(Err(outcome)) => LookupResult::Failed(outcome),
            Err(_elapsed) => LookupResult::Failed(Outcome::Unavailable(Cause::Deadline)),
        };
        Answered { result, facts }
    }

    async fn search(
        &self,
        partner: PartnerCustomerId,
        deadline: Duration,
    ) -> Answered<LookupResult> {
        let filter = utf8_percent_encode(partner.as_str(), &SEGMENT);
        let query = format!("?partner_customer_id={filter}&limit={HITS_MAX}");
        let mut facts = None;
        let exchange = self.exchange((Method::GET, &query), None, &mut facts);
        let result = match tokio::time::timeout(deadline, exchange).await {
            // If the client has left out the long members of a page, the page possibly lacks a hit.
            Ok(Ok(response)) if response.is_abridged && response.status < 300 => {
                LookupResult::Failed(Outcome::Unknown(Cause::TooLong))
            }
            Ok(Ok(response)) => {
                let result = searched(&partner, response.as_response(), self.clock.shared_wall());
                self.looked_up(result)
            }
            Ok(Err(outcome)) => LookupResult::Failed(outcome),
            Err(_elapsed) => LookupResult::Failed(Outcome::Unavailable(Cause::Deadline)),
        };
        Answered { result, facts }
    }
}

/// The characters that the client encodes in a path segment: every character except letters, digits, `-` and `_`.
const SEGMENT: percent_encoding::AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_');

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    fn credential(
        scheme: KeyScheme,
        newer: &str,
        merchant: Option<&str>,
    ) -> Result<Credential, KeyError> {
        let (newer, merchant) = (secret(newer), merchant.map(secret));
        let keys = ApiKeys {
            newer: &newer,
            older: None,
            merchant: merchant.as_ref(),
        };
        Credential::new(scheme, keys)
    }

    #[test]
    fn a_key_is_sent_by_its_scheme_and_never_printed() {
        let bearer = credential(KeyScheme::Bearer, "k1", None).unwrap();
        assert_eq!(bearer.headers().authorization, "Bearer k1");
        let basic = credential(KeyScheme::Basic, "k1", Some("m1")).unwrap();
        assert_eq!(basic.headers().authorization, "Basic azE6");
        let replace = |key: &str, merchant: Option<&str>| {
            let (newer, merchant) = (secret(key), merchant.map(secret));
            bearer.replace(ApiKeys {
                newer: &newer,
                older: None,
                merchant: merchant.as_ref(),
            })
        };
        assert_eq!(replace("k1", None), Ok(KeyChange::Unchanged));
        assert_eq!(replace("k2", None), Ok(KeyChange::Changed));
        assert_eq!(replace("k2", Some("m1")), Ok(KeyChange::Changed));
        assert_eq!(replace("k2", Some("m1")), Ok(KeyChange::Unchanged));
        assert_eq!(replace("k2", Some("m\n")), Err(KeyError));
        let headers = bearer.headers();
        assert_eq!(headers.authorization, "Bearer k2");
        assert_eq!(headers.merchant_key, Some(HeaderValue::from_static("m1")));
        for shown in [
            format!("{bearer:?}"),
            format!("{:?}", headers.authorization),
            format!("{:?}", headers.merchant_key),
            format!("{basic:?}"),
        ] {
            assert!(!shown.contains("k2") && !shown.contains("m1"), "{shown}");
        }
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_rejected() {
        for key in ["", "a b", "a\n", "\u{feff}a", "é"] {
            assert!(credential(KeyScheme::Bearer, key, None).is_err(), "{key:?}");
        }
    }
}
