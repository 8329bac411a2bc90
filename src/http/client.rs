//! The HTTP clients: a plain connection pool, and a small client. The commands `send` and `demo` and the operator's
//! commands use the small client.
//!
//! The connection pool follows no redirect, uses no proxy, decompresses nothing and speaks only HTTP/1.1. The caller
//! sets the deadline of each exchange, and limits the number of exchanges in flight.

use std::sync::Arc;
use std::time::Duration;

use awc::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};

/// The time limit for a new TCP connection. A TLS handshake has the same time limit.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The maximum idle time of a connection. Load balancers usually close a connection that is idle for 60 s.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// The maximum age of a connection. After a failover to another address, the client uses the new address within this
/// time.
const LIFETIME_MAX: Duration = Duration::from_secs(75);

/// Creates a connection pool without a limit on the number of connections. An exchange never waits for a free
/// connection.
pub fn pool(tls: &Arc<ClientConfig>) -> awc::Client {
    let connector = awc::Connector::new()
        .timeout(CONNECT_DEADLINE)
        .handshake_timeout(CONNECT_DEADLINE)
        .conn_keep_alive(IDLE_MAX)
        .conn_lifetime(LIFETIME_MAX)
        .limit(0)
        .rustls_0_23(Arc::clone(tls));
    awc::Client::builder()
        .connector(connector)
        .disable_redirects()
        .disable_timeout()
        .no_default_headers()
        .add_default_header((
            header::USER_AGENT,
            concat!("imprint-bridge/", env!("CARGO_PKG_VERSION")),
        ))
        .finish()
}

/// Creates a TLS configuration that trusts the root certificates in `roots`.
///
/// Without `roots`, the configuration trusts the public certificate authorities.
///
/// # Errors
/// Returns an error if the TLS library rejects the settings.
pub fn tls(roots: Option<RootCertStore>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let public = || RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.unwrap_or_else(public))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The HTTP client of the commands. Each exchange has a deadline and a maximum response length.
#[derive(Clone)]
pub(crate) struct HttpClient(awc::Client);

/// The error of an HTTP exchange that got no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no response within {0:?}")]
    Deadline(Duration),
    /// The text of the client library's error. The error itself is not `Send`.
    #[error("no connection, or it broke: {0}")]
    Connection(String),
}

/// The error for a text that is not a valid header value.
#[derive(Debug, thiserror::Error)]
#[error("the text has characters that a header cannot carry")]
pub(crate) struct HeaderError;

/// The limits of one HTTP exchange: the duration and the length of the response body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeLimits {
    pub(crate) deadline: Duration,
    pub(crate) body_bytes_max: usize,
}

/// The head of an HTTP request: method, URL and headers.
pub(crate) struct RequestHead(awc::ClientRequest);

/// The response of an HTTP exchange.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    /// The values of all `Retry-After` headers of the response.
    pub(crate) retry_after: Vec<String>,
    /// The response body. The value is `None` if the body broke off or is longer than the limit.
    pub(crate) body: Option<Vec<u8>>,
}

impl HttpClient {
    /// Creates a client that trusts the public certificate authorities.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self(pool(&tls(None)?)))
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> RequestHead {
        RequestHead(self.0.request(method, url))
    }
}

impl RequestHead {
    pub(crate) fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self(self.0.insert_header((name, value)))
    }

    pub(crate) fn text(self, name: HeaderName, value: &str) -> Result<Self, HeaderError> {
        let value = HeaderValue::from_str(value).map_err(|_invalid| HeaderError)?;
        Ok(self.header(name, value))
    }

    /// Adds the header `Authorization: Bearer` with a token. Debug output does not show the value of this header.
    pub(crate) fn bearer(self, token: &SecretString) -> Result<Self, HeaderError> {
        let text = format!("Bearer {}", token.expose_secret());
        let mut value = HeaderValue::from_str(&text).map_err(|_invalid| HeaderError)?;
        value.set_sensitive(true);
        Ok(self.header(header::AUTHORIZATION, value))
    }

    pub(crate) fn method(&self) -> &Method {
        self.0.get_method()
    }

    /// Returns the path and the query of the request, exactly as the client sends them.
    pub(crate) fn path(&self) -> &str {
        let path = self.0.get_uri().path_and_query();
        path.map_or("", |path| path.as_str())
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// Sends the request and reads the response. The deadline covers the time from connecting to the last byte.
    pub(crate) async fn send(
        self,
        body: Vec<u8>,
        limits: ExchangeLimits,
    ) -> Result<Response, ExchangeError> {
        let exchange = async {
            let sent = self.0.send_body(body).await;
            let mut response =
                sent.map_err(|error| ExchangeError::Connection(error.to_string()))?;
            let retry_after = response
                .headers()
                .get_all(header::RETRY_AFTER)
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect();
            let body = response.body().limit(limits.body_bytes_max).await;
            Ok(Response {
                status: response.status(),
                retry_after,
                body: body.ok().map(|body| body.to_vec()),
            })
        };
        tokio::time::timeout(limits.deadline, exchange)
            .await
            .unwrap_or(Err(ExchangeError::Deadline(limits.deadline)))
    }
}
