//! Reads one HTTP/1.1 answer out of the bytes of a connection (RFC 9112). The reader is a state machine without IO.
//!
//! The HTTP library awc misreads three kinds of answers: it regards an incomplete answer as complete, an interim answer
//! (1xx) as final, and a body that ends with the connection as empty. Therefore the reader, not awc, finds the end of
//! an answer. The reader then gives awc a simpler answer: an HTTP/1.0 head without a length, and the body without
//! chunked encoding. awc reads such an answer to the end of the stream.
//!
//! An incomplete answer is an error. A byte after the answer is an error too: if a server sends two answers to one
//! request, the bridge cannot know which answer belongs to the request.

use std::io::{self, Write as _};
use std::mem;

use httparse::{Header, ParserConfig, Status};
use tokio::io::ReadBuf;

/// The maximum length of the head, and of the trailer fields after the last chunk. A gateway sends a few KiB of header
/// fields.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The maximum number of header fields. The HTTP library awc has the same maximum.
const HEADERS_MAX: usize = 96;
/// The maximum number of interim answers (1xx) before the final answer. Servers usually send one or two.
const INTERIM_MAX: usize = 64;
/// The maximum length of the line before a chunk. The line contains the size of the chunk, and in theory extensions,
/// which servers do not use.
const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// The only header that the reader passes on to the HTTP library awc. The callers of the HTTP client read no other
/// header.
const PASSED_ON: &str = "retry-after";

/// The reason why the received bytes are not exactly one complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The connection ended before the end of the answer.
    #[error("the connection ended before the end of the answer")]
    Incomplete,
    /// The head is not an HTTP head, or exceeds a limit.
    #[error("the head of the answer is not valid")]
    Head,
    /// The head does not say clearly where the body ends.
    #[error("the head of the answer does not tell where its body ends")]
    Length,
    /// The chunks of the body break the rules of the chunked encoding.
    #[error("the chunks of the answer are not valid")]
    Chunks,
    /// The server switches to another protocol, or sends too many interim answers.
    #[error("the server sent interim answers instead of a final answer")]
    Interim,
    /// More bytes follow the end of the answer.
    #[error("the server sent more than one answer")]
    Surplus,
}

/// Converts the error to an IO error, because the HTTP library awc passes on only IO errors of a connection.
impl From<AnswerError> for io::Error {
    fn from(error: AnswerError) -> Self {
        let kind = match error {
            AnswerError::Incomplete => io::ErrorKind::UnexpectedEof,
            AnswerError::Head
            | AnswerError::Length
            | AnswerError::Chunks
            | AnswerError::Interim
            | AnswerError::Surplus => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// The state machine that reads one answer.
#[derive(Debug, Default)]
pub(super) struct AnswerReader {
    next: AnswerPart,
    /// The received bytes of a part of the answer that is not yet complete.
    unread: Vec<u8>,
    /// The bytes that the HTTP library awc can read next.
    ready: Vec<u8>,
    interim_answers: usize,
    reuse: Reuse,
}

/// The part of the answer that the reader expects next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AnswerPart {
    #[default]
    Head,
    /// A body with a known length. The value is the number of bytes that are still missing.
    Body(u64),
    ChunkSize,
    /// The data of a chunk. The value is the number of bytes that are still missing.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    /// A body without a known length: it ends when the connection ends.
    UntilEnd,
    Complete,
}

/// Tells whether the bridge can send another request on the connection after the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reuse {
    #[default]
    Never,
    Allowed,
}

impl AnswerReader {
    /// Reads bytes that the server sent.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), AnswerError> {
        if self.unread.is_empty() {
            self.unread = self.steps(bytes)?.to_vec();
            return Ok(());
        }
        let mut unread = mem::take(&mut self.unread);
        unread.extend_from_slice(bytes);
        self.unread = self.steps(&unread)?.to_vec();
        Ok(())
    }

    /// Reads all complete parts of the answer in `bytes`. Returns the bytes of the first part that is not complete.
    fn steps<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], AnswerError> {
        while let Some(used) = self.step(bytes)? {
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(bytes)
    }

    /// Handles the end of the connection. Returns an error if the answer is not complete.
    pub(super) fn end(&mut self) -> Result<(), AnswerError> {
        self.reuse = Reuse::Never;
        match self.next {
            AnswerPart::UntilEnd | AnswerPart::Complete => self.next = AnswerPart::Complete,
            AnswerPart::Head
            | AnswerPart::Body(_)
            | AnswerPart::ChunkSize
            | AnswerPart::Chunk(_)
            | AnswerPart::ChunkEnd
            | AnswerPart::Trailer => return Err(AnswerError::Incomplete),
        }
        Ok(())
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Moves bytes of the answer into the buffer, as many as fit.
    pub(super) fn take(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = buffer.remaining().min(self.ready.len());
        buffer.put_slice(self.ready.get(..count).unwrap_or_default());
        self.ready.drain(..count);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next == AnswerPart::Complete
    }

    /// Returns whether the body ends when the connection ends.
    pub(super) fn ends_with_the_connection(&self) -> bool {
        self.next == AnswerPart::UntilEnd
    }

    pub(super) fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// Reads the next part of the answer. Returns the length of the part, or `None` if the part is not complete.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<usize>, AnswerError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        match self.next {
            AnswerPart::Head => self.head(bytes),
            AnswerPart::Body(missing) => {
                let (used, missing) = self.pass_on(bytes, missing);
                self.next = body(missing);
                Ok(Some(used))
            }
            AnswerPart::ChunkSize => self.chunk_size(bytes),
            AnswerPart::Chunk(missing) => {
                let (used, missing) = self.pass_on(bytes, missing);
                self.next = match missing {
                    0 => AnswerPart::ChunkEnd,
                    missing => AnswerPart::Chunk(missing),
                };
                Ok(Some(used))
            }
            AnswerPart::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.next = AnswerPart::ChunkSize;
                    Ok(Some(2))
                }
                [b'\r'] => Ok(None),
                _ => Err(AnswerError::Chunks),
            },
            AnswerPart::Trailer => self.trailer(bytes),
            AnswerPart::UntilEnd => Ok(Some(self.pass_on(bytes, u64::MAX).0)),
            // Some servers send an empty line after the body (RFC 9112, section 2.2).
            AnswerPart::Complete if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                self.reuse = Reuse::Never;
                Ok(Some(bytes.len()))
            }
            AnswerPart::Complete => Err(AnswerError::Surplus),
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, AnswerError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let mut rules = ParserConfig::default();
        rules.allow_spaces_after_header_name_in_responses(true);
        let parsed = rules.parse_response(&mut head, bytes);
        let length = match parsed.map_err(|_invalid| AnswerError::Head)? {
            Status::Complete(length) => length,
            Status::Partial if bytes.len() > HEAD_BYTES_MAX => return Err(AnswerError::Head),
            Status::Partial => return Ok(None),
        };
        match head.code {
            Some(101) => return Err(AnswerError::Interim),
            Some(100..=199) => {
                self.interim_answers += 1;
                if self.interim_answers > INTERIM_MAX {
                    return Err(AnswerError::Interim);
                }
            }
            Some(status) => {
                let version = head.version.unwrap_or_default();
                self.next = first_part(status, version, head.headers)?;
                self.reuse = reuse(status, version, head.headers);
                self.pass_head_on(status, head.headers);
            }
            None => return Err(AnswerError::Head),
        }
        Ok(Some(length))
    }

    fn pass_head_on(&mut self, status: u16, headers: &[Header<'_>]) {
        // Writing to memory cannot fail.
        let _written = write!(self.ready, "HTTP/1.0 {status:03} \r\n");
        for value in values(headers, PASSED_ON) {
            self.ready.extend_from_slice(PASSED_ON.as_bytes());
            self.ready.extend_from_slice(b": ");
            self.ready.extend_from_slice(value);
            self.ready.extend_from_slice(b"\r\n");
        }
        self.ready.extend_from_slice(b"\r\n");
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Option<usize>, AnswerError> {
        // The parser httparse reads a line without a digit as the size 0, which means the last chunk.
        if !bytes.first().is_some_and(u8::is_ascii_hexdigit) {
            return Err(AnswerError::Chunks);
        }
        match httparse::parse_chunk_size(bytes).map_err(|_invalid| AnswerError::Chunks)? {
            Status::Complete((length, size)) => {
                self.next = match size {
                    0 => AnswerPart::Trailer,
                    size => AnswerPart::Chunk(size),
                };
                Ok(Some(length))
            }
            Status::Partial if bytes.len() > CHUNK_LINE_BYTES_MAX => Err(AnswerError::Chunks),
            Status::Partial => Ok(None),
        }
    }

    /// Skips the fields after the last chunk.
    fn trailer(&mut self, bytes: &[u8]) -> Result<Option<usize>, AnswerError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        match httparse::parse_headers(bytes, &mut headers)
            .map_err(|_invalid| AnswerError::Chunks)?
        {
            Status::Complete((length, _)) => {
                self.next = AnswerPart::Complete;
                Ok(Some(length))
            }
            Status::Partial if bytes.len() > HEAD_BYTES_MAX => Err(AnswerError::Chunks),
            Status::Partial => Ok(None),
        }
    }

    /// Passes at most `missing` bytes on to the HTTP library. Returns how many bytes it passed on, and how many bytes
    /// are still missing.
    fn pass_on(&mut self, bytes: &[u8], missing: u64) -> (usize, u64) {
        let used = usize::try_from(missing).map_or(bytes.len(), |missing| missing.min(bytes.len()));
        self.ready
            .extend_from_slice(bytes.get(..used).unwrap_or_default());
        let missing = missing.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX));
        (used, missing)
    }
}

/// Returns the state of the reader in a body of which `missing` bytes are missing.
const fn body(missing: u64) -> AnswerPart {
    match missing {
        0 => AnswerPart::Complete,
        missing => AnswerPart::Body(missing),
    }
}

/// Returns the part of a final answer that follows its head (RFC 9112, section 6.3). The bridge never sends HEAD or
/// CONNECT.
fn first_part(status: u16, version: u8, headers: &[Header<'_>]) -> Result<AnswerPart, AnswerError> {
    let encodings: Vec<&[u8]> = values(headers, "transfer-encoding").collect();
    let length = length(headers)?;
    match encodings.as_slice() {
        _ if matches!(status, 204 | 304) => Ok(AnswerPart::Complete),
        [] => Ok(length.map_or(AnswerPart::UntilEnd, body)),
        [encoding] if is_word(encoding, "chunked") && version == 1 && length.is_none() => {
            Ok(AnswerPart::ChunkSize)
        }
        // These headers do not define the end of the answer clearly: a proxy and the bridge could read different ends.
        _ => Err(AnswerError::Length),
    }
}

/// Returns the value of `Content-Length`. Several values are allowed only if they are equal.
fn length(headers: &[Header<'_>]) -> Result<Option<u64>, AnswerError> {
    let mut length = None;
    for word in values(headers, "content-length").flat_map(words) {
        let is_number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        let text = str::from_utf8(word).ok().filter(|_| is_number);
        let parsed = text.and_then(|text| text.parse().ok());
        let announced: u64 = parsed.ok_or(AnswerError::Length)?;
        if length.is_some_and(|length| length != announced) {
            return Err(AnswerError::Length);
        }
        length = Some(announced);
    }
    Ok(length)
}

/// Returns [`Reuse::Allowed`] if the bridge can send another request on the connection.
///
/// Returns [`Reuse::Never`] after a server error: a gateway that has already sent its own error possibly sends the real
/// answer of its server later.
fn reuse(status: u16, version: u8, headers: &[Header<'_>]) -> Reuse {
    let closes = values(headers, "connection")
        .flat_map(words)
        .any(|word| is_word(word, "close"));
    let is_regular = matches!(status, 200..=407 | 409..=499);
    if version == 1 && is_regular && !closes {
        Reuse::Allowed
    } else {
        Reuse::Never
    }
}

fn values<'a>(headers: &'a [Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// Returns the words of a header value that is a list separated by commas.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn is_word(value: &[u8], word: &str) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head that the reader passes on for the status 200.
    const HEAD: &str = "HTTP/1.0 200 \r\n\r\n";

    /// Reads `answer` in pieces of `piece` bytes, and then the end of the connection.
    fn read(answer: &str, piece: usize) -> Result<(String, bool, Reuse), AnswerError> {
        let mut reader = AnswerReader::default();
        let mut passed_on = Vec::new();
        for bytes in answer.as_bytes().chunks(piece) {
            reader.receive(bytes)?;
            let mut buffer = vec![0; reader.ready.len()];
            let mut buffer = ReadBuf::new(&mut buffer);
            reader.take(&mut buffer);
            passed_on.extend_from_slice(buffer.filled());
        }
        let (is_complete, reuse) = (reader.is_complete(), reader.reuse());
        reader.end()?;
        Ok((String::from_utf8(passed_on).unwrap(), is_complete, reuse))
    }

    #[track_caller]
    fn check(answer: &str, expected: Result<(&str, bool, Reuse), AnswerError>) {
        let expected = expected
            .map(|(body, is_complete, reuse)| (format!("{HEAD}{body}"), is_complete, reuse));
        // Reading a long head again after every byte would take seconds.
        let pieces = [1, 2, 3, 7, usize::MAX];
        for piece in pieces
            .into_iter()
            .filter(|piece| answer.len() / piece < 4096)
        {
            assert_eq!(read(answer, piece), expected, "{answer:.200} by {piece}");
        }
    }

    fn ok(headers: &str, body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{body}")
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        let whole = Ok(("hello", true, Reuse::Allowed));
        for headers in [
            "content-length: 5",
            "Content-Length:5",
            "content-length : 5",
            "content-length: 5, 5",
            "content-length: 5\r\ncontent-length: 05",
            "content-length: 5\r\nconnection: keep-alive\r\nx: y",
            "content-length: 5\r\nupgrade: websocket",
        ] {
            check(&ok(headers, "hello"), whole);
        }
        for chunks in [
            "5\r\nhello\r\n0\r\n\r\n",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "0005;a=b\r\nhello\r\n00\r\n\r\n",
            "5\r\nhello\r\n0\r\nx-sum: 7\r\ny: z\r\n\r\n",
        ] {
            check(&ok("transfer-encoding: Chunked", chunks), whole);
        }
        check(&ok("content-length: 0", ""), Ok(("", true, Reuse::Allowed)));
        let until_end = Ok(("hello", false, Reuse::Allowed));
        check(&ok("x: y", "hello"), until_end);
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        let incomplete = Err(AnswerError::Incomplete);
        for (headers, body) in [
            ("content-length: 500", "{\"id\":\"c1\"}"),
            ("content-length: 1", ""),
            ("transfer-encoding: chunked", ""),
            ("transfer-encoding: chunked", "5\r\nhello\r\n"),
            ("transfer-encoding: chunked", "5\r\nhello"),
            ("transfer-encoding: chunked", "5\r\nhel"),
            ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n"),
            ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\nx: y\r\n"),
        ] {
            check(&ok(headers, body), incomplete);
        }
        for head in ["", "HTTP/1.1", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"] {
            check(head, incomplete);
        }
    }

    #[test]
    fn an_ambiguous_end_is_an_error() {
        for headers in [
            "content-length: +5",
            "content-length: 5x",
            "content-length: -1",
            "content-length: ",
            "content-length: 5, 6",
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 18446744073709551616",
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            check(&ok(headers, "hello"), Err(AnswerError::Length));
        }
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        check(old, Err(AnswerError::Length));
    }

    #[test]
    fn invalid_chunks_are_an_error() {
        for chunks in [
            "\r\n",
            " 5\r\nhello",
            "x\r\n",
            "-1\r\n",
            "5\nhello",
            "5\r\nhello5\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "10000000000000000\r\n",
            &format!("5;{}", "x".repeat(2000)),
            "0\r\n\0\r\n\r\n",
        ] {
            let answer = ok("transfer-encoding: chunked", chunks);
            check(&answer, Err(AnswerError::Chunks));
        }
    }

    #[test]
    fn interim_answers_are_skipped_up_to_a_limit() {
        let final_answer = ok("content-length: 5", "hello");
        let whole = Ok(("hello", true, Reuse::Allowed));
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        for interim in [
            "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
            hints.to_owned(),
            format!("HTTP/1.1 102 Processing\r\n\r\n{hints}"),
            hints.repeat(INTERIM_MAX),
        ] {
            check(&format!("{interim}{final_answer}"), whole);
            check(&interim, Err(AnswerError::Incomplete));
        }
        let endless = hints.repeat(INTERIM_MAX + 1);
        check(&endless, Err(AnswerError::Interim));
        let switched = "HTTP/1.1 101 Switching\r\nupgrade: h2c\r\n\r\n";
        check(switched, Err(AnswerError::Interim));
    }

    #[test]
    fn bytes_after_the_answer_are_an_error() {
        let answer = ok("content-length: 5", "hello");
        for surplus in [answer.as_str(), "x", "\r\nx"] {
            check(&format!("{answer}{surplus}"), Err(AnswerError::Surplus));
        }
        // An empty line is harmless, but the connection is not used again.
        let whole = Ok(("hello", true, Reuse::Never));
        check(&format!("{answer}\r\n"), whole);
        let empty = "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(read(empty, 1), Err(AnswerError::Surplus));
    }

    #[test]
    fn a_head_that_is_not_http_is_an_error() {
        let many: String = (0..=HEADERS_MAX)
            .map(|at| format!("x-{at}: y\r\n"))
            .collect();
        for head in [
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2xx OK\r\n\r\n",
            "\u{15}\u{3}\u{1}\0",
            "HTTP/1.1 200 OK\r\n: y\r\n\r\n",
            &format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            &format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD_BYTES_MAX)),
        ] {
            check(head, Err(AnswerError::Head));
        }
    }

    #[test]
    fn an_irregular_answer_ends_the_connection() {
        for (head, reuse) in [
            ("HTTP/1.1 200 OK", Reuse::Allowed),
            ("HTTP/1.1 404 No", Reuse::Allowed),
            ("HTTP/1.1 429 Slow", Reuse::Allowed),
            ("HTTP/1.0 200 OK", Reuse::Never),
            ("HTTP/1.1 200 OK\r\nconnection: x, Close", Reuse::Never),
            ("HTTP/1.1 408 Late", Reuse::Never),
            ("HTTP/1.1 500 Error", Reuse::Never),
            ("HTTP/1.1 503 Wait", Reuse::Never),
            ("HTTP/1.1 600 Odd", Reuse::Never),
        ] {
            let read = read(&format!("{head}\r\ncontent-length: 0\r\n\r\n"), usize::MAX);
            assert_eq!(read.unwrap().2, reuse, "{head}");
        }
    }

    #[test]
    fn only_the_status_and_retry_after_are_passed_on() {
        let answer = "HTTP/1.1 429 Slow\r\nRetry-After: 2\r\nset-cookie: x\r\nhost: a\r\n\
                      retry-after: 7\r\ncontent-length: 2\r\n\r\n{}";
        let expected = "HTTP/1.0 429 \r\nretry-after: 2\r\nretry-after: 7\r\n\r\n{}";
        assert_eq!(read(answer, usize::MAX).unwrap().0, expected);
    }

    #[test]
    fn an_error_keeps_its_reason() {
        for (error, kind) in [
            (AnswerError::Incomplete, io::ErrorKind::UnexpectedEof),
            (AnswerError::Surplus, io::ErrorKind::InvalidData),
        ] {
            let carried = io::Error::from(error);
            assert_eq!(carried.kind(), kind);
            let inner = carried.get_ref().and_then(|inner| inner.downcast_ref());
            assert_eq!(inner, Some(&error));
        }
    }
}
