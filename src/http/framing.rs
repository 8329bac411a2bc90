//! The framing of HTTP/1 requests: finds the end of each request in the bytes of a connection. Refuses bytes that a
//! proxy and the bridge could read as different requests.
//!
//! [`Framing`] only decides how many bytes belong to the current request. The HTTP server still parses these bytes, and
//! itself refuses requests that are not valid in other ways.

mod other_protocol;

use std::ops::Range;

use memchr::memchr3_iter;

pub use self::other_protocol::OtherProtocol;

/// The maximum size of a request head. Load balancers and gateways have limits from 8 to 16 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The maximum length of a chunk-size line with its extensions, and of a trailer line.
const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// The reason why the bytes of a connection are not an acceptable request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A line does not end in CR LF, or contains a CR or NUL. A proxy and the bridge could split such text into
    /// different lines.
    LineEnd,
    /// The request head is larger than [`HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// The request asks for a tunnel or for the WebSocket protocol. The HTTP server would read all later bytes of the
    /// connection as the body of this request.
    Tunnel,
    /// The chunks of the body are not well-formed.
    Chunk,
    /// The client or a gateway speaks another protocol.
    OtherProtocol(OtherProtocol),
}

/// Finds the requests in the bytes of one connection, and stores the current position.
#[derive(Debug, Default)]
pub struct Framing {
    position: Position,
}

#[derive(Debug)]
enum Position {
    /// The next byte belongs to a head, or to empty lines before a head. The end of the head is not in the first
    /// `scanned` bytes of the input. `skipped` is the number of bytes of empty lines before the head.
    Head { scanned: usize, skipped: usize },
    /// The next byte belongs to a body with a known length. `missing` bytes of the body have not arrived.
    Body { missing: u64 },
    /// The next byte belongs to a chunked body.
    Chunks(ChunkPosition),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkPosition {
    /// The next byte belongs to the line with the size of a chunk.
    Size(SizeLine),
    Data {
        missing: u64,
    },
    /// The data of a chunk has ended. The line end after the data follows.
    DataEnd {
        has_cr: bool,
    },
    /// The next byte belongs to a trailer line, after the last chunk. An empty line ends the request.
    Trailer {
        length: usize,
        has_cr: bool,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SizeLine {
    size: u64,
    has_digit: bool,
    is_behind_digits: bool,
    length: usize,
    has_cr: bool,
}

impl Default for Position {
    fn default() -> Self {
        Self::Head {
            scanned: 0,
            skipped: 0,
        }
    }
}

/// The next bytes of the input that the HTTP server can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// The number of bytes at the front of the input. All these bytes belong to one request. 0 means that [`Framing`]
    /// needs more input.
    pub taken: usize,
    /// The parts of the taken bytes that the HTTP server must not see: empty lines before a request, and the header
    /// `Expect`.
    pub cut: Vec<Range<usize>>,
    /// True if the sender waits for `100 Continue`.
    pub expects_continue: bool,
    /// True if the request ends with these bytes.
    pub is_complete: bool,
}

impl Framing {
    /// Returns whether the next byte belongs to a request head, or to empty lines before a head.
    pub const fn is_in_head(&self) -> bool {
        matches!(self.position, Position::Head { .. })
    }

    /// Finds how many bytes at the front of `input` belong to the current request.
    ///
    /// # Errors
    /// Returns a violation if the bytes break a rule of the framing.
    pub fn advance(&mut self, input: &[u8]) -> Result<Advance, Violation> {
        match &mut self.position {
            Position::Head { scanned, skipped } => match find_head(input, scanned)? {
                None => {
                    let taken = leading_line_ends(input);
                    *scanned = scanned.saturating_sub(taken);
                    *skipped = skipped.saturating_add(taken);
                    skip_empty_lines(taken, *skipped)
                }
                Some(head) => self.begin(input.get(head).unwrap_or_default(), input),
            },
            Position::Body { missing } => {
                let available = u64::try_from(input.len()).unwrap_or(u64::MAX);
                let taken = available.min(*missing);
                *missing = missing.saturating_sub(taken);
                let is_complete = *missing == 0;
                Ok(self.taken(usize::try_from(taken).unwrap_or(usize::MAX), is_complete))
            }
            Position::Chunks(chunk) => {
                let (taken, is_complete) = take_chunks(chunk, input)?;
                Ok(self.taken(taken, is_complete))
            }
        }
    }

    fn begin(&mut self, head: &[u8], input: &[u8]) -> Result<Advance, Violation> {
        let empty_lines = leading_line_ends(input);
        let read = ScannedHead::read(head)?;
        let cut = read.expect.into_iter();
        let cut = cut.map(|line| line.start + empty_lines..line.end + empty_lines);
        let cut: Vec<_> = std::iter::once(0..empty_lines).chain(cut).collect();
        self.position = read.body;
        let is_complete = matches!(self.position, Position::Body { missing: 0 });
        Ok(Advance {
            cut,
            expects_continue: read.expects_continue && !is_complete,
            ..self.taken(empty_lines + head.len(), is_complete)
        })
    }

    fn taken(&mut self, taken: usize, is_complete: bool) -> Advance {
        if is_complete {
            self.position = Position::default();
        }
        Advance {
            taken,
            is_complete,
            ..Advance::default()
        }
    }
}

/// Takes the empty lines before a head that has not arrived completely. Some clients send an empty line after a body.
/// Refuses a client that sends only empty lines, after [`HEAD_BYTES_MAX`] bytes.
fn skip_empty_lines(taken: usize, skipped: usize) -> Result<Advance, Violation> {
    if skipped >= HEAD_BYTES_MAX {
        return Err(Violation::HeadTooLarge);
    }
    Ok(Advance {
        taken,
        cut: std::iter::once(0..taken).collect(),
        ..Advance::default()
    })
}

/// Returns the number of bytes of the empty lines before a request. RFC 9112 asks servers to skip these lines.
fn leading_line_ends(input: &[u8]) -> usize {
    let pairs = input.chunks_exact(2).take_while(|pair| *pair == b"\r\n");
    pairs.count() * 2
}

/// Finds the head in the input, unless the input starts with another protocol.
fn find_head(input: &[u8], scanned: &mut usize) -> Result<Option<Range<usize>>, Violation> {
    if let Some(protocol) = OtherProtocol::find(input) {
        return Err(Violation::OtherProtocol(protocol));
    }
    end_of_head(input, scanned)
}

/// Finds the head in the input. `scanned` is the number of bytes that earlier calls have already checked.
fn end_of_head(input: &[u8], scanned: &mut usize) -> Result<Option<Range<usize>>, Violation> {
    let start = leading_line_ends(input);
    // The search starts a few bytes before the end of the checked bytes, because these bytes possibly end in the middle
    // of the CR LF CR LF after a head.
    let from = scanned.saturating_sub(3).max(start);
    let longest = input.len().min(start.saturating_add(HEAD_BYTES_MAX));
    let longest = input.get(..longest).unwrap_or_default();
    let unchecked = longest.get(from..).unwrap_or_default();
    for at in memchr3_iter(b'\r', b'\n', b'\0', unchecked) {
        let (line, next) = longest.split_at_checked(from + at).unwrap_or_default();
        let is_acceptable = match next {
            [b'\r'] | [b'\r', b'\n', ..] => true,
            [b'\n', ..] => line.ends_with(b"\r"),
            _ => false,
        };
        if !is_acceptable {
            return Err(Violation::LineEnd);
        }
        let end = line.len() + 1;
        let head = longest.get(start..end).unwrap_or_default();
        if head.ends_with(b"\r\n\r\n") {
            return Ok(Some(start..end));
        }
    }
    if input.len().saturating_sub(start) >= HEAD_BYTES_MAX {
        return Err(Violation::HeadTooLarge);
    }
    *scanned = input.len();
    Ok(None)
}

/// The parts of a request head that the framing needs.
struct ScannedHead {
    body: Position,
    expects_continue: bool,
    /// The lines with an `Expect` header. With such a line, the HTTP server would answer `100 Continue` before the
    /// bridge has checked the head.
    expect: Vec<Range<usize>>,
}

impl ScannedHead {
    fn read(head: &[u8]) -> Result<Self, Violation> {
        let mut read = Self {
            body: Position::Body { missing: 0 },
            expects_continue: false,
            expect: Vec::new(),
        };
        let mut lines = head.split_inclusive(|byte| *byte == b'\n');
        let request_line = lines.next().unwrap_or_default();
        if request_line.starts_with(b"CONNECT ") {
            return Err(Violation::Tunnel);
        }
        let mut start = request_line.len();
        for line in lines {
            let range = start..start + line.len();
            start = range.end;
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                return Err(Violation::LineEnd);
            }
            read.header(line, range)?;
        }
        // RFC 9110: a server ignores `Expect: 100-continue` in an HTTP/1.0 request.
        read.expects_continue &= request_line.ends_with(b"HTTP/1.1\r\n");
        Ok(read)
    }

    fn header(&mut self, line: &[u8], range: Range<usize>) -> Result<(), Violation> {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Ok(());
        };
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            // The HTTP server itself refuses a length that is not a number, and a request with two lengths.
            let length = std::str::from_utf8(value).ok();
            let missing = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            if !matches!(self.body, Position::Chunks(_)) {
                self.body = Position::Body { missing };
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // The HTTP server itself refuses every transfer encoding except `chunked`.
            self.body = Position::Chunks(ChunkPosition::Size(SizeLine::default()));
        } else if name.eq_ignore_ascii_case(b"expect") {
            self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            self.expect.push(range);
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            let mut protocols = value.split(|byte| matches!(byte, b',' | b'/'));
            if protocols.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket")) {
                return Err(Violation::Tunnel);
            }
        }
        Ok(())
    }
}

/// Takes bytes of a chunked body. Returns the number of taken bytes, and true if the body has ended.
fn take_chunks(chunk: &mut ChunkPosition, input: &[u8]) -> Result<(usize, bool), Violation> {
    let mut taken = 0;
    while let Some(byte) = input.get(taken) {
        if let ChunkPosition::Data { missing } = chunk {
            let available = input.len().saturating_sub(taken);
            let step = u64::try_from(available).unwrap_or(u64::MAX).min(*missing);
            *missing = missing.saturating_sub(step);
            taken += usize::try_from(step).unwrap_or(available);
            if *missing == 0 {
                *chunk = ChunkPosition::DataEnd { has_cr: false };
            }
            continue;
        }
        taken += 1;
        match chunk.next(*byte)? {
            Some(next) => *chunk = next,
            None => return Ok((taken, true)),
        }
    }
    Ok((taken, false))
}

impl ChunkPosition {
    /// Returns the position after `byte`, which is not data of a chunk. Returns `None` at the end of the body.
    fn next(self, byte: u8) -> Result<Option<Self>, Violation> {
        let next = match self {
            Self::Size(line) => line.next(byte)?,
            Self::Data { .. } => self,
            Self::DataEnd { has_cr: false } if byte == b'\r' => Self::DataEnd { has_cr: true },
            Self::DataEnd { has_cr: true } if byte == b'\n' => Self::Size(SizeLine::default()),
            Self::DataEnd { .. } => return Err(Violation::LineEnd),
            Self::Trailer {
                length: 0,
                has_cr: true,
            } if byte == b'\n' => return Ok(None),
            Self::Trailer { has_cr: true, .. } if byte == b'\n' => Self::Trailer {
                length: 0,
                has_cr: false,
            },
            Self::Trailer {
                length,
                has_cr: false,
            } if byte == b'\r' => Self::Trailer {
                length,
                has_cr: true,
            },
            Self::Trailer { has_cr: true, .. } => return Err(Violation::LineEnd),
            Self::Trailer { .. } if matches!(byte, b'\n' | b'\0') => {
                return Err(Violation::LineEnd);
            }
            Self::Trailer { length, .. } if length >= CHUNK_LINE_BYTES_MAX => {
                return Err(Violation::Chunk);
            }
            Self::Trailer { length, .. } => Self::Trailer {
                length: length + 1,
                has_cr: false,
            },
        };
        Ok(Some(next))
    }
}

impl SizeLine {
    fn next(mut self, byte: u8) -> Result<ChunkPosition, Violation> {
        self.length += 1;
        if self.length > CHUNK_LINE_BYTES_MAX {
            return Err(Violation::Chunk);
        }
        match byte {
            b'\n' if self.has_cr && self.has_digit => {
                return Ok(match self.size {
                    0 => ChunkPosition::Trailer {
                        length: 0,
                        has_cr: false,
                    },
                    missing => ChunkPosition::Data { missing },
                });
            }
            _ if self.has_cr => return Err(Violation::LineEnd),
            b'\n' | b'\0' => return Err(Violation::LineEnd),
            b'\r' => self.has_cr = true,
            _ if self.is_behind_digits => {}
            b';' | b' ' | b'\t' => self.is_behind_digits = true,
            _ => {
                let digit = char::from(byte).to_digit(16).ok_or(Violation::Chunk)?;
                let size = self.size.checked_mul(16).ok_or(Violation::Chunk)?;
                self.size = size.saturating_add(u64::from(digit));
                self.has_digit = true;
            }
        }
        Ok(ChunkPosition::Size(self))
    }
}

#[cfg(test)]
mod tests;
