//! Closes a connection whose client is possibly still sending, for example the body of a refused request.
//!
//! If a process closes a socket with unread bytes, the kernel resets the connection, and the client possibly loses the
//! answer. Therefore the bridge first closes only its sending side, and reads and discards bytes for a moment.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::time::timeout;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::places::Place;

/// The maximum time for which the bridge reads and discards bytes. It is enough for some round trips.
const LINGER_DEADLINE: Duration = Duration::from_secs(1);
/// The maximum number of bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// The maximum number of reads in one poll. If a client sends so fast that each read returns bytes, the bridge closes
/// the connection.
const READS_MAX: usize = 32;

/// A socket that stays open after the HTTP server has dropped its handle. The socket stays on one thread.
pub(super) struct SharedSocket<T>(Rc<RefCell<T>>);

impl<T> SharedSocket<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Rc::new(RefCell::new(io)))
    }
}

impl<T> Clone for SharedSocket<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> SharedSocket<T> {
    /// Closes the sending side of the connection. Then reads and discards bytes until the client closes its side, for
    /// at most [`LINGER_DEADLINE`].
    ///
    /// Stops at once if the listener needs the place of this connection for a new connection.
    pub(super) async fn linger(mut self, place: &Place) {
        let end = poll_fn(|cx| Pin::new(&mut self).poll_shutdown(cx)).await;
        if end.is_ok() {
            let discard = poll_fn(|cx| match place.is_closed(cx.waker()) {
                true => Poll::Ready(()),
                false => self.poll_discard(cx),
            });
            let _is_over = timeout(LINGER_DEADLINE, discard).await;
        }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        for _ in 0..READS_MAX {
            let mut read = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut *self).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for SharedSocket<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for SharedSocket<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}
