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
    let place = Arc::new(Places::new("test", 8, clock)).enter().unwrap();
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
