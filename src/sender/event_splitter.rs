//! Finds the events in a stream of bytes: JSON objects one after another, or the elements of one array of them.
//!
//! Pure, and in bounded memory: it holds one event at the most, and hands it on byte for byte, because a signature and
//! a digest are over what was written and not over what somebody read. Where an object ends is found by its brackets;
//! that it is JSON is then checked by a real parser.

use serde_json::Value;

/// The longest event; no bridge takes more than a quarter of this unless it is told to.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// One event, as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InputEvent {
    /// Its place among the events, from 1.
    pub(super) number: u64,
    /// The line it begins on, from 1.
    pub(super) line: u64,
    /// How many bytes of the input end with it.
    pub(super) end: u64,
    /// Its attribute `id`, if that is a text.
    pub(super) id: Option<String>,
    /// Its attribute `subject`, if that is a text.
    pub(super) subject: Option<String>,
    /// The event.
    pub(super) bytes: Vec<u8>,
}

/// The input is not what it should be. Says where, and nothing of what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Something else stands where an event should begin.
    #[error("line {line}: an event, which is a JSON object, should begin here")]
    NoObject {
        /// Where.
        line: u64,
    },
    /// It is no JSON.
    #[error("line {line}: this is not JSON")]
    Syntax {
        /// Where.
        line: u64,
    },
    /// An event is too long to be one.
    #[error("line {line}: the event that begins here is longer than {EVENT_BYTES_MAX} bytes")]
    TooLong {
        /// Where it begins.
        line: u64,
    },
    /// The input ends inside something.
    #[error("line {line}: what begins here has no end")]
    Unfinished {
        /// Where it begins.
        line: u64,
    },
}

/// Where the splitter is while it is not inside an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitterState {
    /// Between events that stand one after another.
    Top,
    /// In the array that began on this line, where an event may begin, or it may end.
    Opened { line: u64 },
    /// Behind a comma, where an event must begin.
    Behind { line: u64 },
    /// Behind an event of the array.
    Between { line: u64 },
}

/// Takes bytes as they come and gives the events that have come whole.
#[derive(Debug)]
pub(super) struct EventSplitter {
    place: SplitterState,
    held: Vec<u8>,
    /// How many brackets are open; 0 between events.
    depth: u32,
    in_text: bool,
    escaped: bool,
    line: u64,
    began: u64,
    read: u64,
    number: u64,
}

impl EventSplitter {
    pub(super) const fn new() -> Self {
        Self {
            place: SplitterState::Top,
            held: Vec::new(),
            depth: 0,
            in_text: false,
            escaped: false,
            line: 1,
            began: 1,
            read: 0,
            number: 0,
        }
    }

    /// Takes some bytes and gives each event that ends in them to `found`.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(InputEvent),
    ) -> Result<(), Error> {
        for byte in bytes {
            self.read = self.read.saturating_add(1);
            let is_whole = if self.depth == 0 {
                self.outside(*byte)?;
                false
            } else {
                self.inside(*byte)?
            };
            if *byte == b'\n' {
                self.line = self.line.saturating_add(1);
            }
            if is_whole {
                found(self.piece()?);
            }
        }
        Ok(())
    }

    /// Says whether the input may end here.
    pub(super) fn finish(&self) -> Result<(), Error> {
        match self.place {
            _ if self.depth > 0 => Err(Error::Unfinished { line: self.began }),
            SplitterState::Opened { line }
            | SplitterState::Behind { line }
            | SplitterState::Between { line } => Err(Error::Unfinished { line }),
            SplitterState::Top => Ok(()),
        }
    }

    fn outside(&mut self, byte: u8) -> Result<(), Error> {
        let is_mark = usize::try_from(self.read.saturating_sub(1))
            .ok()
            .and_then(|at| BYTE_ORDER_MARK.get(at))
            .is_some_and(|mark| *mark == byte);
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') || is_mark {
            return Ok(());
        }
        self.place = match (byte, self.place) {
            (
                b'{',
                place @ (SplitterState::Top
                | SplitterState::Opened { .. }
                | SplitterState::Behind { .. }),
            ) => {
                self.held.push(byte);
                self.depth = 1;
                self.began = self.line;
                match place {
                    SplitterState::Top => SplitterState::Top,
                    SplitterState::Opened { line }
                    | SplitterState::Behind { line }
                    | SplitterState::Between { line } => SplitterState::Between { line },
                }
            }
            (b'[', SplitterState::Top) => SplitterState::Opened { line: self.line },
            (b',', SplitterState::Between { line }) => SplitterState::Behind { line },
            (b']', SplitterState::Opened { .. } | SplitterState::Between { .. }) => {
                SplitterState::Top
            }
            (
                _,
                SplitterState::Top
                | SplitterState::Opened { .. }
                | SplitterState::Behind { .. }
                | SplitterState::Between { .. },
            ) => {
                return Err(Error::NoObject { line: self.line });
            }
        };
        Ok(())
    }

    /// Says whether the event ends with this byte.
    fn inside(&mut self, byte: u8) -> Result<bool, Error> {
        if self.held.len() >= EVENT_BYTES_MAX {
            return Err(Error::TooLong { line: self.began });
        }
        self.held.push(byte);
        if self.escaped {
            self.escaped = false;
        } else if self.in_text {
            self.escaped = byte == b'\\';
            self.in_text = byte != b'"';
        } else {
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _other => {}
            }
        }
        Ok(self.depth == 0)
    }

    fn piece(&mut self) -> Result<InputEvent, Error> {
        let bytes = std::mem::take(&mut self.held);
        let event: Value = serde_json::from_slice(&bytes).map_err(|error| {
            let lines = u64::try_from(error.line().saturating_sub(1)).unwrap_or(0);
            Error::Syntax {
                line: self.began.saturating_add(lines),
            }
        })?;
        let text = |attribute| {
            event
                .get(attribute)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        self.number = self.number.saturating_add(1);
        Ok(InputEvent {
            number: self.number,
            line: self.began,
            end: self.read,
            id: text("id"),
            subject: text("subject"),
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn split(input: &[u8], chunk: usize) -> (Vec<InputEvent>, Result<(), Error>) {
        let mut splitter = EventSplitter::new();
        let mut pieces = Vec::new();
        for bytes in input.chunks(chunk) {
            if let Err(error) = splitter.feed(bytes, |piece| pieces.push(piece)) {
                return (pieces, Err(error));
            }
        }
        let ended = splitter.finish();
        (pieces, ended)
    }

    #[test]
    fn a_pretty_event_ndjson_and_an_array_are_all_streams_of_events() {
        let pretty =
            serde_json::to_string_pretty(&json!({"id": "a", "data": {"x": [1, "}\"]"]}})).unwrap();
        let cases = [
            (pretty.clone(), vec![("a", 1)]),
            (
                "\u{feff}{\"id\":\"a\"}\r\n\r\n{\"id\":\"b\"}\r\n".to_owned(),
                vec![("a", 1), ("b", 3)],
            ),
            (
                "{\"id\":\"a\"}{\"id\":\"b\"}".to_owned(),
                vec![("a", 1), ("b", 1)],
            ),
            (
                format!("[\n{pretty},\n{{\"id\":\"b\"}}\n]\n"),
                vec![("a", 2), ("b", 11)],
            ),
            ("[]".to_owned(), vec![]),
            ("\n".to_owned(), vec![]),
        ];
        for (input, expected) in cases {
            for chunk in [1, 3, 10_000] {
                let (pieces, ended) = split(input.as_bytes(), chunk);
                let found: Vec<_> = pieces
                    .iter()
                    .map(|piece| (piece.id.as_deref().unwrap(), piece.line))
                    .collect();
                assert_eq!((found, ended), (expected.clone(), Ok(())), "{input}");
            }
        }
    }

    #[test]
    fn an_event_is_handed_on_byte_for_byte() {
        let event = "{ \"subject\" : \"s\", \"n\": 1.0e2, \"k\": \"\\u0041\" }";
        let (pieces, _) = split(format!("  {event}\n").as_bytes(), 4);
        assert_eq!(pieces[0].bytes, event.as_bytes());
        assert_eq!(
            (pieces[0].subject.as_deref(), pieces[0].id.as_deref()),
            (Some("s"), None)
        );
        assert_eq!(pieces[0].end, u64::try_from(event.len() + 2).unwrap());
    }

    #[test]
    fn what_is_not_json_is_told_by_line_and_what_stood_before_is_given() {
        for (input, events, error) in [
            ("{}\nhello", 1, Error::NoObject { line: 2 }),
            ("42", 0, Error::NoObject { line: 1 }),
            ("{},{}", 1, Error::NoObject { line: 1 }),
            ("[{},]", 1, Error::NoObject { line: 1 }),
            ("[{} {}]", 1, Error::NoObject { line: 1 }),
            ("[[]]", 0, Error::NoObject { line: 1 }),
            ("{}\n{\n\"a\":}\n", 1, Error::Syntax { line: 3 }),
            ("{\"a\": [}]", 0, Error::Syntax { line: 1 }),
            ("{}\n{\"a\": \"", 1, Error::Unfinished { line: 2 }),
            ("\n[{}", 1, Error::Unfinished { line: 2 }),
            ("{\"a\": ]", 0, Error::Syntax { line: 1 }),
        ] {
            let (pieces, ended) = split(input.as_bytes(), 2);
            assert_eq!((pieces.len(), ended), (events, Err(error)), "{input}");
        }
        let long = format!("{{\"a\":\"{}", "x".repeat(EVENT_BYTES_MAX));
        assert_eq!(
            split(long.as_bytes(), 4096).1,
            Err(Error::TooLong { line: 1 })
        );
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_events_come_out(
            texts in prop::collection::vec(".{0,20}", 0..6),
            chunk in 1_usize..50,
        ) {
            let events: Vec<Vec<u8>> = texts
                .iter()
                .map(|text| serde_json::to_vec(&json!({"id": text, "deep": [[{"k": text}]]})).unwrap())
                .collect();
            let (pieces, ended) = split(&events.join(&b"\n"[..]), chunk);
            let found: Vec<Vec<u8>> = pieces.into_iter().map(|piece| piece.bytes).collect();
            prop_assert_eq!((found, ended), (events, Ok(())));
        }

        #[test]
        fn no_input_breaks_it(input in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(split(&input, 7));
        }
    }
}
