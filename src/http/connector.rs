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
use actix_tls::connect::rustls_0_23::reexports::AsyncTlsStream;
use actix_tls::connect::rustls_0_23::{TlsConnector, TlsConnectorService};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector, ConnectorService};
use awc::http::Uri;
use futures_util::future::{Either, LocalBoxFuture};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::answer_reader::{AnswerReader, Reuse};
use super::idle::{IdleConnections, Reusable};
use crate::time::{Clock, Timestamp};

/// The time limit for opening a TCP connection. The TLS handshake has the same limit again.
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

/// The server to which the connector connects, with the idle connections.
struct Server {
    tcp: ConnectorService,
    tls: Option<TlsConnectorService>,
    clock: Clock,
    idle: RefCell<IdleConnections<Link>>,
    /// True while a task purges the idle connections.
    is_purging: Cell<bool>,
}

impl ExclusiveConnector {
    /// Creates a connector to one server, for at most `concurrency` requests in flight. The connector uses TLS if `tls`
    /// is given.
    pub(super) fn new(tls: Option<&Arc<ClientConfig>>, clock: Clock, concurrency: usize) -> Self {
        Self(Rc::new(Server {
            tcp: Connector::default().service(),
            tls: tls.map(|tls| TlsConnector::service(Arc::clone(tls))),
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
    fn idle_link(&self, target: u64) -> Option<Link> {
        self.idle.borrow_mut().take(target, self.clock.now())
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

    /// Opens a connection: TCP, and TLS if the server has it.
    async fn open(&self, info: ConnectInfo<Uri>) -> Result<Link, ConnectError> {
        let late = |_elapsed| ConnectError::Io(io::ErrorKind::TimedOut.into());
        let connecting = timeout(CONNECT_DEADLINE, self.tcp.call(info));
        let tcp = connecting.await.map_err(late)??;
        let stream = match &self.tls {
            None => Stream::Plain(tcp.into_parts().0),
            Some(tls) => {
                let handshake = timeout(CONNECT_DEADLINE, tls.call(tcp));
                let tls = handshake.await.map_err(late)?.map_err(ConnectError::Io)?;
                Stream::Tls(Box::new(tls.into_parts().0))
            }
        };
        Ok(Link {
            stream,
            opened: self.clock.now(),
            target: 0,
            targets: HashMap::new(),
        })
    }

    /// Keeps a connection for later requests.
    fn keep(self: &Rc<Self>, mut link: Link) {
        let now = self.clock.now();
        link.targets.insert(link.target, now);
        if link.targets.len() > TARGETS_MAX {
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

/// Returns a hash of the target of a request. If two targets have the same hash, the client only opens one connection
/// more than needed.
fn target(uri: &Uri) -> u64 {
    let mut hasher = DefaultHasher::new();
    uri.path_and_query().hash(&mut hasher);
    hasher.finish()
}

/// An open connection to the server.
struct Link {
    stream: Stream,
    opened: Timestamp,
    /// The hashed target (path and query) of the last request on this connection.
    target: u64,
    /// The time of the last answer on this connection, by the hashed target of the request.
    targets: HashMap<u64, Timestamp>,
}

/// The byte stream of a connection, above TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<AsyncTlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl Reusable for Link {
    fn opened(&self) -> Timestamp {
        self.opened
    }

    fn answered_at(&self, target: u64) -> Option<Timestamp> {
        self.targets.get(&target).copied()
    }

    fn last_target(&self) -> u64 {
        self.target
    }

    /// Asks the kernel whether bytes have arrived, because the async runtime notices them only later.
    fn is_silent(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(self.stream.tcp(), &mut [0], flags), Err(Errno::AGAIN))
    }
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
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
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
        match self.link.as_mut().map(|link| &mut link.stream) {
            Some(Stream::Plain(tcp)) => Pin::new(tcp).poll_write(cx, bytes),
            Some(Stream::Tls(tls)) => Pin::new(tls).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.link.as_mut().map(|link| &mut link.stream) {
            Some(Stream::Plain(tcp)) => Pin::new(tcp).poll_flush(cx),
            Some(Stream::Tls(tls)) => Pin::new(tls).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.link.as_mut().map(|link| &mut link.stream) {
            Some(Stream::Plain(tcp)) => Pin::new(tcp).poll_shutdown(cx),
            Some(Stream::Tls(tls)) => Pin::new(tls).poll_shutdown(cx),
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
