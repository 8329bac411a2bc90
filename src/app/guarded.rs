//! The stream between a socket and the HTTP server. It limits the memory and processor time that one client can use.
//!
//! - The stream gives the server one request at a time, and the next request only after the client has received the
//!   answer. Otherwise actix-http decodes thousands of pipelined requests, and uses a full core while its read buffer
//!   is full.
//! - The stream gives the server a limited number of bytes at once, so that the server's buffer stays small.
//! - All incomplete request heads together have a memory limit; see [`head_budget`].
//! - Every request head and every answer has a time limit, not only the first of a connection.
//! - The stream sends `100 Continue` only when a handler starts to read the body, so never before a refusal.
//! - If the client is still sending, the bridge discards bytes for a moment before it closes; see [`super::linger`].
//! - If a new connection finds no free place, the listener closes a waiting connection; see [`super::places`].
//! - The stream refuses bytes that a proxy and the bridge could read as different requests; see
//!   [`crate::http::framing`].

mod head_budget;
mod last_request;
mod timer;
mod transit;

use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) use self::head_budget::HeadBudget;
use self::head_budget::HeadCharge;
use self::timer::LazyTimer;
use self::transit::BytesInTransit;

use super::places::Place;
use super::refused::RefusedHead;
use crate::http::connection::ConnectionState;
use crate::http::framing::{Advance, Framing};
use crate::http::refused::RefusedProblem;

/// The maximum number of bytes that the server gets from one connection before the thread serves other connections. The
/// server's buffer of 8 KiB would grow if the server got more bytes at once.
const BURST_BYTES: usize = 4 * 1024;
/// The maximum number of bytes of one read from the socket.
const READ_BYTES: usize = 4 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The limits of the streams of one listener.
#[derive(Clone)]
pub(super) struct StreamLimits {
    /// The time limit for receiving a request head.
    pub(super) head_deadline: Duration,
    /// The time limit for sending an answer to the client.
    pub(super) answer_deadline: Duration,
    /// The memory limit for all incomplete request heads on the listener.
    pub(super) heads: Arc<HeadBudget>,
    /// Counts a refused request head.
    pub(super) count_refused: Arc<dyn Fn(RefusedProblem) + Send + Sync>,
}

/// A socket whose client has limits.
pub(super) struct Guarded<T> {
    io: T,
    place: Rc<Place>,
    shared: Rc<ConnectionState>,
    limits: StreamLimits,
    framing: Framing,
    /// Bytes from the socket that [`Framing`] has not yet assigned to a request.
    input: Vec<u8>,
    head_charge: HeadCharge,
    /// Bytes of the current request that the server has not yet read.
    ready: BytesInTransit,
    /// Bytes for the client that the stream itself creates, not the server: `100 Continue`, or the refusal of a head.
    own: BytesInTransit,
    /// The number of complete requests on this connection.
    received: u64,
    burst_bytes: usize,
    /// True if the client has closed its side of the connection.
    is_half_closed: bool,
    is_write_blocked: bool,
    /// True while the bridge works on a complete request.
    is_busy: bool,
    /// True if the stream gives the server no more bytes.
    has_ended: bool,
    /// True if the stream has replaced the server's refusal of a request head with a problem document.
    is_replaced: bool,
    /// True if the connection has lost its place, and only a request that has already arrived is still answered.
    is_last_request: bool,
    head_timer: LazyTimer,
    answer_timer: LazyTimer,
}

impl<T> Guarded<T> {
    pub(super) fn new(io: T, place: Rc<Place>, limits: StreamLimits) -> Self {
        let head_charge = HeadCharge::of(Arc::clone(&limits.heads));
        Self {
            io,
            place,
            shared: Rc::default(),
            limits,
            framing: Framing::default(),
            input: Vec::new(),
            head_charge,
            ready: BytesInTransit::default(),
            own: BytesInTransit::default(),
            received: 0,
            burst_bytes: 0,
            is_half_closed: false,
            is_write_blocked: false,
            is_busy: false,
            has_ended: false,
            is_replaced: false,
            is_last_request: false,
            head_timer: LazyTimer::default(),
            answer_timer: LazyTimer::default(),
        }
    }

    /// Returns the state that the handlers share with this stream.
    pub(super) fn shared(&self) -> Rc<ConnectionState> {
        Rc::clone(&self.shared)
    }

    /// Returns whether the next request must wait: the client has not yet received the previous answer.
    fn waits_for_answer(&self) -> bool {
        self.is_write_blocked || self.received > self.shared.answered()
    }

    /// Gives the server the bytes in `input` that belong to the current request, and returns their number.
    fn take(&mut self, input: &[u8], buffer: &mut ReadBuf<'_>) -> usize {
        let mut taken = 0;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            let advance = self.advance(rest);
            let mut at = 0;
            for cut in &advance.cut {
                self.give(rest.get(at..cut.start), buffer);
                at = cut.end;
            }
            self.give(rest.get(at..advance.taken), buffer);
            taken += advance.taken;
            if advance.is_complete || advance.taken == 0 {
                break;
            }
        }
        taken
    }

    /// Takes the next bytes of the current request from `input`. Ends the stream if the bytes break a framing rule.
    fn advance(&mut self, input: &[u8]) -> Advance {
        let was_in_head = self.framing.is_in_head();
        let advance = match self.framing.advance(input) {
            Ok(advance) => advance,
            Err(violation) => {
                if was_in_head {
                    self.refuse(RefusedHead::from(violation));
                }
                self.cut();
                return Advance::default();
            }
        };
        if was_in_head && (advance.is_complete || !self.framing.is_in_head()) {
            self.head_timer.stop();
            self.head_charge.change(0);
            self.shared.expect_continue(advance.expects_continue);
        }
        if advance.is_complete {
            self.received = self.received.wrapping_add(1);
            self.is_busy = true;
            self.place.begin();
        }
        advance
    }

    /// Writes bytes into the server's buffer. Keeps bytes in `ready` for which the buffer has no room.
    fn give(&mut self, bytes: Option<&[u8]>, buffer: &mut ReadBuf<'_>) {
        let bytes = bytes.unwrap_or_default();
        let fits = match self.ready.bytes() {
            None => bytes.len().min(buffer.remaining()),
            Some(_earlier) => 0,
        };
        let (now, later) = bytes.split_at_checked(fits).unwrap_or((&[], bytes));
        buffer.put_slice(now);
        self.ready.push(Some(later));
    }

    fn refuse(&mut self, refused: RefusedHead) {
        (self.limits.count_refused)(refused.problem());
        self.own.push(Some(&refused.response()));
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.input = Vec::new();
    }

    /// Ends the stream for the server, although the client is possibly still sending.
    fn cut(&mut self) {
        self.shared.cut();
        self.end();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    /// Reads from the socket until `buffer` contains bytes for the server, or the stream has ended.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.shared.answered() > self.received {
            // The server has answered a request before the end of its body.
            self.cut();
            return Poll::Ready(Ok(()));
        }
        let mut input = mem::take(&mut self.input);
        let mut taken = self.take(&input, buffer);
        input.drain(..taken);
        while taken == 0 && !self.has_ended {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            if self.poll_socket(cx, &mut read)?.is_pending() {
                self.input = input;
                return self.poll_head_deadline(cx);
            }
            if input.capacity() > READ_BYTES && !self.head_charge.change(input.capacity()) {
                self.refuse(RefusedHead::Budget);
                self.cut();
                break;
            }
            if read.filled().is_empty() {
                self.end();
            } else if input.is_empty() {
                // Usually a request arrives completely in one read. The stream then needs no buffer.
                taken = self.take(read.filled(), buffer);
                input.extend_from_slice(read.filled().get(taken..).unwrap_or_default());
            } else {
                input.extend_from_slice(read.filled());
                taken = self.take(&input, buffer);
                input.drain(..taken);
            }
        }
        if !self.has_ended && !input.is_empty() {
            self.input = input;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket while the bridge works on a request, so that the next request wakes the task.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.input.is_empty() && !self.is_half_closed {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            match self.poll_socket(cx, &mut read)? {
                Poll::Pending => self.shared.watch(),
                Poll::Ready(()) => self.input.extend_from_slice(read.filled()),
            }
        }
        Ok(())
    }

    /// Reads once from the socket. If the read returns no bytes, the client has closed its side of the connection.
    fn poll_socket(
        &mut self,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> io::Result<Poll<()>> {
        if self.is_half_closed {
            return Ok(Poll::Ready(()));
        }
        let polled = Pin::new(&mut self.io).poll_read(cx, read)?;
        self.is_half_closed = polled.is_ready() && read.filled().is_empty();
        Ok(polled)
    }

    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_first = self.received == 0;
        if self.framing.is_in_head() && (is_first || !self.input.is_empty()) {
            ready!(self.head_timer.poll(cx, self.limits.head_deadline));
            self.refuse(RefusedHead::Timeout);
            self.cut();
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Sends the bytes that the stream itself creates.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.take_continue() {
            self.own.push(Some(CONTINUE));
        }
        while let Some(bytes) = self.own.bytes() {
            match Pin::new(&mut self.io).poll_write(cx, bytes) {
                Poll::Ready(written) => self.own.take(written?),
                Poll::Pending => {
                    self.check_wait()?;
                    ready!(self.answer_timer.poll(cx, self.limits.answer_deadline));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.shared.read_with(cx.waker());
        this.check_last_request(cx)?;
        ready!(this.poll_own(cx))?;
        if this.burst_bytes >= BURST_BYTES {
            this.burst_bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        while this.ready.bytes().is_none() && buffer.filled().len() == before && !this.has_ended {
            if this.waits_for_answer() {
                this.burst_bytes = 0;
                this.poll_ahead(cx)?;
                return Poll::Pending;
            }
            if this.poll_fill(cx, buffer)?.is_pending() {
                this.check_wait()?;
                this.burst_bytes = 0;
                return Poll::Pending;
            }
            if buffer.filled().len() == before {
                ready!(this.poll_own(cx))?;
            }
        }
        if let Some(bytes) = this.ready.bytes() {
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(bytes.get(..count).unwrap_or_default());
            this.ready.take(count);
        }
        this.burst_bytes += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check_place(cx)?;
        if !this.is_replaced
            && let Some(refused) = RefusedHead::by_server(bytes)
        {
            this.is_replaced = true;
            this.refuse(refused);
        }
        ready!(this.poll_own(cx))?;
        if this.is_replaced {
            return Poll::Ready(Ok(bytes.len()));
        }
        match Pin::new(&mut this.io).poll_write(cx, bytes) {
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => {
                this.check_wait()?;
                this.is_write_blocked = true;
                ready!(this.answer_timer.poll(cx, this.limits.answer_deadline));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// The server calls this method when the socket has accepted all bytes of its answers.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check_place(cx)?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // The timer continues until the socket has also accepted the answer in `own`. The guard writes this answer
        // itself, so actix does not know it.
        if this.own.bytes().is_none() {
            this.answer_timer.stop();
        }
        if mem::take(&mut this.is_write_blocked) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
