//! Two HTTP clients.
//!
//! [`StrictClient`] sends requests to one server, and is for requests to Imprint. `HttpClient` is simpler. The notices, the
//! commands `send` and `demo` and the operator's commands use `HttpClient`.
//!
//! Both clients follow no redirects, use no proxy from the environment, decompress nothing and speak only HTTP/1.1. Only
//! [`StrictClient`] can use a proxy, for a server with TLS. The caller sets the time limit of each request, and limits the
//! number of requests in flight.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::net::ActixStream;
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::error::{ConnectError as HttpConnectError, SendRequestError};
use awc::http::Uri;
use awc::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;

use super::connector::{CONNECT_DEADLINE, ExclusiveConnector, Scheme};
use super::egress::{Egress, tls};
use crate::time::Clock;

/// The maximum idle time of a connection of [`HttpClient`]. Load balancers usually close an idle connection after 60 s.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// A client of one server. The client accepts only complete answers, and never uses a late answer for another request.
///
/// Of the headers of an answer, the caller sees only `Retry-After`.
pub struct StrictClient {
    http: awc::Client,
    connector: ExclusiveConnector,
    /// The scheme, the host and the port. The scheme is always `http`, because the connector already adds TLS.
    origin: String,
}

impl fmt::Debug for StrictClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrictClient").finish_non_exhaustive()
    }
}

impl StrictClient {
    /// Creates a client of the server at `base_url`, which has no path and no slash at its end. The caller keeps at
    /// most `concurrency` requests in flight.
    pub fn new(
        base_url: &str,
        egress: watch::Receiver<Arc<Egress>>,
        clock: Clock,
        concurrency: usize,
    ) -> Self {
        let (origin, scheme) = match base_url.strip_prefix("https://") {
            Some(authority) => (format!("http://{}", with_port(authority)), Scheme::Https),
            None => (base_url.to_owned(), Scheme::Http),
        };
        let connector = ExclusiveConnector::new(scheme, egress, clock, concurrency);
        // The HTTP library awc has one time limit for both steps of the connector: the connection to the server, and the
        // TLS handshake.
        let below_awc = awc::Connector::new()
            .connector(connector.clone())
            .timeout(2 * CONNECT_DEADLINE);
        Self {
            http: client(below_awc),
            connector,
            origin,
        }
    }

    /// Creates a request to this path of the server.
    pub fn request(&self, method: Method, path: &str) -> awc::ClientRequest {
        self.http.request(method, format!("{}{path}", self.origin))
    }

    /// Closes the idle connections. The caller calls this method if an answer did not belong to its request.
    pub fn close_idle(&self) {
        self.connector.close_idle();
    }
}

/// Returns the authority of an `https` URL with its port.
fn with_port(authority: &str) -> String {
    let has_port = authority
        .parse::<Uri>()
        .is_ok_and(|uri| uri.port_u16().is_some());
    if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:443")
    }
}

/// Creates the connection pool of [`HttpClient`]. The pool does not limit the number of connections, so no request
/// waits for a connection.
fn pool(tls: &Arc<ClientConfig>) -> awc::Client {
    let connector = awc::Connector::new()
        .timeout(CONNECT_DEADLINE)
        .handshake_timeout(CONNECT_DEADLINE)
        .conn_keep_alive(IDLE_MAX)
        .rustls_0_23(Arc::clone(tls));
    client(connector)
}

fn client<S, Io>(connector: awc::Connector<S>) -> awc::Client
where
    S: Service<ConnectInfo<Uri>, Response = Connection<Uri, Io>, Error = ConnectError>
        + Clone
        + 'static,
    Io: ActixStream + fmt::Debug + 'static,
{
    awc::Client::builder()
        .connector(connector.limit(0))
        .disable_redirects()
        .disable_timeout()
        .no_default_headers()
        .add_default_header((
            header::USER_AGENT,
            concat!("imprint-bridge/", env!("CARGO_PKG_VERSION")),
        ))
        .finish()
}

/// The HTTP client of the notices and of the commands. Each request has a time limit and a maximum length of the response.
#[derive(Clone)]
pub(crate) struct HttpClient(awc::Client);

/// The reason why an HTTP request got no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no response within {0:?}")]
    Deadline(Duration),
    /// The cause of the error, or the error text of the HTTP library awc. The error itself is not `Send`.
    #[error("no connection, or it broke: {0}")]
    Connection(String),
}

/// The error for a text that is not a valid header value.
#[derive(Debug, thiserror::Error)]
#[error("the text has characters that a header cannot carry")]
pub(crate) struct HeaderError;

/// The reason why a request cannot carry a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretHeaderError {
    #[error("it has characters that a header cannot carry")]
    Invalid,
    #[error(
        "everybody on the network could read it, because the URL has http:// and another machine: use https://, or forward a port of this machine"
    )]
    Plain,
    #[error("the URL has no scheme: write http:// or https:// before the host")]
    NoScheme,
}

/// The limits of one HTTP request: its duration, and the length of the response body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeLimits {
    pub(crate) deadline: Duration,
    pub(crate) body_bytes_max: usize,
}

/// The head of an HTTP request: method, URL and headers.
pub(crate) struct RequestHead(awc::ClientRequest);

/// The response to an HTTP request.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    /// The values of all `Retry-After` headers of the response.
    pub(crate) retry_after: Vec<String>,
    /// The response body. `None` if the body is incomplete or longer than the limit.
    pub(crate) body: Option<Vec<u8>>,
}

impl HttpClient {
    /// Creates a client that trusts the public certificate authorities.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self::with_tls(&tls(None, None)?))
    }

    /// Creates a client with a TLS configuration.
    pub(crate) fn with_tls(tls: &Arc<ClientConfig>) -> Self {
        Self(pool(tls))
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
    pub(crate) fn bearer(self, token: &SecretString) -> Result<Self, SecretHeaderError> {
        let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
        self.secret(header::AUTHORIZATION, &value)
    }

    /// Adds a header with a secret value. Debug output does not show the value of this header.
    ///
    /// # Errors
    /// Returns an error if the request would carry the secret to another machine without TLS.
    pub(crate) fn secret(
        self,
        name: HeaderName,
        value: &SecretString,
    ) -> Result<Self, SecretHeaderError> {
        if self.0.get_uri().scheme().is_none() {
            return Err(SecretHeaderError::NoScheme);
        }
        if !is_private(self.0.get_uri()) {
            return Err(SecretHeaderError::Plain);
        }
        let value = HeaderValue::from_str(value.expose_secret());
        let mut value = value.map_err(|_invalid| SecretHeaderError::Invalid)?;
        value.set_sensitive(true);
        Ok(self.header(name, value))
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

    /// Sends the request and reads the response. The time limit covers everything from the connection to the last byte
    /// of the response.
    pub(crate) async fn send(
        self,
        body: Vec<u8>,
        limits: ExchangeLimits,
    ) -> Result<Response, ExchangeError> {
        let exchange = async {
            let sent = self.0.send_body(body).await;
            let mut response =
                sent.map_err(|error| ExchangeError::Connection(connection_cause(&error)))?;
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

/// Returns the cause of a request without an answer. The error texts of the HTTP library name neither TLS nor the remedy.
fn connection_cause(error: &SendRequestError) -> String {
    let SendRequestError::Connect(HttpConnectError::Io(io)) = error else {
        return error.to_string();
    };
    let inner = io.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            "the port answers without TLS: write http:// instead of https://, or name the port that speaks TLS".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(reason)) => {
            format!("the certificate of the server is not valid: {reason}")
        }
        Some(_) | None => io.to_string(),
    }
}

/// Returns whether nobody between this process and the server can read a request to this URL.
fn is_private(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    is_loopback || url.scheme_str() == Some("https")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N443.
    #[test]
    fn a_secret_travels_only_with_tls_or_on_this_machine() {
        let client = HttpClient::new().unwrap();
        let token = SecretString::from("a-token");
        for (url, is_sent) in [
            ("https://bridge.example/", true),
            ("https://10.0.0.1:9090/", true),
            ("http://127.0.0.1:9090/", true),
            ("http://127.8.0.1/", true),
            ("http://[::1]:9090/", true),
            ("http://LocalHost:9090/", true),
            ("http://bridge.example/", false),
            ("http://10.0.0.1:9090/", false),
            ("http://[::2]:9090/", false),
            ("http://localhost.example/", false),
            ("http://127.0.0.1.example/", false),
            ("http://127.0.0.1@bridge.example/", false),
            ("http://0.0.0.0/", false),
            ("/", false),
            ("127.0.0.1:9090", false),
            ("localhost:9090", false),
        ] {
            let request = client.request(Method::GET, url).bearer(&token);
            assert_eq!(request.is_ok(), is_sent, "{url}");
        }
    }

    #[test]
    fn an_authority_gets_the_port_of_https() {
        for (authority, expected) in [
            ("api.example", "api.example:443"),
            ("api.example:8443", "api.example:8443"),
            ("127.0.0.1", "127.0.0.1:443"),
            ("[::1]", "[::1]:443"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(with_port(authority), expected);
        }
    }
}
