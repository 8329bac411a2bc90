//! The HTTP client of Imprint: sends one update, retrieve or search over HTTP/1.1 and returns the outcome.
//!
//! The client adapts to the behaviour of the HTTP library awc. awc follows redirects by default, so the client turns
//! redirects off. The timeout of awc covers only the time until the response head, so the client sets one deadline for
//! the whole exchange. awc never retries a request. If the exchange fails after the connection was made, the outcome is
//! "unknown".
//!
//! awc returns a 1xx answer as the final answer, and then reuses the connection. awc also reuses the connection after
//! an answer whose body has neither a stated length nor chunks, although a part of the body may still arrive. After an
//! answer of either kind, the client drops the whole pool before another exchange can take a connection from the pool.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::Method;
use awc::http::header::{self, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};

use super::classify::{ImprintResponse, classify};
use super::lookup::{retrieved, searched};
use super::{Cause, ImprintApi, ImprintId, LookupResult, Outcome, PartnerCustomerId, Request};
use crate::http::client::pool;
use crate::time::Clock;

/// The maximum size of Imprint's response body. A customer object has about 1 KiB.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// The initial capacity of the buffer for a request body.
const BODY_BYTES_USUAL: usize = 1024;
/// The maximum number of hits that a search requests from Imprint. One matching hit identifies the customer, but two
/// matching hits are ambiguous.
const HITS_MAX: usize = 10;
const JSON: &str = "application/json";
/// The header that tells Imprint the partner's product. A partner with several products at Imprint needs the header.
const MERCHANT_KEY: &str = "x-imprint-merchant-key";

/// The authorization scheme with which the client sends the API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyScheme {
    /// The header `Authorization: Bearer <key>`.
    Bearer,
    /// The header `Authorization: Basic`, with the API key as user name and an empty password.
    Basic,
}

/// Imprint's API key and its authorization scheme. The key can be replaced while requests are in flight.
pub struct Credential {
    scheme: KeyScheme,
    merchant_key: Option<HeaderValue>,
    /// The authorization header. The client holds the lock only while it copies the header, never across an await.
    authorization: RwLock<HeaderValue>,
}

/// The error of an API key with a character that an HTTP header cannot contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key consists of visible ASCII characters without spaces")]
pub struct KeyError;

impl Credential {
    /// Creates the authentication headers from the secrets.
    ///
    /// # Errors
    /// Returns [`KeyError`] if an HTTP header cannot contain one of the secrets.
    pub fn new(
        scheme: KeyScheme,
        key: &SecretString,
        merchant_key: Option<&SecretString>,
    ) -> Result<Self, KeyError> {
        let merchant_key = merchant_key
            .map(|key| sensitive(key.expose_secret()))
            .transpose()?;
        Ok(Self {
            scheme,
            merchant_key,
            authorization: RwLock::new(authorization(scheme, key)?),
        })
    }

    /// Uses the given API key for every later request, and returns whether the given key differs from the current key.
    ///
    /// # Errors
    /// Returns [`KeyError`] if an HTTP header cannot contain the given key. After this error, the current key stays in
    /// use.
    pub fn replace(&self, key: &SecretString) -> Result<KeyChange, KeyError> {
        let fresh = authorization(self.scheme, key)?;
        let mut current = self
            .authorization
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if *current == fresh {
            return Ok(KeyChange::Unchanged);
        }
        *current = fresh;
        Ok(KeyChange::Changed)
    }

    fn authorization(&self) -> HeaderValue {
        self.authorization
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The effect of replacing the API key with [`Credential::replace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// The given API key was already in use.
    Unchanged,
    /// The given API key replaced another key.
    Changed,
}

/// Prints only the authorization scheme, because the API key is a secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

fn authorization(scheme: KeyScheme, key: &SecretString) -> Result<HeaderValue, KeyError> {
    let key = key.expose_secret();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(KeyError);
    }
    match scheme {
        KeyScheme::Bearer => sensitive(&format!("Bearer {key}")),
        KeyScheme::Basic => sensitive(&format!("Basic {}", BASE64.encode(format!("{key}:")))),
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, KeyError> {
    let mut value = HeaderValue::from_str(text).map_err(|_not_a_header| KeyError)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A client of Imprint's API, for use on one thread.
pub struct Client {
    base_url: String,
    credential: Arc<Credential>,
    tls: Arc<ClientConfig>,
    clock: Clock,
    /// The connection pool. The client replaces the pool if a connection may hold unread data. The client never awaits
    /// while it borrows the pool.
    http: RefCell<awc::Client>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Creates a client of Imprint's API at `base_url`, which has no path and no slash at its end.
    pub fn new(
        base_url: &str,
        credential: Arc<Credential>,
        tls: Arc<ClientConfig>,
        clock: Clock,
    ) -> Self {
        let http = RefCell::new(pool(&tls));
        Self {
            base_url: base_url.to_owned(),
            credential,
            tls,
            clock,
            http,
        }
    }

    /// Sends one request to Imprint and reads the answer. If Imprint does not answer, the error is the outcome of the
    /// request.
    ///
    /// The client does not ask the rate limiter, because the caller already has a permit for the request.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<RawResponse, Outcome> {
        let mut request = self
            .http
            .borrow()
            .request(method, format!("{}/v2/customers{path}", self.base_url))
            .insert_header((header::AUTHORIZATION, self.credential.authorization()))
            .insert_header((header::ACCEPT, HeaderValue::from_static(JSON)));
        if !body.is_empty() {
            request = request.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(JSON)));
        }
        if let Some(key) = &self.credential.merchant_key {
            request = request.insert_header((MERCHANT_KEY, key.clone()));
        }
        let sent = request.send_body(body).await;
        let mut response = sent.map_err(|error| send_error(&error))?;
        let is_interim = response.status().is_informational();
        if is_interim || !is_framed(response.headers()) {
            self.http.replace(pool(&self.tls));
        }
        if is_interim {
            return Err(Outcome::Unknown(Cause::Protocol));
        }
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get_all(header::RETRY_AFTER)
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        let body = match response.body().limit(RESPONSE_BYTES_MAX).await {
            Ok(body) => body.to_vec(),
            // A 2xx answer with an incomplete body does not prove that Imprint applied the update. For a status other
            // than 2xx, the classifier does not need the body.
            Err(error) if (200..300).contains(&status) => {
                return Err(Outcome::Unknown(body_error(&error)));
            }
            Err(_) => Vec::new(),
        };
        Ok(RawResponse {
            status,
            retry_after,
            body,
        })
    }

    async fn update(&self, request: &Request) -> Outcome {
        let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
        if serde_json::to_writer(&mut body, &request.body).is_err() {
            return Outcome::Unknown(Cause::Protocol);
        }
        match self
            .exchange(Method::POST, &segment(&request.customer), body)
            .await
        {
            Ok(response) => classify(request, response.as_response(), self.clock.wall()),
            Err(outcome) => outcome,
        }
    }
}

/// Returns the path of one customer: one percent-encoded segment. The characters of Imprint ids need no encoding. The
/// encoding protects the path even if the check of the id is wrong.
fn segment(customer: &ImprintId) -> String {
    format!("/{}", utf8_percent_encode(customer.as_str(), &SEGMENT))
}

/// The parts of Imprint's HTTP answer that the client reads.
struct RawResponse {
    status: u16,
    retry_after: Vec<String>,
    body: Vec<u8>,
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
    async fn deliver(&self, request: Request, deadline: Duration) -> Outcome {
        let update = self.update(&request);
        let in_time = tokio::time::timeout(deadline, update).await;
        in_time.unwrap_or(Outcome::Unknown(Cause::Deadline))
    }

    async fn retrieve(&self, customer: ImprintId, deadline: Duration) -> LookupResult {
        let path = segment(&customer);
        let exchange = self.exchange(Method::GET, &path, Vec::new());
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(response)) => retrieved(&customer, response.as_response(), self.clock.wall()),
            Ok(Err(outcome)) => LookupResult::Failed(outcome),
            Err(_elapsed) => LookupResult::Failed(Outcome::Unavailable(Cause::Deadline)),
        }
    }

    async fn search(&self, partner: PartnerCustomerId, deadline: Duration) -> LookupResult {
        let filter = utf8_percent_encode(partner.as_str(), &SEGMENT);
        let query = format!("?partner_customer_id={filter}&limit={HITS_MAX}");
        let exchange = self.exchange(Method::GET, &query, Vec::new());
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(response)) => searched(&partner, response.as_response(), self.clock.wall()),
            Ok(Err(outcome)) => LookupResult::Failed(outcome),
            Err(_elapsed) => LookupResult::Failed(Outcome::Unavailable(Cause::Deadline)),
        }
    }
}

/// Returns whether the headers of an answer tell the end of the answer's body. If no header tells the end of the body,
/// awc assumes an empty body.
fn is_framed(headers: &header::HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// The characters that the client encodes in a path segment: every character except letters, digits, `-` and `_`.
const SEGMENT: percent_encoding::AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Returns the outcome of a request without an answer. Only a failed connection attempt proves that Imprint did not
/// apply the update.
fn send_error(error: &SendRequestError) -> Outcome {
    match error {
        SendRequestError::Connect(
            ConnectError::Resolver(_) | ConnectError::NoRecords | ConnectError::Unresolved,
        ) => Outcome::Unavailable(Cause::Dns),
        SendRequestError::Connect(ConnectError::Io(error)) => connect_error(error),
        SendRequestError::Connect(ConnectError::Timeout) => Outcome::Unavailable(Cause::Connect),
        SendRequestError::Timeout => Outcome::Unknown(Cause::Deadline),
        SendRequestError::Connect(_)
        | SendRequestError::Send(_)
        | SendRequestError::Response(_) => Outcome::Unknown(Cause::Disconnected),
        SendRequestError::Url(_)
        | SendRequestError::Http(_)
        | SendRequestError::H2(_)
        | SendRequestError::TunnelNotSupported
        | SendRequestError::Body(_)
        | SendRequestError::Custom(..)
        | _ => Outcome::Unknown(Cause::Protocol),
    }
}

fn connect_error(error: &io::Error) -> Outcome {
    let inner = error.get_ref().and_then(|inner| {
        let inner: &(dyn StdError + 'static) = inner;
        inner.downcast_ref::<rustls::Error>()
    });
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => Outcome::Denied(Cause::Certificate),
        Some(_) => Outcome::Unavailable(Cause::Tls),
        None => Outcome::Unavailable(Cause::Connect),
    }
}

fn body_error(error: &PayloadError) -> Cause {
    if matches!(error, PayloadError::Overflow) {
        Cause::TooLong
    } else {
        Cause::Disconnected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn a_key_is_sent_by_its_scheme_and_never_printed() {
        let bearer = Credential::new(KeyScheme::Bearer, &secret("k1"), None).unwrap();
        assert_eq!(bearer.authorization(), "Bearer k1");
        let basic = Credential::new(KeyScheme::Basic, &secret("k1"), Some(&secret("m1"))).unwrap();
        assert_eq!(basic.authorization(), "Basic azE6");
        assert_eq!(bearer.replace(&secret("k1")), Ok(KeyChange::Unchanged));
        assert_eq!(bearer.replace(&secret("k2")), Ok(KeyChange::Changed));
        assert_eq!(bearer.authorization(), "Bearer k2");
        for shown in [
            format!("{bearer:?}"),
            format!("{:?}", bearer.authorization()),
            format!("{basic:?}"),
        ] {
            assert!(!shown.contains("k2") && !shown.contains("m1"), "{shown}");
        }
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_rejected() {
        for key in ["", "a b", "a\n", "\u{feff}a", "é"] {
            assert!(
                Credential::new(KeyScheme::Bearer, &secret(key), None).is_err(),
                "{key:?}"
            );
        }
    }
}
