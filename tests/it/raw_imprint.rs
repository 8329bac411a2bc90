//! A fake Imprint server that misbehaves on the wire: each connection runs a script of the test.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::TEST_TIMEOUT;

/// The byte stream of a connection to the fake Imprint server, plain or TLS.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A connection that the fake Imprint server has accepted, as its script sees the connection.
pub(crate) struct Accepted {
    /// The number of the connection, starting from 0.
    pub(crate) number: usize,
    socket: TcpStream,
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    seen: Arc<Seen>,
}

/// The number of connections to the fake Imprint server, and the requests of all connections.
#[derive(Default)]
struct Seen {
    connections: Mutex<usize>,
    requests: Mutex<Vec<String>>,
}

impl Accepted {
    /// Reads the next request, head and body; returns `None` if the connection ends before the request is complete.
    pub(crate) fn request(&mut self) -> Option<String> {
        loop {
            if let Some(length) = whole_request(&self.unread) {
                let request: Vec<u8> = self.unread.drain(..length).collect();
                let request = String::from_utf8(request).unwrap();
                self.seen.requests.lock().unwrap().push(request.clone());
                return Some(request);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            }
        }
    }

    /// Sends a text to the client; returns an error if the client has closed the connection.
    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        self.send_bytes(text.as_bytes())
    }

    /// Sends bytes that are perhaps no text, like [`Self::send`].
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Continues the connection with TLS.
    pub(crate) fn speak_tls(&mut self, tls: Arc<ServerConfig>) {
        assert!(self.unread.is_empty(), "the client did not wait");
        let socket = self.socket.try_clone().unwrap();
        let connection = ServerConnection::new(tls).unwrap();
        self.stream = Box::new(StreamOwned::new(connection, socket));
    }

    /// Passes on all bytes between the client and `server`, as a proxy does, until both have ended their connections.
    pub(crate) fn tunnel(&self, server: SocketAddr) {
        assert!(self.unread.is_empty(), "the client did not wait");
        let server = TcpStream::connect(server).unwrap();
        let copy = |mut from: &TcpStream, mut to: &TcpStream| {
            // Either side may reset its connection.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        };
        let client = &self.socket;
        std::thread::scope(|scope| {
            scope.spawn(|| copy(client, &server));
            copy(&server, client);
        });
    }

    /// Answers every request with `answer` until the connection ends.
    pub(crate) fn serve(&mut self, answer: impl Fn(&str) -> String) {
        while let Some(request) = self.request() {
            if self.send(&answer(&request)).is_err() {
                return;
            }
        }
    }

    /// Returns true if the client closes the connection within `span`.
    pub(crate) fn is_closed_within(&self, span: Duration) -> bool {
        self.socket.set_read_timeout(Some(span)).unwrap();
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        match peeked {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Ends the server's side of the connection; the client's side stays open.
    pub(crate) fn end_sending(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Adds a line of the script to the complete requests, for a test that waits for the script.
    pub(crate) fn note(&self, line: &str) {
        self.seen.requests.lock().unwrap().push(line.to_owned());
    }

    /// Waits until the client has closed the connection.
    pub(crate) fn until_closed(&self) {
        assert!(self.is_closed_within(TEST_TIMEOUT), "the client stays");
    }

    /// Reads one byte, sends `after`, and closes the connection: the kernel resets a connection that is closed with
    /// unread bytes.
    pub(crate) fn reset(mut self, after: &str) {
        self.stream.read_exact(&mut [0]).unwrap();
        self.send(after).unwrap();
    }
}

/// Returns the length of the first request in the unread bytes, if the request is complete.
fn whole_request(unread: &[u8]) -> Option<usize> {
    let head_bytes = unread.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&unread[..head_bytes]).into_owned();
    let mut headers = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let body_bytes = headers
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.parse().unwrap());
    Some(head_bytes + body_bytes).filter(|bytes| *bytes <= unread.len())
}

/// A fake Imprint server that runs a script for each connection.
pub(crate) struct RawImprint {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RawImprint {
    pub(crate) fn start(script: impl Fn(Accepted) + Send + Sync + 'static) -> Self {
        Self::listen(None, script)
    }

    /// Starts a fake Imprint server that speaks TLS.
    pub(crate) fn start_tls(
        tls: Arc<ServerConfig>,
        script: impl Fn(Accepted) + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(tls), script)
    }

    fn listen(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(Accepted) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (stop, sees) = (Arc::clone(&is_stopping), Arc::clone(&seen));
        let next = move |number| {
            let (socket, _) = listener.accept().unwrap();
            let is_last = stop.load(Ordering::SeqCst);
            (!is_last).then(|| accepted(number, socket, tls.clone(), Arc::clone(&sees)))
        };
        let accept = move || {
            std::thread::scope(|scope| {
                let connections = (0..).map_while(next);
                connections.for_each(|accepted| drop(scope.spawn(|| script(accepted()))));
            });
        };
        let thread = std::thread::Builder::new().spawn(accept).unwrap();
        Self {
            address,
            seen,
            is_stopping,
            thread: Some(thread),
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        *self.seen.connections.lock().unwrap()
    }

    /// Returns the complete requests of all connections.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }
}

/// Counts a connection and returns a function that creates its stream on the script's thread, because not every stream
/// is `Send`.
fn accepted(
    number: usize,
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    seen: Arc<Seen>,
) -> impl FnOnce() -> Accepted + Send {
    *seen.connections.lock().unwrap() += 1;
    move || {
        socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        socket.set_nodelay(true).unwrap();
        let plain = socket.try_clone().unwrap();
        let stream: Box<dyn Stream> = match tls {
            Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls).unwrap(), plain)),
            None => Box::new(plain),
        };
        Accepted {
            number,
            socket,
            stream,
            unread: Vec::new(),
            seen,
        }
    }
}

/// Waits for the scripts to end. The clients must have closed their connections before.
impl Drop for RawImprint {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.transpose().expect("a script panicked");
        }
    }
}
