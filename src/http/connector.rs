//! Gives the HTTP library awc connections to one server, and ensures that each answer belongs to its request.
//!
//! For awc, every connection is new and closes after one answer: an [`AnswerStream`] passes on one complete answer and
//! then ends. In fact, this module keeps the connections and uses them again, by the rules of [`IdleConnections`]. This
//! module also does the TLS handshake, because it must read the decrypted bytes of an answer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_rt::net::{ActixStream, Ready, TcpStream};
use actix_service::{Service, always_ready};
use actix_tls::connect::rustls_0_23::TlsConnector;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector, ConnectorService};
use awc::http::Uri;
use futures_util::future::{Either, LocalBoxFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::answer_reader::{AnswerReader, Reuse};
use super::egress::{CertificateRefused, Egress};
use super::idle::IdleConnections;
use super::link::{Link, Stream};
use super::proxy::ProxyError;
use crate::time::Clock;

/// The time limit for opening a connection to the server, including the answer of a proxy. The TLS handshake has the same
/// limit again.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The maximum number of request targets (paths with query) on one connection. The client stores a time for each
/// target, so this number limits the memory.
const TARGETS_MAX: usize = 512;
/// The time between two purges of idle connections. A purge closes the descriptors of connections that the server has
/// closed.
const PURGE_EVERY: Duration = Duration::from_secs(5);
/// The maximum number of bytes that one read takes from the connection.
const READ_BYTES: usize = 8 * 1024;

/// The service from which the HTTP library awc gets a connection for each request.
#[derive(Clone)]
pub(super) struct ExclusiveConnector(Rc<Server>);

/// The protocol below the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    /// HTTP over TLS.
    Https,
}

/// The server to which the connector connects, with the idle connections.
struct Server {
    tcp: ConnectorService,
    scheme: Scheme,
    egress: watch::Receiver<Arc<Egress>>,
    clock: Clock,
    idle: RefCell<IdleConnections<Link>>,
    /// True while a task purges the idle connections.
    is_purging: Cell<bool>,
}

impl ExclusiveConnector {
    /// Creates a connector to one server, for at most `concurrency` requests in flight.
    pub(super) fn new(
        scheme: Scheme,
        egress: watch::Receiver<Arc<Egress>>,
        clock: Clock,
        concurrency: usize,
    ) -> Self {
        Self(Rc::new(Server {
            tcp: Connector::default().service(),
            scheme,
            egress,
            clock,
            idle: RefCell::new(IdleConnections::new(concurrency)),
            is_purging: Cell::new(false),
        }))
    }

    /// Closes the idle connections.
    pub(super) fn close_idle(&self) {
        self.0.idle.borrow_mut().clear();
    }
}

impl Service<ConnectInfo<Uri>> for ExclusiveConnector {
    type Response = Connection<Uri, AnswerStream>;
    type Error = ConnectError;
    type Future = Either<
        future::Ready<Result<Self::Response, Self::Error>>,
        LocalBoxFuture<'static, Result<Self::Response, Self::Error>>,
    >;

    always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let server = Rc::clone(&self.0);
        let uri = info.request().clone();
        let target = target(&uri);
        if let Some(link) = server.idle_link(target) {
            let stream = server.carry(link, target);
            return Either::Left(future::ready(Ok(Connection::new(uri, stream))));
        }
        Either::Right(Box::pin(async move {
            let link = server.open(info).await?;
            Ok(Connection::new(uri, server.carry(link, target)))
        }))
    }
}

impl Server {
    /// Returns an idle connection that can carry a request to `target`. Closes connections with earlier means.
    fn idle_link(&self, target: u64) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let now = self.clock.now();
        std::iter::from_fn(|| idle.take(target, now)).find(|link| self.is_current(link))
    }

    /// Returns whether the connection was opened with the present means.
    fn is_current(&self, link: &Link) -> bool {
        Arc::ptr_eq(&link.egress, &self.egress.borrow())
    }

    /// Returns the stream of one answer from `target` over this connection.
    fn carry(self: Rc<Self>, mut link: Link, target: u64) -> AnswerStream {
        link.target = target;
        AnswerStream {
            link: Some(link),
            answer: AnswerReader::default(),
            server: self,
        }
    }

    /// Opens a connection: TCP, directly or through a proxy, and TLS if the server has it. Without TLS, there is no proxy,
    /// because it could read the requests.
    async fn open(&self, info: ConnectInfo<Uri>) -> Result<Link, ConnectError> {
        let egress = Arc::clone(&self.egress.borrow());
        let stream = match self.scheme {
            Scheme::Http => Stream::Plain(self.connect(info).await?.into_parts().0),
            Scheme::Https => {
                let tcp = self.connect_through(&egress, info).await?;
                let connector = TlsConnector::service(Arc::clone(&egress.tls));
                let handshake = timeout(CONNECT_DEADLINE, connector.call(tcp));
                let tls = handshake.await.map_err(late)?.map_err(handshake_error)?;
                Stream::Tls(Box::new(tls.into_parts().0))
            }
        };
        Ok(Link {
            stream,
            egress,
            opened: self.clock.now(),
            target: 0,
            targets: HashMap::new(),
        })
    }

    async fn connect(
        &self,
        info: ConnectInfo<Uri>,
    ) -> Result<Connection<Uri, TcpStream>, ConnectError> {
        timeout(CONNECT_DEADLINE, self.tcp.call(info))
            .await
            .map_err(late)?
    }

    /// Opens a TCP connection through the proxy, if there is one.
    async fn connect_through(
        &self,
        egress: &Egress,
        info: ConnectInfo<Uri>,
    ) -> Result<Connection<Uri, TcpStream>, ConnectError> {
        let Some(proxy) = &egress.proxy else {
            return self.connect(info).await;
        };
        let server = info.request().clone();
        let connecting = timeout(CONNECT_DEADLINE, proxy.connect(&self.tcp, &server));
        let stream = connecting.await.unwrap_or(Err(ProxyError::Deadline))?;
        Ok(Connection::new(server, stream))
    }

    /// Keeps a connection for later requests.
    fn keep(self: &Rc<Self>, mut link: Link) {
        let now = self.clock.now();
        link.targets.insert(link.target, now);
        if link.targets.len() > TARGETS_MAX || !self.is_current(&link) {
            return;
        }
        self.idle.borrow_mut().put(link, now);
        if !self.is_purging.replace(true) {
            #[expect(
                clippy::disallowed_methods,
                reason = "the task ends with the connector or with the last idle connection"
            )]
            actix_rt::spawn(purge(Rc::downgrade(self), self.clock.clone()));
        }
    }
}

/// Purges the idle connections until none is left.
async fn purge(server: Weak<Server>, clock: Clock) {
    loop {
        clock.sleep(PURGE_EVERY).await;
        let Some(server) = server.upgrade() else {
            return;
        };
        let is_any_left = server.idle.borrow_mut().purge(clock.now());
        server.is_purging.set(is_any_left);
        if !is_any_left {
            return;
        }
    }
}

fn late(_elapsed: Elapsed) -> ConnectError {
    ConnectError::Io(io::ErrorKind::TimedOut.into())
}

fn handshake_error(error: io::Error) -> ConnectError {
    ConnectError::Io(match CertificateRefused::is_in(&error) {
        true => CertificateRefused.into(),
        false => error,
    })
}

/// Returns a hash of the target of a request. If two targets have the same hash, the client only opens one connection
/// more than needed.
fn target(uri: &Uri) -> u64 {
    let mut hasher = DefaultHasher::new();
    uri.path_and_query().hash(&mut hasher);
    hasher.finish()
}

/// A connection as the HTTP library awc sees it: a stream for one request and one answer. The stream ends after the
/// answer.
pub(super) struct AnswerStream {
    /// The connection. `None` after the complete answer or an error.
    link: Option<Link>,
    answer: AnswerReader,
    server: Rc<Server>,
}

impl fmt::Debug for AnswerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerStream").finish_non_exhaustive()
    }
}

impl AnswerStream {
    /// Waits until the HTTP library can read bytes of the answer, or the answer has ended.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.has_news() {
            ready!(self.poll_receive(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Returns whether the HTTP library can read more bytes or the end of the answer. For a complete answer, the stream
    /// first checks the connection once more, because bytes after the answer are an error.
    fn has_news(&self) -> bool {
        if self.answer.is_complete() {
            self.link.is_none()
        } else {
            self.answer.has_ready()
        }
    }

    /// Reads once from the connection, and adds the bytes to the answer.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut link) = self.link.take() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        match link.stream.poll_read(cx, &mut buffer) {
            Poll::Pending if self.answer.is_complete() => self.finish(link),
            Poll::Pending => {
                self.link = Some(link);
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => self.answer.end()?,
            Poll::Ready(Ok(())) => {
                self.answer.receive(buffer.filled())?;
                self.link = Some(link);
            }
            // Some servers close a TLS connection without the TLS alert `close_notify`. If a part of the body is
            // missing, the caller notices it, because the caller parses the body.
            Poll::Ready(Err(error))
                if error.kind() == io::ErrorKind::UnexpectedEof
                    && self.answer.ends_with_the_connection() =>
            {
                self.answer.end()?;
            }
            Poll::Ready(Err(_)) if self.answer.is_complete() => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(link.explain(error))),
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the connection for later requests. The caller has checked that the answer is complete and that no byte
    /// follows it.
    fn finish(&self, link: Link) {
        if self.answer.reuse() == Reuse::Allowed {
            self.server.keep(link);
        }
    }
}

impl AsyncRead for AnswerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        self.answer.take(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AnswerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.link {
            Some(link) => link.poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.link {
            Some(link) => link.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.link {
            Some(link) => link.poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// The HTTP library awc requires this trait, but never calls its methods.
impl ActixStream for AnswerStream {
    fn poll_read_ready(&self, _cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::READABLE))
    }

    fn poll_write_ready(&self, _cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::WRITABLE))
    }
}
