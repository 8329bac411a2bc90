//! The client: one update, retrieve or search over HTTP/1.1, and what came of it.
//!
//! awc's habits that matter here: it follows redirects, its timeout ends at the response head, it never retries, and it
//! hands a 1xx answer over as the final one and then uses the connection again; so it does with an answer that says
//! neither how long it is nor that it is chunked, whose body may still be on its way. So redirects are off, one deadline
//! covers the whole exchange, any error after the connection stood means "unknown", and after either of those two the
//! whole pool is given up before anything else can take a connection from it.

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

/// What of an answer is read: a customer object is about 1 KiB, an endless one must end somewhere.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// What room a body is given to be written into before it needs more.
const BODY_BYTES_USUAL: usize = 1024;
/// How many hits of a search are looked at: one is right, two are too many.
const HITS_MAX: usize = 10;
/// What is sent, and what is wanted.
const JSON: &str = "application/json";
/// The header that names the product where a partnership has several.
const MERCHANT_KEY: &str = "x-imprint-merchant-key";

/// How a key is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyScheme {
    /// `Authorization: Bearer <key>`
    Bearer,
    /// `Authorization: Basic`, the key as user name and an empty password.
    Basic,
}

/// The key and how it is shown; replaced while requests are under way.
pub struct Credential {
    scheme: KeyScheme,
    merchant_key: Option<HeaderValue>,
    /// Held only while a header is copied, never across an await.
    authorization: RwLock<HeaderValue>,
}

/// A key cannot stand in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is visible ASCII without spaces")]
pub struct KeyError;

impl Credential {
    /// A credential from its secrets.
    ///
    /// # Errors
    /// [`KeyError`] if one of them has characters that a header cannot carry.
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

    /// Shows another key from now on; says whether it is another.
    ///
    /// # Errors
    /// [`KeyError`], and the key stays as it was.
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

/// Whether a key that was read again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It is the one in use.
    Unchanged,
    /// It is in use from now on.
    Changed,
}

/// Never the key.
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

/// A client for one thread.
pub struct Client {
    base_url: String,
    credential: Arc<Credential>,
    tls: Arc<ClientConfig>,
    clock: Clock,
    /// Replaced whole when one of its connections may hold more than was read; never borrowed across an await.
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
    /// A client of the API at `base_url`, which has neither a path nor a slash at its end.
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

    /// Asks for leave of nobody: sends one request and hears its answer, or says why there is none.
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
        let mut response = sent.map_err(|error| unanswered(&error))?;
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
            // Without its body a 2xx proves nothing; any other status says enough by itself.
            Err(error) if (200..300).contains(&status) => {
                return Err(Outcome::Unknown(cut(&error)));
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

/// The path of one customer: one encoded segment. The id's own alphabet needs no encoding, this is the second lock on the
/// door.
fn segment(customer: &ImprintId) -> String {
    format!("/{}", utf8_percent_encode(customer.as_str(), &SEGMENT))
}

/// An answer, as far as it is looked at.
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

/// Whether an answer says where it ends; awc takes one that does not for empty.
fn is_framed(headers: &header::HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// What stands unencoded in a path segment: RFC 3986's unreserved characters but the dot.
const SEGMENT: percent_encoding::AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// What it means that no answer came. Only a connection that never stood proves that nothing was applied.
fn unanswered(error: &SendRequestError) -> Outcome {
    match error {
        SendRequestError::Connect(
            ConnectError::Resolver(_) | ConnectError::NoRecords | ConnectError::Unresolved,
        ) => Outcome::Unavailable(Cause::Dns),
        SendRequestError::Connect(ConnectError::Io(error)) => unconnected(error),
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

fn unconnected(error: &io::Error) -> Outcome {
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

fn cut(error: &PayloadError) -> Cause {
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
    fn a_key_is_shown_as_its_scheme_says_and_never_printed() {
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

    /// K05
    #[test]
    fn a_key_that_no_header_can_carry_is_refused() {
        for key in ["", "a b", "a\n", "\u{feff}a", "é"] {
            assert!(
                Credential::new(KeyScheme::Bearer, &secret(key), None).is_err(),
                "{key:?}"
            );
        }
    }
}
