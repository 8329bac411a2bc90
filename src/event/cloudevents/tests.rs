use serde_json::json;

use super::*;

const EVENTS_MAX: usize = 3;

fn source() -> SourceName {
    SourceName::parse("crm").unwrap()
}

fn event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "e-1",
        "source": "/crm/us",
        "type": "customer.changed",
        "subject": "C1",
        "time": "2025-02-13T19:08:07.000Z",
        "datacontenttype": "application/json",
        "traceparent": "00-01-02-03",
        "data": {"customer": {"id": "C1"}},
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut event = event();
    event[name] = value;
    event
}

fn without(name: &str) -> Value {
    let mut event = event();
    event.as_object_mut().unwrap().remove(name);
    event
}

fn decode_body(mode: ContentMode, body: &[u8]) -> Result<Decoded, Vec<EventError>> {
    let message = HttpMessage {
        mode,
        headers: &[],
        content_type: "application/cloudevents+json",
        body,
    };
    decode(&source(), message, EVENTS_MAX)
}

fn decode_binary(headers: &[(&str, &str)], body: &str) -> Result<ChangeEvent, Vec<EventError>> {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect();
    let message = HttpMessage {
        mode: ContentMode::Binary,
        headers: &headers,
        content_type: "application/json; charset=utf-8",
        body: body.as_bytes(),
    };
    decode(&source(), message, EVENTS_MAX)?.remove(0)
}

fn places(errors: &[EventError]) -> Vec<(&str, &str)> {
    errors
        .iter()
        .map(|error| (error.pointer.as_str(), error.rule.as_str()))
        .collect()
}

/// Decodes one structured event and compares its errors as (pointer, rule).
fn check(event: &Value, expected: &[(&str, &str)]) {
    let decoded = decode_body(ContentMode::Structured, event.to_string().as_bytes())
        .unwrap()
        .remove(0);
    let errors = decoded.err().unwrap_or_default();
    assert_eq!(places(&errors), expected, "{event}");
}

#[test]
fn the_mode_follows_from_the_media_type() {
    const NONE: &[(&str, &[u8])] = &[("content-type", b"x")];
    const SOME: &[(&str, &[u8])] = &[("CE-specversion", b"1.0")];
    for (content_type, headers, expected) in [
        (
            "application/cloudevents+json",
            NONE,
            Some(ContentMode::Structured),
        ),
        (
            "Application/CloudEvents+JSON; charset=\"UTF-8\"",
            SOME,
            Some(ContentMode::Structured),
        ),
        (
            "application/cloudevents-batch+json",
            NONE,
            Some(ContentMode::Batch),
        ),
        ("application/json", SOME, Some(ContentMode::Binary)),
        (
            "application/vnd.crm.v1+json;v=1",
            SOME,
            Some(ContentMode::Binary),
        ),
        ("text/json", SOME, Some(ContentMode::Binary)),
        ("application/json", NONE, None),
        ("application/cloudevents+json; charset=utf-16", NONE, None),
        (
            "application/cloudevents+json; charset=iso-8859-1",
            NONE,
            None,
        ),
        ("application/cloudevents+xml", SOME, None),
        ("application/cloudevents-other+json", SOME, None),
        ("text/plain", SOME, None),
        ("multipart/form-data; boundary=x", SOME, None),
        ("application/x-www-form-urlencoded", SOME, None),
        ("json", SOME, None),
        ("", SOME, None),
    ] {
        assert_eq!(
            ContentMode::of(content_type, headers),
            expected,
            "{content_type}"
        );
    }
}

#[test]
fn a_structured_event_keeps_its_whole_envelope() {
    let decoded = decode_body(ContentMode::Structured, event().to_string().as_bytes())
        .unwrap()
        .remove(0);
    let decoded = decoded.unwrap();
    assert_eq!(decoded.identity.id.as_str(), "e-1");
    assert_eq!(decoded.identity.ce_source.unwrap().as_str(), "/crm/us");
    assert_eq!(decoded.event_type.as_str(), "customer.changed");
    assert_eq!(decoded.envelope, event());
}

/// FAULTS I29, I30
#[test]
fn all_errors_of_an_event_are_reported_at_once() {
    check(&event(), &[]);
    for name in ["specversion", "id", "source", "type"] {
        check(&without(name), &[(&format!("/{name}"), "required")]);
        check(
            &with(name, Value::Null),
            &[(&format!("/{name}"), "required")],
        );
        check(&with(name, json!(1)), &[(&format!("/{name}"), "type")]);
    }
    for name in ["time", "subject", "datacontenttype"] {
        check(&without(name), &[]);
        check(&with(name, Value::Null), &[]);
        check(&with(name, json!({})), &[(&format!("/{name}"), "type")]);
    }
    check(&without("data"), &[]);
    check(
        &with("specversion", json!("0.3")),
        &[("/specversion", "specversion")],
    );
    check(&with("id", json!("")), &[("/id", "attribute")]);
    check(&with("id", json!("a\nb")), &[("/id", "attribute")]);
    check(
        &with("type", json!("x".repeat(257))),
        &[("/type", "attribute")],
    );
    check(&with("subject", json!("")), &[("/subject", "attribute")]);
    check(
        &with("datacontenttype", json!("text/xml")),
        &[("/datacontenttype", "media_type")],
    );
    check(
        &with("data_base64", json!("AA==")),
        &[("/data_base64", "data_base64")],
    );
    check(
        &json!({"id": 1, "time": "noon"}),
        &[
            ("/specversion", "required"),
            ("/id", "type"),
            ("/source", "required"),
            ("/type", "required"),
            ("/time", "rfc3339"),
        ],
    );
    for other in [json!(null), json!([event()]), json!("x"), json!(1)] {
        check(&other, &[("", "type")]);
    }
}

/// FAULTS I17, N330
#[test]
fn a_charset_is_utf_8_or_ascii_in_any_spelling() {
    for (charset, is_accepted) in [
        ("UTF-8", true),
        ("utf8", true),
        ("\"Utf8\"", true),
        ("'utf-8'", true),
        ("utf_8", true),
        ("US-ASCII", true),
        ("ascii", true),
        ("utf-16", false),
        ("iso-8859-1", false),
        ("windows-1252", false),
        ("utf-8x", false),
        ("", false),
    ] {
        let mode = ContentMode::of(
            &format!("application/cloudevents+json; CHARSET={charset}"),
            &[],
        );
        let expected = is_accepted.then_some(ContentMode::Structured);
        assert_eq!(mode, expected, "{charset}");
        let plain = is_plain_json(&format!("application/json;v=1;charset = {charset}"));
        assert_eq!(plain, is_accepted, "{charset}");
    }
}

/// Adds `data_base64` instead of `data`.
fn with_base64(bytes: impl AsRef<[u8]>) -> Value {
    let mut event = without("data");
    event[DATA_BASE64] = json!(STANDARD.encode(bytes));
    event
}

/// FAULTS N330
#[test]
fn json_in_base64_is_the_data() {
    let data = json!({"customer": {"id": "C1"}});
    for media_type in [
        json!("application/json; charset=utf8"),
        json!("text/vnd.x+json"),
        Value::Null,
    ] {
        let mut sent = with_base64(data.to_string());
        sent[DATACONTENTTYPE] = media_type;
        let decoded = decode_body(ContentMode::Structured, sent.to_string().as_bytes())
            .unwrap()
            .remove(0);
        let envelope = decoded.unwrap().envelope;
        assert_eq!(envelope.get(DATA), Some(&data));
        assert_eq!(envelope.get(DATA_BASE64), None);
    }
}

#[test]
fn base64_that_is_not_json_names_its_cause() {
    let place = format!("/{DATA_BASE64}");
    for (bytes, rule) in [
        (&b"{"[..], "syntax"),
        (b"", "empty"),
        (b"\xff", "utf8"),
        (b"{\"a\":1,\"a\":2}", "duplicate_key"),
        (b"[1] 2", "trailing"),
    ] {
        check(&with_base64(bytes), &[(&place, rule)]);
    }
    let mut event = without("data");
    for wrong in [
        json!("e30"),
        json!("e30=!"),
        json!("{}"),
        json!(7),
        json!({}),
    ] {
        event[DATA_BASE64] = wrong;
        check(&event, &[(&place, DATA_BASE64)]);
    }
    let mut xml = with_base64("<a/>");
    xml[DATACONTENTTYPE] = json!("text/xml");
    check(&xml, &[("/datacontenttype", "media_type")]);
    check(&with(DATA_BASE64, Value::Null), &[]);
}

#[test]
fn a_null_attribute_is_not_set_but_data_may_be_null() {
    let mut sent = with("traceparent", Value::Null);
    sent["data"] = Value::Null;
    let decoded = decode_body(ContentMode::Structured, sent.to_string().as_bytes())
        .unwrap()
        .remove(0);
    let envelope = decoded.unwrap().envelope;
    assert!(envelope.get("traceparent").is_none());
    assert_eq!(envelope.get("data"), Some(&Value::Null));
}

#[test]
fn a_time_must_be_rfc_3339() {
    for good in [
        "2025-02-13T19:08:07Z",
        "2025-02-13t19:08:07.123456789z",
        "2025-02-13T19:08:07.5-08:00",
        "2024-02-29T00:00:00+14:00",
    ] {
        check(&with("time", json!(good)), &[]);
    }
    for bad in [
        "",
        "2025-02-13",
        "2025-02-13 19:08:07Z",
        "2025-02-13T19:08Z",
        "2025-02-13T19:08:07",
        "2025-02-13T19:08:07.Z",
        "2025-02-13T19:08:07+0100",
        "2025-02-30T19:08:07Z",
        "2025-02-13T25:08:07Z",
        "2025-02-13T19:08:07Z[UTC]",
        "20250213T190807Z",
        "1739473687",
        "2025-02-13T19:08:07,5Z",
        "+002025-02-13T19:08:07Z",
        "٢٠٢٥-02-13T19:08:07Z",
    ] {
        check(&with("time", json!(bad)), &[("/time", "rfc3339")]);
    }
}

/// FAULTS I35
#[test]
fn an_error_in_a_batch_names_the_event() {
    let body = json!([event(), without("id"), with("time", json!("noon"))]).to_string();
    let decoded = decode_body(ContentMode::Batch, body.as_bytes()).unwrap();
    let errors: Vec<_> = decoded
        .into_iter()
        .filter_map(Result::err)
        .flatten()
        .collect();
    assert_eq!(
        places(&errors),
        [("/1/id", "required"), ("/2/time", "rfc3339")]
    );
    for (body, rule) in [
        (json!([1, 2, 3, 4]), "batch_size"),
        (event(), "type"),
        (json!(null), "type"),
    ] {
        let errors = decode_body(ContentMode::Batch, body.to_string().as_bytes()).unwrap_err();
        assert_eq!(places(&errors), [("", rule)]);
    }
    assert_eq!(decode_body(ContentMode::Batch, b"[]"), Ok(Vec::new()));
}

/// FAULTS I05, I35
#[test]
fn an_error_in_json_names_the_rule_and_the_position() {
    for (body, rule) in [
        ("", "empty"),
        ("{", "syntax"),
        (r#"{"id":1,"id":2}"#, "duplicate_key"),
    ] {
        let errors = decode_body(ContentMode::Structured, body.as_bytes()).unwrap_err();
        assert_eq!(places(&errors), [("", rule)]);
        assert_eq!(errors[0].location, "json");
    }
}

const HEADERS: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("CE-Id", "e-1"),
    ("ce-source", "/crm/us"),
    ("ce-type", "customer.changed"),
    ("x-other", "1"),
];

#[test]
fn a_binary_event_becomes_the_structured_form() {
    let headers = [
        &HEADERS[..],
        &[
            ("ce-subject", "Euro%20%E2%82%AC"),
            ("ce-note", "\"a \\\"b\\\"\""),
        ],
    ];
    let decoded = decode_binary(&headers.concat(), r#"{"a":1}"#).unwrap();
    assert_eq!(
        decoded.envelope,
        json!({
            "specversion": "1.0", "id": "e-1", "source": "/crm/us", "type": "customer.changed",
            "subject": "Euro €", "note": "a \"b\"",
            "datacontenttype": "application/json; charset=utf-8", "data": {"a": 1},
        })
    );
    assert!(
        decode_binary(&HEADERS, "")
            .unwrap()
            .envelope
            .get("data")
            .is_none()
    );
}

#[test]
fn a_header_is_percent_decoded_once() {
    for (sent, read) in [
        ("%2541", "%41"),
        ("a%2Fb", "a/b"),
        ("100%", "100%"),
        ("a%20b", "a b"),
    ] {
        let mut headers = HEADERS;
        headers[1] = ("ce-id", sent);
        assert_eq!(
            decode_binary(&headers, "{}").unwrap().identity.id.as_str(),
            read
        );
    }
}

#[test]
fn an_ambiguous_header_is_refused() {
    for (name, value, pointer, rule) in [
        ("ce-id", "e-2", "/id", "duplicate_key"),
        ("ce-data", "x", "/data", "reserved"),
        ("ce-data_base64", "x", "/data_base64", "reserved"),
        (
            "ce-datacontenttype",
            "text/xml",
            "/datacontenttype",
            "reserved",
        ),
        ("ce-subject", "%FF", "/subject", "utf8"),
        ("ce-subject", "a%00b", "/subject", "utf8"),
        ("ce-a~b", "%FF", "/a~0b", "utf8"),
        ("ce-time", "noon", "/time", "rfc3339"),
    ] {
        let headers = [&HEADERS[..], &[(name, value)]].concat();
        let errors = decode_binary(&headers, "{}").unwrap_err();
        assert_eq!(places(&errors), [(pointer, rule)]);
    }
    let errors = decode_binary(&HEADERS[..2], "{}").unwrap_err();
    assert_eq!(
        places(&errors),
        [("/source", "required"), ("/type", "required")]
    );
    let errors = decode_binary(&HEADERS, "{").unwrap_err();
    assert_eq!(places(&errors), [("", "syntax")]);
}
