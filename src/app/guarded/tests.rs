use std::future::poll_fn;

use super::super::places::Places;
use super::*;
use crate::time::{Clock, Timestamp};

/// A client that sends these bytes and never reads.
struct Stuck(&'static [u8]);

impl AsyncRead for Stuck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = mem::take(&mut self.0);
        if bytes.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn guarded(sent: &'static str) -> Guarded<Stuck> {
    let clock = Clock::manual(Timestamp::from_millis(0));
    guarded_at(sent, &Arc::new(Places::new("test", 8, clock)))
}

fn guarded_at(sent: &'static str, places: &Arc<Places>) -> Guarded<Stuck> {
    let place = places.enter().unwrap();
    let limits = StreamLimits {
        head_deadline: Duration::from_millis(50),
        answer_deadline: Duration::from_millis(50),
        heads: Arc::default(),
        count_refused: Arc::new(|_| {}),
    };
    Guarded::new(Stuck(sent.as_bytes()), Rc::new(place), limits)
}

fn poll_read(stream: &mut Guarded<Stuck>, cx: &mut Context<'_>) -> Poll<io::Result<String>> {
    let mut bytes = [0; 1024];
    let mut buffer = ReadBuf::new(&mut bytes);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(String::from_utf8(buffer.filled().to_vec()).unwrap()))
}

async fn in_a_second<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let second = Duration::from_secs(1);
    tokio::time::timeout(second, poll_fn(poll)).await.ok()
}

/// FAULTS N45: the deadline ends the connection of a client that does not read an answer.
#[tokio::test]
async fn an_answer_has_a_deadline() {
    let mut stream = guarded("");
    let written = in_a_second(|cx| Pin::new(&mut stream).poll_write(cx, b"answer")).await;
    let error = written.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// FAULTS N45: the server flushes its own bytes, and does not know the refusal that the client does not read.
#[tokio::test]
async fn a_flush_does_not_extend_the_deadline_of_a_refusal() {
    let mut stream = guarded("GET / HTTP/1.1\n\n");
    let read = in_a_second(|cx| {
        let read = poll_read(&mut stream, cx);
        assert!(Pin::new(&mut stream).poll_flush(cx).is_ready());
        read
    });
    let error = read.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// FAULTS N50: a health check whose connection loses its place at once is still answered; other connections end.
#[tokio::test]
async fn a_request_that_has_arrived_is_answered_without_a_place() {
    const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for (sent, is_answered) in [(GET, true), ("", false), ("GET / HTTP/1.1\r\n", false)] {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let places = Arc::new(Places::new("test", 1, clock.clone()));
        let mut stream = guarded_at(sent, &places);
        clock.advance(Duration::from_secs(1));
        let _newer = places.enter().unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let read = poll_read(&mut stream, &mut cx);
        let Poll::Ready(Ok(read)) = read else {
            assert!(
                !is_answered && matches!(read, Poll::Ready(Err(_))),
                "{sent:?} {read:?}"
            );
            continue;
        };
        assert_eq!(read, GET);
        assert!(
            poll_read(&mut stream, &mut cx).is_pending(),
            "the bridge works"
        );
        stream.shared().answer();
        let written = Pin::new(&mut stream).poll_write(&mut cx, b"answer");
        assert!(
            matches!(written, Poll::Ready(Err(_))),
            "nobody reads: {written:?}"
        );
        let next = poll_read(&mut stream, &mut cx);
        assert!(matches!(next, Poll::Ready(Err(_))), "{next:?}");
    }
}

/// FAULTS N44: an empty line behind a request, which old clients send, is not the begin of the next head.
#[tokio::test]
async fn an_empty_line_does_not_start_the_deadline_of_a_head() {
    const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for (sent, is_refused) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n\r\nG", true),
    ] {
        let mut stream = guarded(sent);
        let read = in_a_second(|cx| poll_read(&mut stream, cx)).await;
        assert_eq!(read.unwrap().unwrap(), GET);
        stream.shared().answer();
        let next = in_a_second(|cx| poll_read(&mut stream, cx)).await;
        assert_eq!(next.is_some(), is_refused, "{sent:?} {next:?}");
    }
}
