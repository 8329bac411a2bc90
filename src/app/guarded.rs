//! The stream between a socket and the HTTP server, which bounds what one client can cost.
//!
//! - The server gets one request at a time, and the next one only when the client has taken the answer. Otherwise
//!   actix-http decodes thousands of pipelined requests, and wakes itself without end while its read buffer is full.
//! - The server gets a limited number of bytes at once, so that its buffer stays small while a body stalls.
//! - The heads that have not arrived completely have a memory limit; see [`head_budget`].
//! - Every head has a deadline, not only the first one of a connection, and so has every answer.
//! - `100 Continue` is sent when a handler starts to read the body, so never before a refusal.
//! - A connection that ends before its client has sent everything ends slowly; see [`super::linger`].
//! - A connection that has lost its place to another one ends; see [`super::places`].
//! - Bytes that two receivers could read in different ways are refused; see [`crate::http::framing`].

mod head_budget;
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

/// The number of bytes that the server gets before other connections have their turn. The server's buffer has 8 KiB, and
/// grows if it gets more at once.
const BURST_BYTES: usize = 4 * 1024;
/// The number of bytes of one read from the socket.
const READ_BYTES: usize = 4 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The limits of the streams of one listener.
#[derive(Clone)]
pub(super) struct StreamLimits {
    /// The maximum time for the arrival of a request head.
    pub(super) head_deadline: Duration,
    /// The maximum time in which a client takes an answer.
    pub(super) answer_deadline: Duration,
    /// The memory of all incomplete heads on the listener.
    pub(super) heads: Arc<HeadBudget>,
    /// Counts a refused head by its problem type.
    pub(super) count_refused: Arc<dyn Fn(&'static str) + Send + Sync>,
}

/// A socket with limits.
pub(super) struct Guarded<T> {
    io: T,
    place: Rc<Place>,
    shared: Rc<ConnectionState>,
    limits: StreamLimits,
    framing: Framing,
    /// Bytes from the socket of which the framing has not yet decided.
    input: Vec<u8>,
    head_charge: HeadCharge,
    /// Bytes of the current request that the server may read.
    ready: BytesInTransit,
    /// Bytes of the stream itself for the client: `100 Continue`, or the refusal of a head.
    own: BytesInTransit,
    /// The number of complete requests.
    received: u64,
    burst_bytes: usize,
    /// Whether the client has closed its side of the connection.
    is_half_closed: bool,
    is_write_blocked: bool,
    /// Whether the bridge works on a complete request.
    is_busy: bool,
    /// Whether the server gets no more bytes.
    has_ended: bool,
    /// Whether the stream has replaced a refusal of the server by a problem document.
    is_replaced: bool,
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
            head_timer: LazyTimer::default(),
            answer_timer: LazyTimer::default(),
        }
    }

    /// Returns the state that the handlers share with this stream.
    pub(super) fn shared(&self) -> Rc<ConnectionState> {
        Rc::clone(&self.shared)
    }

    /// Returns whether the next request must wait for the answer to the previous one.
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

    /// Advances in the current request. The stream takes nothing and ends if the bytes are not acceptable.
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

    /// Writes bytes into the buffer of the server, and keeps the ones for which the buffer has no room.
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

    /// Fails if the connection has lost its place to another one.
    fn check_place(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if self.is_busy && self.received <= self.shared.answered() {
            self.is_busy = false;
            self.place.end(self.shared.is_trusted());
        }
        if self.place.is_closed(cx.waker()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn refuse(&mut self, refused: RefusedHead) {
        (self.limits.count_refused)(refused.word());
        self.own.push(Some(&refused.response()));
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.input = Vec::new();
    }

    /// Ends the stream for the server, although the client may still send.
    fn cut(&mut self) {
        self.shared.cut();
        self.end();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    /// Reads from the socket until the server has got bytes or the stream has ended.
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
                // Usually a request arrives as a whole, and needs no buffer.
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

    /// Reads one piece ahead while the bridge works on a request. The socket then wakes the task when the next request
    /// arrives.
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

    /// Reads from the socket once. No bytes mean that the client has closed its side.
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

    /// Writes the bytes of the stream itself.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.take_continue() {
            self.own.push(Some(CONTINUE));
        }
        while let Some(bytes) = self.own.bytes() {
            match Pin::new(&mut self.io).poll_write(cx, bytes) {
                Poll::Ready(written) => self.own.take(written?),
                Poll::Pending => {
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
        this.check_place(cx)?;
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
                this.is_write_blocked = true;
                ready!(this.answer_timer.poll(cx, this.limits.answer_deadline));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// The server flushes when the socket has taken every byte of its answers.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check_place(cx)?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // The bytes of the stream itself have the same deadline, and the server does not know of them.
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
