//! Faults of the crates below the bridge. If one of these tests fails, the crate no longer has the fault, and the code of the
//! bridge that works around the fault can go.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{Service as _, ServiceFactory as _, fn_service};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A client that sends requests without end, and never reads an answer.
#[derive(Default)]
struct NeverReads {
    /// The number of bytes of the current request that the server has read.
    sent: usize,
}

impl AsyncRead for NeverReads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unsent = &REQUEST[self.sent..];
        let part = &unsent[..unsent.len().min(buffer.remaining())];
        buffer.put_slice(part);
        self.sent = (self.sent + part.len()) % REQUEST.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for NeverReads {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        _bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Counts how often a task asks for its next turn.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// FAULTS N45: a client that pipelines requests and never reads takes a whole core of actix-http, and memory without a limit.
///
/// In `h1/dispatcher.rs`, `poll_request` checks `MAX_PIPELINED_MESSAGES` once, and then decodes all requests of the read buffer.
/// `poll_response` answers them all, although the write buffer is full. In the next turn, `read_available` reads
/// `MAX_BUFFER_SIZE` bytes again, and calls `wake_by_ref`, because no read of the socket is pending that would wake the task. The
/// check belongs into the loop that decodes. `poll_response` needs a limit for the answers that the client has not read, and
/// `read_available` has to wake the task only if the turn decoded a request: in all other cases the socket wakes the task when it
/// takes bytes again. The guarded stream of the bridge hides this fault: see `src/app/guarded.rs`.
#[test]
fn actix_http_serves_clients_that_never_read() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let served = Rc::new(Cell::new(0));
    let answer = {
        let served = Rc::clone(&served);
        move |_: Request| {
            served.set(served.get() + 1);
            async { Ok::<_, actix_http::Error>(Response::ok()) }
        }
    };
    actix_web::rt::System::new().block_on(async {
        let server = HttpService::build().h1(fn_service(answer));
        let server = server.new_service(()).await.unwrap();
        let client = NeverReads::default();
        let mut connection = pin!(server.call((client, Protocol::Http1, None::<SocketAddr>)));
        let mut context = Context::from_waker(&waker);
        for _ in 0..20 {
            let before = (wakes.0.load(Ordering::Relaxed), served.get());
            assert!(connection.as_mut().poll(&mut context).is_pending());
            assert!(wakes.0.load(Ordering::Relaxed) > before.0);
            assert!(served.get() > before.1 + 1_000);
        }
    });
}
