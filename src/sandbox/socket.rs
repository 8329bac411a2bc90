//! Faults on the connection that actix cannot cause: an interim head, a reset, and an incomplete body.
//!
//! The sandbox keeps a second handle of each accepted socket. If the sandbox writes bytes through the second handle,
//! the kernel sends them at once, before the bytes that actix writes later. Socket options set through one handle apply
//! to both handles. Actix reads and closes the socket as usual. To reset a connection, the sandbox gives actix an
//! answer body that returns an error. Actix then drops the connection without flushing it.

use std::any::Any;
use std::future::Future;
use std::io::{self, ErrorKind, Write as _};
use std::net;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;

/// The time between two checks whether a waiting client is still connected.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// The maximum time for which the sandbox keeps a client waiting. No deadline in a test is so long.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A second handle of a connection's socket.
pub(super) struct SocketHandle(net::TcpStream);

/// Stores a second handle of the connection's socket, for the faults in this module.
///
/// If the second handle is missing, the fault `reset` closes the connection in the normal way.
pub(super) fn keep(io: &dyn Any, connection: &mut Extensions) {
    let Some(stream) = io.downcast_ref::<TcpStream>() else {
        return;
    };
    match stream.as_fd().try_clone_to_owned() {
        Ok(socket) => {
            connection.insert(Arc::new(SocketHandle(net::TcpStream::from(socket))));
        }
        Err(error) => tracing::warn!(%error, "the sandbox cannot clone a connection's socket"),
    }
}

impl SocketHandle {
    /// Sends an interim response head at once.
    pub(super) fn send_interim(&self, status: u16) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status} Interim\r\n\r\n");
        (&self.0).write_all(head.as_bytes())
    }

    /// Sets the socket so that its close resets the connection: the kernel then discards unsent bytes and sends an RST.
    pub(super) fn reset_at_close(&self) -> io::Result<()> {
        TcpStream::from_std(self.0.try_clone()?)?.set_zero_linger()
    }

    /// Waits until the client closes the connection, but at most for [`WAIT_MAX`].
    pub(super) async fn until_client_gone(&self) {
        let gone = async {
            while self.has_client() {
                tokio::time::sleep(CHECK_EVERY).await;
            }
        };
        // The fault continues in the same way after a timeout, so the result is not needed.
        drop(tokio::time::timeout(WAIT_MAX, gone).await);
    }

    fn has_client(&self) -> bool {
        match self.0.peek(&mut [0]) {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// An incomplete response body: some bytes, filler bytes, a wait, and then the end of the connection.
pub(super) struct BrokenBody<K> {
    size: BodySize,
    first: Bytes,
    filler: Bytes,
    filler_bytes: usize,
    wait: Option<Pin<Box<dyn Future<Output = ()>>>>,
    _kept: K,
}

impl<K> BrokenBody<K> {
    /// Creates a body that ends the connection at once. Not even the response head reaches the client. The body drops
    /// `kept` when the connection ends.
    pub(super) fn at_once(kept: K) -> Self {
        Self {
            size: BodySize::Stream,
            first: Bytes::new(),
            filler: Bytes::new(),
            filler_bytes: 0,
            wait: None,
            _kept: kept,
        }
    }

    /// Sets the `Content-Length` of the body. Without it, actix sends the body in chunks.
    pub(super) fn promising(mut self, bytes: usize) -> Self {
        self.size = BodySize::Sized(u64::try_from(bytes).unwrap_or(u64::MAX));
        self
    }

    /// Sets the first bytes of the body.
    pub(super) fn with(mut self, first: Bytes) -> Self {
        self.first = first;
        self
    }

    /// Adds `filler` repeatedly after the first bytes, up to `bytes` bytes of filler.
    pub(super) fn filled(mut self, filler: Bytes, bytes: usize) -> Self {
        self.filler = filler;
        self.filler_bytes = bytes;
        self
    }

    /// Adds a wait before the end of the connection. During this wait, actix sends the bytes of the body.
    pub(super) fn after(mut self, wait: impl Future<Output = ()> + 'static) -> Self {
        self.wait = Some(Box::pin(wait));
        self
    }
}

impl<K: Unpin> MessageBody for BrokenBody<K> {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.first))));
        }
        if this.filler_bytes > 0 && !this.filler.is_empty() {
            this.filler_bytes = this.filler_bytes.saturating_sub(this.filler.len());
            return Poll::Ready(Some(Ok(this.filler.clone())));
        }
        if let Some(wait) = &mut this.wait {
            std::task::ready!(wait.as_mut().poll(cx));
            this.wait = None;
        }
        Poll::Ready(Some(Err(ErrorKind::ConnectionAborted.into())))
    }
}
