//! A proxy between the client and the server. With the HTTP method CONNECT, the client asks the proxy for a connection to
//! the server, and then speaks TLS with the server over this connection.
//!
//! The proxy learns the name of the server, and no part of a request. The server speaks only after the client, so a byte
//! after the head of the proxy's answer is an error.

use std::fmt;

use actix_rt::net::TcpStream;
use actix_service::Service as _;
use actix_tls::connect::{ConnectError, ConnectInfo, ConnectorService};
use awc::http::Uri;
use awc::http::uri::InvalidUri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use httparse::Status;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The maximum length of the head of the proxy's answer. A proxy sends a few hundred bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The maximum number of header fields in the proxy's answer.
const HEADERS_MAX: usize = 64;
/// The maximum number of bytes of the proxy's answer that one read takes.
const READ_BYTES: usize = 1024;

/// A proxy that the client asks for connections to the server.
pub struct Proxy {
    url: Uri,
    /// The value of the header `Proxy-Authorization`.
    authorization: Option<SecretString>,
}

/// Prints the address of the proxy, and never the credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.url).finish()
    }
}

/// The reason why the proxy gave no connection to the server. The client has sent nothing to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProxyError {
    /// The name of the proxy does not resolve.
    #[error("dns")]
    Dns,
    /// The client cannot connect to the proxy.
    #[error("connect")]
    Connect,
    /// The proxy did not give a connection in time.
    #[error("deadline")]
    Deadline,
    /// The proxy ended the connection before the end of its answer.
    #[error("disconnected")]
    Disconnected,
    /// The proxy's answer is not the head of an HTTP answer, is too long, or has bytes after its head.
    #[error("protocol")]
    Protocol,
    /// The proxy refused with this HTTP status, such as 407 for wrong credentials.
    #[error("status_{0}")]
    Status(u16),
}

/// Converts the error to an IO error, because the HTTP library awc passes on only IO errors of a connection.
impl From<ProxyError> for ConnectError {
    fn from(error: ProxyError) -> Self {
        Self::Io(std::io::Error::other(error))
    }
}

impl Proxy {
    /// Creates a proxy at a URL with the scheme `http`, a host and a port. The credentials are a user, a colon and a
    /// password.
    ///
    /// # Errors
    /// Returns an error if the URL is not valid.
    pub fn new(url: &str, credentials: Option<&SecretString>) -> Result<Self, InvalidUri> {
        let authorization = credentials.map(|credentials| {
            let encoded = BASE64.encode(credentials.expose_secret());
            SecretString::from(format!("Basic {encoded}"))
        });
        Ok(Self {
            url: url.parse()?,
            authorization,
        })
    }

    /// Opens a connection to `server` through the proxy. The caller sets the time limit.
    pub(super) async fn connect(
        &self,
        connector: &ConnectorService,
        server: &Uri,
    ) -> Result<TcpStream, ProxyError> {
        let connecting = connector.call(ConnectInfo::new(self.url.clone()));
        let connection = connecting.await.map_err(|error| connect_error(&error))?;
        let (mut stream, _url) = connection.into_parts();
        let sent = stream.write_all(self.request(server).as_bytes()).await;
        sent.map_err(|_broken| ProxyError::Disconnected)?;
        let mut head = Vec::new();
        while !is_accepted(&head)? {
            let mut bytes = [0; READ_BYTES];
            let count = stream.read(&mut bytes).await;
            let count = count.map_err(|_broken| ProxyError::Disconnected)?;
            if count == 0 {
                return Err(ProxyError::Disconnected);
            }
            head.extend(bytes.iter().take(count));
        }
        Ok(stream)
    }

    /// Returns the request to the proxy.
    fn request(&self, server: &Uri) -> String {
        let server = server
            .authority()
            .map_or("", |authority| authority.as_str());
        let authorization = match &self.authorization {
            Some(value) => format!("proxy-authorization: {}\r\n", value.expose_secret()),
            None => String::new(),
        };
        format!("CONNECT {server} HTTP/1.1\r\nhost: {server}\r\n{authorization}\r\n")
    }
}

fn connect_error(error: &ConnectError) -> ProxyError {
    match error {
        ConnectError::Resolver(_) | ConnectError::NoRecords | ConnectError::Unresolved => {
            ProxyError::Dns
        }
        ConnectError::InvalidInput | ConnectError::Io(_) => ProxyError::Connect,
    }
}

/// Returns whether the received bytes are the whole head of an answer with which the proxy gives the connection.
///
/// A refusal counts as soon as its status is known, because nothing else of it matters.
fn is_accepted(received: &[u8]) -> Result<bool, ProxyError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(received);
    match answer.code {
        Some(100..=199) => return Err(ProxyError::Protocol),
        Some(200..=299) | None => {}
        Some(status) => return Err(ProxyError::Status(status)),
    }
    match parsed {
        Ok(Status::Complete(length)) if length == received.len() => Ok(true),
        Ok(Status::Partial) if received.len() < HEAD_BYTES_MAX => Ok(false),
        Ok(Status::Complete(_) | Status::Partial) | Err(_) => Err(ProxyError::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N701
    #[test]
    fn only_a_short_2xx_head_gives_the_connection() {
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "a".repeat(HEAD_BYTES_MAX));
        let headers = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(HEADERS_MAX + 1));
        let refused = |status| Err(ProxyError::Status(status));
        for (answer, expected) in [
            ("", Ok(false)),
            ("HTTP/1.1 200 OK\r\n", Ok(false)),
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(true)),
            (
                "HTTP/1.0 299 \r\na: b\r\ncontent-length: 5\r\n\r\n",
                Ok(true),
            ),
            ("HTTP/1.1 407 Denied\r\n", refused(407)),
            ("HTTP/1.1 502 Bad\r\n\r\nbody", refused(502)),
            (
                "HTTP/1.1 301 Moved\r\nlocation: http://a/\r\n\r\n",
                refused(301),
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n", Err(ProxyError::Protocol)),
            ("HTTP/1.1 200 OK\r\n\r\n\u{16}", Err(ProxyError::Protocol)),
            ("SSH-2.0-OpenSSH_9.6\r\n", Err(ProxyError::Protocol)),
            (&endless, Err(ProxyError::Protocol)),
            (&headers, Err(ProxyError::Protocol)),
        ] {
            assert_eq!(is_accepted(answer.as_bytes()), expected, "{answer:.60}");
        }
    }

    #[test]
    fn the_credentials_are_in_the_request_and_never_printed() {
        let credentials = SecretString::from("user:canary".to_owned());
        let proxy = Proxy::new("http://proxy.example:3128", Some(&credentials)).unwrap();
        assert_eq!(
            proxy.request(&"http://api.example:443/path".parse().unwrap()),
            "CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\n\
             proxy-authorization: Basic dXNlcjpjYW5hcnk=\r\n\r\n"
        );
        let shown = format!("{proxy:?}");
        assert!(
            shown.contains("proxy.example") && !shown.contains("dXNlc"),
            "{shown}"
        );
    }
}
