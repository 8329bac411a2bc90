//! The body of an export request: the message `ExportTraceServiceRequest` of the OpenTelemetry Protocol 1.x, in its JSON
//! encoding. Ids are hexadecimal, enumerations are numbers, and integers of 64 bits are texts.

use serde_json::{Value, json};

use super::span::{Span, SpanAttribute, SpanKind, SpanStatus};
use crate::event::SourceName;
use crate::outbox::EntryId;
use crate::time::Timestamp;

/// The name of the program in its spans.
const SERVICE: &str = "imprint-bridge";

/// The process that exports spans.
#[derive(Clone, Debug)]
pub struct ExportedProcess {
    /// The name of the process for operators. Empty if it has no name.
    pub instance: String,
}

/// Returns the body of an export request.
pub fn body(process: &ExportedProcess, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let mut resource = vec![
        text("service.name", SERVICE),
        text("service.version", version),
    ];
    if !process.instance.is_empty() {
        resource.push(text("service.instance.id", &process.instance));
    }
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": SERVICE, "version": version}, "spans": spans}],
    }]});
    request.to_string().into_bytes()
}

fn span(span: &Span) -> Value {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    let status = match span.status {
        SpanStatus::Unset => json!({}),
        SpanStatus::Error => json!({"code": 2}),
    };
    let attributes: Vec<Value> = span.attributes.iter().map(attribute).collect();
    json!({
        "traceId": span.parent.trace.to_string(),
        "spanId": span.id.to_string(),
        "parentSpanId": span.parent.span.to_string(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(span.begin),
        // A clock that was set back must not give a span that ends before it begins.
        "endTimeUnixNano": nanoseconds(span.end.max(span.begin)),
        "attributes": attributes,
        "status": status,
    })
}

fn attribute(attribute: &SpanAttribute) -> Value {
    let value = match attribute {
        SpanAttribute::Source(source) => json!({"stringValue": SourceName::as_str(source)}),
        SpanAttribute::State(word) | SpanAttribute::Reason(word) | SpanAttribute::Outcome(word) => {
            json!({"stringValue": word})
        }
        SpanAttribute::Duplicate(is_duplicate) => json!({"boolValue": is_duplicate}),
        SpanAttribute::Entry(EntryId(number)) => json!({"intValue": number.to_string()}),
        SpanAttribute::Entries(number) => json!({"intValue": number.to_string()}),
        SpanAttribute::HttpStatus(status) => json!({"intValue": status.to_string()}),
    };
    json!({"key": attribute.name(), "value": value})
}

fn text(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

fn nanoseconds(at: Timestamp) -> String {
    let nanoseconds = i128::from(at.as_millis().max(0)) * 1_000_000;
    nanoseconds.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{SpanId, TraceContext};

    /// The expected text follows the specification, not the code: opentelemetry-proto, `trace.proto`, and its rules for JSON.
    #[test]
    fn a_body_follows_the_specification() {
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let spans = [Span {
            id: SpanId::from_bytes([0xab; 8]),
            parent: TraceContext::parse(context).unwrap(),
            name: "update",
            kind: SpanKind::Client,
            begin: Timestamp::from_millis(1_700_000_000_123),
            end: Timestamp::from_millis(1_700_000_000_122),
            status: SpanStatus::Error,
            attributes: vec![
                SpanAttribute::Source(SourceName::parse("crm").unwrap()),
                SpanAttribute::Entry(EntryId(u64::MAX)),
                SpanAttribute::Duplicate(false),
                SpanAttribute::HttpStatus(503),
            ],
        }];
        let process = ExportedProcess {
            instance: "bridge-0".to_owned(),
        };
        let body: Value = serde_json::from_slice(&body(&process, &spans)).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "imprint-bridge"}},
                {"key": "service.version", "value": {"stringValue": version}},
                {"key": "service.instance.id", "value": {"stringValue": "bridge-0"}},
            ]},
            "scopeSpans": [{
                "scope": {"name": "imprint-bridge", "version": version},
                "spans": [{
                    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
                    "spanId": "abababababababab",
                    "parentSpanId": "00f067aa0ba902b7",
                    "name": "update",
                    "kind": 3,
                    "startTimeUnixNano": "1700000000123000000",
                    "endTimeUnixNano": "1700000000123000000",
                    "attributes": [
                        {"key": "imprint_bridge.source", "value": {"stringValue": "crm"}},
                        {"key": "imprint_bridge.entry", "value": {"intValue": "18446744073709551615"}},
                        {"key": "imprint_bridge.duplicate", "value": {"boolValue": false}},
                        {"key": "http.response.status_code", "value": {"intValue": "503"}},
                    ],
                    "status": {"code": 2},
                }],
            }],
        }]});
        assert_eq!(body, expected);
    }
}
