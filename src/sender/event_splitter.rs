//! Splits a stream of bytes into events. The stream contains JSON objects one after another, or one array of objects.
//! This module is pure: it uses no IO, no clock and no random numbers.
//!
//! The splitter holds at most one event in memory. The splitter returns the exact bytes of each event, because a
//! signature and a digest cover the bytes and not the parsed JSON. The splitter counts brackets to find the end of an
//! object, and checks the complete object with a JSON parser.

use serde_json::Value;

/// The maximum length of an event in the input: 4 times the maximum length that a bridge accepts by default.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// One event of the input, with the exact bytes of the event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InputEvent {
    /// The position of the event in the input, from 1.
    pub(super) number: u64,
    /// The line on which the event begins, from 1.
    pub(super) line: u64,
    /// The number of bytes from the start of the input to the end of the event.
    pub(super) end: u64,
    /// The event's attribute `id`, if the attribute is a string.
    pub(super) id: Option<String>,
    /// The event's attribute `subject`, if the attribute is a string.
    pub(super) subject: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl InputEvent {
    /// Creates the only event of an input that is the body of one request. The body possibly contains several events, or
    /// is not JSON.
    pub(super) fn whole(bytes: Vec<u8>, end: u64) -> Self {
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Self {
            number: 1,
            line: 1,
            end,
            id: body.get("id").and_then(Value::as_str).map(str::to_owned),
            subject: None,
            bytes,
        }
    }
}

/// The error of an input that is not a stream of events. The error contains the line number, and no part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InputError {
    /// An event should begin here, but the input has a character other than `{`.
    #[error("line {line}: an event, which is a JSON object, should begin here")]
    NoObject { line: u64 },
    /// An object in the input is not valid JSON.
    #[error("line {line}: this is not JSON")]
    Syntax { line: u64 },
    /// An event is longer than [`EVENT_BYTES_MAX`].
    #[error("line {line}: this event is longer than {EVENT_BYTES_MAX} bytes")]
    TooLong { line: u64 },
    /// The input ends inside an event or inside an array.
    #[error("line {line}: the input ends before the end of the event or array that begins here")]
    Unfinished { line: u64 },
}

/// The state of the event splitter while the splitter is not inside an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitterState {
    /// The splitter is outside an array.
    Top,
    /// The splitter has read the opening bracket of an array on this line. An event can begin, or the array can end.
    ArrayStart { line: u64 },
    /// The splitter has read a comma of the array. An event must begin.
    AfterComma { line: u64 },
    /// The splitter has read an event of the array. A comma or the end of the array must follow.
    AfterEvent { line: u64 },
}

/// A parser that takes the input in chunks of any length, and returns each event as soon as the event is complete.
#[derive(Debug)]
pub(super) struct EventSplitter {
    state: SplitterState,
    /// The bytes of the current event, which is not complete yet.
    buffer: Vec<u8>,
    /// The number of open brackets. This number is 0 between two events.
    depth: u32,
    in_text: bool,
    escaped: bool,
    line: u64,
    /// The line on which the current event began.
    event_line: u64,
    read: u64,
    number: u64,
}

impl EventSplitter {
    pub(super) const fn new() -> Self {
        Self {
            state: SplitterState::Top,
            buffer: Vec::new(),
            depth: 0,
            in_text: false,
            escaped: false,
            line: 1,
            event_line: 1,
            read: 0,
            number: 0,
        }
    }

    /// Takes the next chunk of the input, and calls `found` with each event that ends in the chunk.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(InputEvent),
    ) -> Result<(), InputError> {
        for byte in bytes {
            self.read = self.read.saturating_add(1);
            let is_complete = if self.depth == 0 {
                self.outside(*byte)?;
                false
            } else {
                self.inside(*byte)?
            };
            if *byte == b'\n' {
                self.line = self.line.saturating_add(1);
            }
            if is_complete {
                found(self.event()?);
            }
        }
        Ok(())
    }

    /// Returns an error if the input ends inside an event or an array.
    pub(super) fn finish(&self) -> Result<(), InputError> {
        match self.state {
            _ if self.depth > 0 => Err(InputError::Unfinished {
                line: self.event_line,
            }),
            SplitterState::ArrayStart { line }
            | SplitterState::AfterComma { line }
            | SplitterState::AfterEvent { line } => Err(InputError::Unfinished { line }),
            SplitterState::Top => Ok(()),
        }
    }

    fn outside(&mut self, byte: u8) -> Result<(), InputError> {
        let is_mark = usize::try_from(self.read.saturating_sub(1))
            .ok()
            .and_then(|at| BYTE_ORDER_MARK.get(at))
            .is_some_and(|mark| *mark == byte);
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') || is_mark {
            return Ok(());
        }
        self.state = match (byte, self.state) {
            (
                b'{',
                state @ (SplitterState::Top
                | SplitterState::ArrayStart { .. }
                | SplitterState::AfterComma { .. }),
            ) => {
                self.buffer.push(byte);
                self.depth = 1;
                self.event_line = self.line;
                match state {
                    SplitterState::Top => SplitterState::Top,
                    SplitterState::ArrayStart { line }
                    | SplitterState::AfterComma { line }
                    | SplitterState::AfterEvent { line } => SplitterState::AfterEvent { line },
                }
            }
            (b'[', SplitterState::Top) => SplitterState::ArrayStart { line: self.line },
            (b',', SplitterState::AfterEvent { line }) => SplitterState::AfterComma { line },
            (b']', SplitterState::ArrayStart { .. } | SplitterState::AfterEvent { .. }) => {
                SplitterState::Top
            }
            (
                _,
                SplitterState::Top
                | SplitterState::ArrayStart { .. }
                | SplitterState::AfterComma { .. }
                | SplitterState::AfterEvent { .. },
            ) => {
                return Err(InputError::NoObject { line: self.line });
            }
        };
        Ok(())
    }

    /// Reads a byte inside an event, and returns whether the event ends with this byte.
    fn inside(&mut self, byte: u8) -> Result<bool, InputError> {
        if self.buffer.len() >= EVENT_BYTES_MAX {
            return Err(InputError::TooLong {
                line: self.event_line,
            });
        }
        self.buffer.push(byte);
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

    fn event(&mut self) -> Result<InputEvent, InputError> {
        let bytes = std::mem::take(&mut self.buffer);
        let event: Value = serde_json::from_slice(&bytes).map_err(|error| {
            let lines = u64::try_from(error.line().saturating_sub(1)).unwrap_or(0);
            InputError::Syntax {
                line: self.event_line.saturating_add(lines),
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
            line: self.event_line,
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

    fn split(input: &[u8], chunk: usize) -> (Vec<InputEvent>, Result<(), InputError>) {
        let mut splitter = EventSplitter::new();
        let mut events = Vec::new();
        for bytes in input.chunks(chunk) {
            if let Err(error) = splitter.feed(bytes, |event| events.push(event)) {
                return (events, Err(error));
            }
        }
        let ended = splitter.finish();
        (events, ended)
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
                let (events, ended) = split(input.as_bytes(), chunk);
                let found: Vec<_> = events
                    .iter()
                    .map(|event| (event.id.as_deref().unwrap(), event.line))
                    .collect();
                assert_eq!((found, ended), (expected.clone(), Ok(())), "{input}");
            }
        }
    }

    #[test]
    fn an_event_is_returned_byte_for_byte() {
        let event = "{ \"subject\" : \"s\", \"n\": 1.0e2, \"k\": \"\\u0041\" }";
        let (events, _) = split(format!("  {event}\n").as_bytes(), 4);
        assert_eq!(events[0].bytes, event.as_bytes());
        assert_eq!(
            (events[0].subject.as_deref(), events[0].id.as_deref()),
            (Some("s"), None)
        );
        assert_eq!(events[0].end, u64::try_from(event.len() + 2).unwrap());
    }

    #[test]
    fn an_error_names_its_line_and_earlier_events_are_returned() {
        for (input, events, error) in [
            ("{}\nhello", 1, InputError::NoObject { line: 2 }),
            ("42", 0, InputError::NoObject { line: 1 }),
            ("{},{}", 1, InputError::NoObject { line: 1 }),
            ("[{},]", 1, InputError::NoObject { line: 1 }),
            ("[{} {}]", 1, InputError::NoObject { line: 1 }),
            ("[[]]", 0, InputError::NoObject { line: 1 }),
            ("{}\n{\n\"a\":}\n", 1, InputError::Syntax { line: 3 }),
            ("{\"a\": [}]", 0, InputError::Syntax { line: 1 }),
            ("{}\n{\"a\": \"", 1, InputError::Unfinished { line: 2 }),
            ("\n[{}", 1, InputError::Unfinished { line: 2 }),
            ("{\"a\": ]", 0, InputError::Syntax { line: 1 }),
        ] {
            let (found, ended) = split(input.as_bytes(), 2);
            assert_eq!((found.len(), ended), (events, Err(error)), "{input}");
        }
        let long = format!("{{\"a\":\"{}", "x".repeat(EVENT_BYTES_MAX));
        assert_eq!(
            split(long.as_bytes(), 4096).1,
            Err(InputError::TooLong { line: 1 })
        );
    }

    proptest! {
        #[test]
        fn the_events_do_not_depend_on_how_the_input_is_cut(
            texts in prop::collection::vec(".{0,20}", 0..6),
            chunk in 1_usize..50,
        ) {
            let events: Vec<Vec<u8>> = texts
                .iter()
                .map(|text| serde_json::to_vec(&json!({"id": text, "deep": [[{"k": text}]]})).unwrap())
                .collect();
            let (split, ended) = split(&events.join(&b"\n"[..]), chunk);
            let found: Vec<Vec<u8>> = split.into_iter().map(|event| event.bytes).collect();
            prop_assert_eq!((found, ended), (events, Ok(())));
        }

        #[test]
        fn no_input_makes_it_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(split(&input, 7));
        }
    }
}
