//! The end of a connection whose client may still send, for example the body of a refused request.
//!
//! If the kernel closes a socket with bytes that nobody has read, it resets the connection, and the client may lose the
//! answer. So the bridge says that it sends no more, and reads on for a moment.

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

/// The maximum time for which the bridge reads on: some round trips.
const LINGER_DEADLINE: Duration = Duration::from_secs(1);
/// The number of bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// The maximum number of reads at once. A client that is faster than the bridge loses the connection.
const READS_MAX: usize = 32;

/// A socket that the HTTP server uses, and that outlives the server's use of it. The socket stays on one thread.
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
    /// Sends the end of the connection, and reads until the client ends the connection too, or for a moment. A connection
    /// that loses its place ends at once.
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
