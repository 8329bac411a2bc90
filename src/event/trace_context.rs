//! The trace context of an event, in the form of the W3C recommendation "Trace Context": the span of the sender's trace that
//! caused the event.
//!
//! The bridge follows the decision of the sender. It takes no part in a trace that the sender has not sampled, and never
//! begins a trace of its own.

use std::fmt;

use serde_json::Value;

/// The name of the request header, and of the extension attribute of `CloudEvents`, with a trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The length of a trace context of version 00. A later version can append further parts.
const CHARS: usize = 55;
/// The flag of a trace that the sender has sampled.
const SAMPLED: u8 = 1;

/// The id of a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// A span of a sampled trace: the parent of the spans of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: TraceId,
    pub span: SpanId,
}

/// Says where intake reads the trace contexts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceReading {
    /// Nowhere: the bridge exports no traces.
    Off,
    /// In each event, and otherwise in the headers of the request: the trace context there, if the trace is sampled.
    On(Option<TraceContext>),
}

impl TraceContext {
    /// Parses a trace context. Returns `None` if the text is not valid, or if the sender has not sampled the trace.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (known, rest) = bytes.split_at_checked(CHARS)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let [version] = hex(parts.next()?)?;
        let trace = hex(parts.next()?)?;
        let span = hex(parts.next()?)?;
        let [flags] = hex(parts.next()?)?;
        let is_complete = match (version, rest.first()) {
            (0xff, _) => false,
            (_, None) => true,
            (0, Some(_)) => false,
            (_, Some(next)) => *next == b'-',
        };
        let has_ids = trace != [0; 16] && span != [0; 8];
        (is_complete && has_ids && flags & SAMPLED != 0).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
        })
    }
}

impl TraceReading {
    /// Returns the trace context of an event.
    pub fn of_event(self, envelope: &Value) -> Option<TraceContext> {
        match self {
            Self::Off => None,
            Self::On(of_request) => match envelope.get(TRACEPARENT).and_then(Value::as_str) {
                Some(text) => TraceContext::parse(text),
                None => of_request,
            },
        }
    }
}

impl SpanId {
    /// Returns the id with these bytes. An id of zeros is not valid, so zeros give another id.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        match bytes {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self([0, 0, 0, 0, 0, 0, 0, 1]),
            bytes => Self(bytes),
        }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Decodes digits in lower case, which the recommendation demands.
fn hex<const LEN: usize>(digits: &[u8]) -> Option<[u8; LEN]> {
    let (pairs, rest) = digits.as_chunks();
    if pairs.len() != LEN || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; LEN];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    /// FAULTS N1192
    #[test]
    fn only_a_valid_context_of_a_sampled_trace_counts() {
        let with = |version: &str, flags: &str| format!("{version}-{TRACE}-{SPAN}-{flags}");
        let (zeros, long) = ("0".repeat(32), "4".repeat(33));
        for (text, is_taken) in [
            (with("00", "01"), true),
            (with("00", "03"), true),
            (with("00", "ff"), true),
            (with("01", "01"), true),
            (with("cc", "01-what-comes-later"), true),
            (with("00", "00"), false),
            (with("00", "02"), false),
            (with("ff", "01"), false),
            (with("00", "01-more"), false),
            (with("01", "01.more"), false),
            (with("00", "1"), false),
            (with("00", "0g"), false),
            (with("0", "01"), false),
            (with("00", "01").to_uppercase(), false),
            (format!("00-{zeros}-{SPAN}-01"), false),
            (format!("00-{TRACE}-0000000000000000-01"), false),
            (format!("00-{long}-0f067aa0ba902b7-01"), false),
            (format!("00-{TRACE}{SPAN}--01"), false),
            (format!("00_{TRACE}-{SPAN}-01"), false),
            ("00-1-2-03".to_owned(), false),
            (String::new(), false),
            ("é".repeat(40), false),
        ] {
            let context = TraceContext::parse(&text);
            assert_eq!(context.is_some(), is_taken, "{text}");
            if let Some(TraceContext { trace, span }) = context {
                assert_eq!(
                    (trace.to_string(), span.to_string()),
                    (TRACE.into(), SPAN.into())
                );
            }
        }
    }

    #[test]
    fn the_context_of_the_event_takes_precedence_over_the_context_of_the_request() {
        let of_request = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01"));
        let other = format!("00-{}-{SPAN}-01", "a".repeat(32));
        let on = TraceReading::On(of_request);
        let event = json!({"traceparent": &other});
        assert_eq!(on.of_event(&event), TraceContext::parse(&other));
        assert_eq!(on.of_event(&json!({"traceparent": null})), of_request);
        assert_eq!(on.of_event(&json!({})), of_request);
        // The sender has decided about this event.
        let unsampled = json!({"traceparent": format!("00-{TRACE}-{SPAN}-00")});
        assert_eq!(on.of_event(&unsampled), None);
        assert_eq!(TraceReading::Off.of_event(&event), None);
    }

    #[test]
    fn a_new_span_id_is_never_zero() {
        assert_eq!(SpanId::from_bytes([0; 8]).to_string(), "0000000000000001");
        assert_eq!(SpanId::from_bytes([255; 8]).to_string(), "f".repeat(16));
    }
}
