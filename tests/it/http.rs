//! A plain HTTP/1.1 client on a blocking socket, for the senders and operators of tests. The client adds only the
//! headers `host` and `content-length`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::TEST_TIMEOUT;

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends one HTTP request on a new connection.
pub(crate) fn ask(
    address: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    Connection::open(address)?.ask(line, headers, body)
}

/// An HTTP connection that stays open between requests: a TCP socket, or TLS over a socket.
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    /// Bytes behind the last answer.
    read: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, TEST_TIMEOUT)?)
    }

    /// Uses a connected socket.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(TEST_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self::of(stream))
    }

    /// Sends bytes until the bridge takes no more of them.
    pub(crate) fn send_until_blocked(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let sent = loop {
            match self.stream.write(bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.stream.set_nonblocking(false)?;
        sent
    }
}

impl<S: Read + Write> Connection<S> {
    /// Uses a stream to the server.
    pub(crate) fn of(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends an HTTP request with a line such as `GET /livez`, and reads the whole response.
    pub(crate) fn ask(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Answer> {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: bridge\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes())?;
        if line.starts_with("HEAD ") {
            self.head()
        } else {
            self.answer()
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the next answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let length: usize = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = std::mem::take(&mut self.read);
        while body.len() < length {
            self.more(&mut body)?;
        }
        self.read = body.split_off(length);
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }

    /// Reads the head of the next answer. The answer to a HEAD request has no body.
    fn head(&mut self) -> io::Result<Answer> {
        let mut read = std::mem::take(&mut self.read);
        let head_end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            self.more(&mut read)?;
        };
        let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_start().to_owned()))
            .collect();
        self.read = read.split_off(head_end + 4);
        Ok(Answer {
            status,
            headers,
            body: String::new(),
        })
    }

    fn more(&mut self, read: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&bytes[..count]);
        Ok(())
    }
}
