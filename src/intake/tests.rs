use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::examples::Expectation;
use super::schema::Schema;
use super::*;
use crate::event::{Attribute, Identity, RequestHeaders, SourceVersion, TraceReading, Visibility};
use crate::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
use crate::mapping::{
    JsonEnvelope, JsonEnvelopeRules, Mapping, MappingRules, VersionDomain, VersionRule,
};
use crate::outbox::{Disposition, IgnoreReason, NewEntry, Priority, ReplayChange};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SETTINGS: IntakeSettings = IntakeSettings {
    batch_events_max: 10,
    version_ahead_max: Duration::from_mins(5),
    foreign_address: ForeignAddress::Park,
    clearing: Clearing {
        fields: FieldClearing::Omit,
        address: AddressClearing::Verify,
    },
};
const CONTEXT: EntryContext = EntryContext {
    accepted_at: NOW,
    wall_time: NOW,
    priority: Priority::Live,
    digest_key: [7; 32],
    traces: TraceReading::Off,
};

const AGAIN: MappedAgain = MappedAgain {
    stored: StoredVersion::Mapped(None),
    wall_time: NOW,
};

/// Creates a source of plain JSON with one mapped type, `row`, and one ignored type, `ping`.
fn shop(foreign_address: ForeignAddress) -> Sources {
    shop_ordered_by(None, foreign_address)
}

fn shop_ordered_by(version: Option<VersionRule>, foreign_address: ForeignAddress) -> Sources {
    let rules = MappingRules {
        imprint_id: Some(".id".to_owned()),
        country: Some(".country".to_owned()),
        update: [("email", ".email"), ("city", ".city")]
            .map(|(field, expression)| (field.to_owned(), expression.to_owned()))
            .into(),
        version,
        ..MappingRules::default()
    };
    let envelope = JsonEnvelopeRules {
        split: Some(".rows[]".to_owned()),
        id: ".event".to_owned(),
        event_type: ".type".to_owned(),
        time: None,
    };
    let envelope = JsonEnvelope::compile(&envelope, &BTreeMap::new()).unwrap();
    let schema = json!({"properties": {"email": {"type": "string"}, "note": {}}});
    let schema = Schema::compile("row", &schema).unwrap();
    let mapping = Mapping::compile(&rules).unwrap();
    let event_type = EventType {
        epoch: 3,
        ..EventType::new(schema, mapping, Some(&envelope))
    };
    let source = Source {
        name: name(),
        json_envelope: Some(envelope),
        event_types: [("row".to_owned(), event_type)].into(),
        ignored: ["ping".to_owned()].into(),
        invalid_events: InvalidEventPolicy::default(),
        stored_parts: StoredParts::default(),
        card_numbers: CardNumberPolicy::default(),
    };
    let settings = IntakeSettings {
        foreign_address,
        ..SETTINGS
    };
    Sources::new([Arc::new(source)], settings)
}

fn name() -> SourceName {
    SourceName::parse("shop").unwrap()
}

fn entries(sources: &Sources, rows: &Value) -> Result<Vec<NewEntry>, Rejection> {
    let body = json!({"rows": rows}).to_string();
    let source = sources.get(&name()).unwrap();
    let encoding = Encoding::of_body(source, body.as_bytes());
    let mapped = sources.entries(source, &encoding, message(body.as_bytes()), &CONTEXT);
    mapped.map(|mapped| mapped.entries)
}

/// Returns a request without headers that the source reads.
fn message(body: &[u8]) -> RequestMessage<'_> {
    static NONE: LazyLock<RequestHeaders> = LazyLock::new(RequestHeaders::default);
    RequestMessage {
        headers: &NONE,
        body,
    }
}

fn row(fields: &Value) -> Value {
    let mut row = json!({"event": 1, "type": "row", "id": "C-1"});
    let row_fields = row.as_object_mut().unwrap();
    row_fields.extend(fields.as_object().unwrap().clone());
    row
}

#[test]
fn plain_json_is_stored_with_id_type_and_data_only() {
    let sources = shop(ForeignAddress::Park);
    let row = row(&json!({"email": "a@example.com"}));
    let entries = entries(&sources, &json!([row])).unwrap();
    let entry = &entries[0];
    let stored: Value = serde_json::from_slice(&entry.event).unwrap();
    // The store keeps the id of the event, and not the member from which the id came.
    let data = json!({"type": "row", "id": "C-1", "email": "a@example.com"});
    assert_eq!(stored, json!({"id": "1", "type": "row", "data": data}));
    assert_eq!(
        (entry.identity.id.as_str(), &entry.identity.ce_source),
        ("1", &None)
    );
    let Disposition::Enqueue(change) = &entry.disposition else {
        panic!("{:?}", entry.disposition);
    };
    assert_eq!((change.version.epoch, change.version.value), (3, 0));
}

#[test]
fn the_earliest_stage_decides_and_all_errors_are_listed() {
    let rows = json!([
        row(&json!({"email": 7})),
        {"event": 2, "type": "other"},
        row(&json!({"event": 3, "email": "a@example.com", "id": "a/b"})),
    ]);
    let rejection = entries(&shop(ForeignAddress::Park), &rows).unwrap_err();
    assert_eq!(rejection.class, RejectionClass::UnknownEventType);
    let pointers: Vec<&str> = rejection
        .errors
        .iter()
        .map(|error| error.pointer.as_str())
        .collect();
    assert_eq!(pointers, ["/rows/1/type", "/rows/0/email", "/rows/2/id"]);
}

/// The foreign-address rule is the same for a new event and for a stored event that the bridge maps again.
#[test]
fn a_foreign_address_has_one_rule() {
    let whole = json!({"email": "a@example.com", "city": "Paris", "country": "FRA"});
    let address_only = json!({"city": "Paris", "country": "FRA"});
    let home = json!({"city": "Reno", "country": "USA"});
    for (policy, fields, accepted, remapped) in [
        (ForeignAddress::Park, &whole, "park", Err("foreign_address")),
        (ForeignAddress::Skip, &whole, "enqueue", Ok("email")),
        (
            ForeignAddress::Skip,
            &address_only,
            "ignore",
            Ok("ignored: foreign_address"),
        ),
        (ForeignAddress::Park, &home, "enqueue", Ok("city")),
    ] {
        let sources = shop(policy);
        let entry = entries(&sources, &json!([row(fields)])).unwrap().remove(0);
        let found = match &entry.disposition {
            Disposition::Enqueue(_) => "enqueue",
            Disposition::Park(..) => "park",
            Disposition::Ignore(_) => "ignore",
            Disposition::Hold(_) => "hold",
            Disposition::Invalid(_) => "invalid",
        };
        assert_eq!(found, accepted, "{policy:?} {fields}");
        let again = sources.remap(&name(), &entry.event_type, &entry.event, AGAIN);
        let found = again
            .map(|again| match again {
                ReplayChange::Mapped(change) => {
                    let fields = change.update.fields().map(ToString::to_string);
                    fields.collect::<Vec<_>>().join(" ")
                }
                ReplayChange::Ignored(ignored) => format!("ignored: {}", ignored.reason.as_str()),
                ReplayChange::Stored => "stored".to_owned(),
            })
            .map_err(|errors| errors[0].rule.clone());
        let expected = remapped.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(found, expected, "{policy:?} {fields}");
    }
}

/// FAULTS N303, I26: a replay refuses a version in the future as an event does, unless the store has a version of the
/// event.
#[test]
fn a_replay_refuses_a_version_in_the_future() {
    let micros = |minutes: u64| NOW.after(Duration::from_mins(minutes)).as_millis() * 1000;
    for (version, stored, expected) in [
        (5, None, Ok(micros(5))),
        (6, None, Err("version_ahead")),
        (6, Some(micros(1)), Ok(micros(1))),
        (1, Some(micros(6)), Err("version_ahead")),
    ] {
        let order = VersionRule {
            expression: ".at".to_owned(),
            domain: VersionDomain::Time,
        };
        let sources = shop_ordered_by(Some(order), ForeignAddress::Park);
        let minute = NOW.after(Duration::from_mins(version)).to_rfc3339();
        let event = json!({"data": {"id": "C-1", "email": "a@example.com", "at": minute}});
        let stored = stored.map(|value| SourceVersion { epoch: 1, value });
        let stored = StoredVersion::Mapped(stored);
        let again = MappedAgain { stored, ..AGAIN };
        let event_type = Attribute::parse("row").unwrap();
        let bytes = event.to_string();
        let change = sources.remap(&name(), &event_type, bytes.as_bytes(), again);
        let found = change
            .map(|again| match again {
                ReplayChange::Mapped(change) => change.version.value,
                ReplayChange::Ignored(_) | ReplayChange::Stored => panic!("a change"),
            })
            .map_err(|errors| errors[0].rule.clone());
        assert_eq!(
            found,
            expected.map_err(str::to_owned),
            "{version} {stored:?}"
        );
    }
}

#[test]
fn an_explanation_reads_back_from_its_json() {
    let sources = shop(ForeignAddress::Park);
    let body = json!({"rows": [
        row(&json!({"email": "a@example.com", "note": 1})),
        row(&json!({"email": "a@example.com", "city": "Paris", "country": "FRA"})),
        row(&json!({"email": 7})),
        {"event": 4, "type": "ping"},
    ]});
    let body = body.to_string();
    let explain =
        |visibility| sources.explain_body(&name(), message(body.as_bytes()), NOW, visibility);
    let explanation = explain(Visibility::Revealed).unwrap();
    let json = serde_json::to_value(&explanation).unwrap();
    let outcomes: Vec<&Value> = json["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["outcome"])
        .collect();
    assert_eq!(outcomes, ["request", "parked", "refused", "ignored"]);
    let first = &json["events"][0];
    assert_eq!(first["version"], json!({"epoch": 3, "value": 0}));
    assert_eq!(first["request"]["path"], "/v2/customers/C-1");
    assert_eq!(first["fields"][0]["says"], "value");
    assert!(
        first["unused"]
            .as_array()
            .unwrap()
            .contains(&json!("/rows/0/note"))
    );
    let again: Explanation = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), json);
    let masked = serde_json::to_string(&explain(Visibility::Masked).unwrap()).unwrap();
    assert!(!masked.contains("example.com"), "{masked}");
}

#[test]
fn the_expectation_of_an_explanation_has_no_differences() {
    let sources = shop(ForeignAddress::Park);
    let good =
        json!({"rows": [row(&json!({"email": "a@example.com"})), {"event": 2, "type": "ping"}]});
    let bad = json!({"rows": [row(&json!({"email": 7}))]});
    for body in [good, bad, json!({"rows": 1})] {
        let body = body.to_string();
        let explanation =
            sources.explain_body(&name(), message(body.as_bytes()), NOW, Visibility::Revealed);
        let explanation = explanation.unwrap();
        let expectation = Expectation::of(&explanation);
        assert_eq!(
            expectation.differences(&explanation),
            Vec::<String>::new(),
            "{body}"
        );
    }
}

#[test]
fn only_fields_that_would_be_sent_are_not_stale() {
    let sources = shop(ForeignAddress::Park);
    let row = row(&json!({"email": "a@example.com", "city": "Reno"}));
    let entry = entries(&sources, &json!([row])).unwrap().remove(0);
    let event = EntryEvent {
        identity: &Identity {
            source: name(),
            ce_source: None,
            id: Attribute::parse("1").unwrap(),
        },
        event_type: &entry.event_type,
        bytes: &entry.event,
        is_invalid: false,
    };
    let mut explanation = sources
        .explain_entry(event, NOW, Visibility::Masked)
        .unwrap();
    let change = explanation.change().unwrap();
    let email: Vec<_> = change
        .update
        .fields()
        .filter(|field| field.to_string() == "email")
        .cloned()
        .collect();
    explanation.mark_stale(&email);
    let stale: BTreeMap<String, Option<bool>> = explanation
        .targets
        .unwrap()
        .into_iter()
        .map(|target| (target.target, target.is_stale))
        .collect();
    assert_eq!(stale["email"], Some(false));
    assert_eq!(stale["city"], Some(true));
    assert_eq!(stale["customer.imprint_id"], None);
}

/// FAULTS N347: a source sends many event types, and only some of them are about customers.
#[test]
fn a_name_with_a_star_stands_for_many_event_types() {
    let Sources { by_name, .. } = shop(ForeignAddress::Park);
    let mut source = Arc::into_inner(by_name.into_values().next().unwrap()).unwrap();
    let row = source.event_types.remove("row").unwrap();
    source.event_types.insert("customers/*".to_owned(), row);
    source.ignored = ["*", "customers/del*", "customers/*", "orders/paid"]
        .map(str::to_owned)
        .into();
    let handling = |source: &Source, event_type: &str| match source.handling(event_type) {
        TypeHandling::Mapped { name, .. } => format!("mapped as {name}"),
        TypeHandling::Ignored => "ignored".to_owned(),
        TypeHandling::Unknown => "unknown".to_owned(),
    };
    for (event_type, expected) in [
        ("customers/create", "mapped as customers/*"),
        ("customers/", "mapped as customers/*"),
        ("customers/delete", "ignored"),
        ("customers", "ignored"),
        ("orders/paid", "ignored"),
        ("*", "ignored"),
    ] {
        assert_eq!(handling(&source, event_type), expected, "{event_type}");
    }
    source.ignored.remove("*");
    for (event_type, expected) in [
        ("customers", "unknown"),
        ("orders/paid", "ignored"),
        ("orders/paid/twice", "unknown"),
    ] {
        assert_eq!(handling(&source, event_type), expected, "{event_type}");
    }
}

/// FAULTS N349: the condition of a mapping reads a header. The bridge stores the header, so that it can map the event
/// again, but the header is no content of the event.
#[test]
fn a_header_that_the_condition_reads_is_stored_with_the_event() {
    let rules = MappingRules {
        when: Some("header(\"x-shop\") == \"eu\"".to_owned()),
        imprint_id: Some(".id".to_owned()),
        update: [("email".to_owned(), ".email".to_owned())].into(),
        ..MappingRules::default()
    };
    let Sources { by_name, .. } = shop(ForeignAddress::Park);
    let mut source = Arc::into_inner(by_name.into_values().next().unwrap()).unwrap();
    let event_type = source.event_types.get_mut("row").unwrap();
    event_type.mapping = Mapping::compile(&rules).unwrap();
    let sources = Sources::new([Arc::new(source)], SETTINGS);
    let source = sources.get(&name()).unwrap();
    assert_eq!(Vec::from_iter(source.read_headers()), ["x-shop"]);
    let rows = json!({"rows": [row(&json!({"email": "a@example.com"}))]}).to_string();
    let entry = |shop: Option<&str>| {
        let headers = shop.map(|shop| json!({"x-shop": shop, "x-other": "canary"}));
        let headers = headers
            .as_ref()
            .map(RequestHeaders::of_json)
            .unwrap_or_default();
        let message = RequestMessage {
            headers: &headers,
            body: rows.as_bytes(),
        };
        let encoding = Encoding::of_body(source, rows.as_bytes());
        let entries = sources.entries(source, &encoding, message, &CONTEXT);
        entries.unwrap().entries.remove(0)
    };
    let (eu, us, none) = (entry(Some("eu")), entry(Some("us")), entry(None));
    assert!(matches!(eu.disposition, Disposition::Enqueue(_)));
    for ignored in [&us, &none] {
        let condition = Disposition::Ignore(IgnoreReason::Condition.into());
        assert_eq!(ignored.disposition, condition);
    }
    assert_eq!((eu.digest, eu.digest), (us.digest, none.digest));
    let stored: Value = serde_json::from_slice(&eu.event).unwrap();
    assert_eq!(stored["request_headers"], json!({"x-shop": "eu"}));
    let remap = |entry: &NewEntry| {
        let mapped = sources.remap(&name(), &entry.event_type, &entry.event, AGAIN);
        mapped.unwrap()
    };
    assert!(matches!(remap(&eu), ReplayChange::Mapped(_)));
    let condition = ReplayChange::Ignored(IgnoreReason::Condition.into());
    assert_eq!(remap(&us), condition);
    let explained = sources.explain_entry(
        EntryEvent {
            identity: &eu.identity,
            event_type: &eu.event_type,
            bytes: &eu.event,
            is_invalid: false,
        },
        NOW,
        Visibility::Masked,
    );
    let explained = serde_json::to_value(explained.unwrap()).unwrap();
    assert_eq!(explained["outcome"], "request");
    let when = &explained["fields"][0];
    assert_eq!(when["reads"], json!(["header(\"x-shop\")"]), "{when}");
}

/// FAULTS N1090: the stored form of an event says whether it has request headers, and the current mapping does not.
#[test]
fn a_stored_event_keeps_its_headers_apart_under_every_mapping() {
    let members = json!({"specversion": {}, "id": {}, "source": {}, "type": {}, "data": {}});
    let strict = json!({"properties": members, "additionalProperties": false});
    let cloud_events = |when: Option<&str>| {
        let rules = MappingRules {
            when: when.map(str::to_owned),
            imprint_id: Some(".data.id".to_owned()),
            update: [("email".to_owned(), ".data.email".to_owned())].into(),
            ..MappingRules::default()
        };
        let Sources { by_name, .. } = shop(ForeignAddress::Park);
        let mut source = Arc::into_inner(by_name.into_values().next().unwrap()).unwrap();
        source.json_envelope = None;
        let schema = Schema::compile("row", &strict).unwrap();
        let event_type = EventType::new(schema, Mapping::compile(&rules).unwrap(), None);
        source.event_types = [("row".to_owned(), event_type)].into();
        Sources::new([Arc::new(source)], SETTINGS)
    };
    let plain = cloud_events(None);
    let by_header = cloud_events(Some("header(\"x-shop\") == \"eu\""));
    let headers = RequestHeaders::of_json(&json!({"x-shop": "eu"}));
    let entry = |sources: &Sources, headers: &RequestHeaders, event: &Value| {
        let source = sources.get(&name()).unwrap();
        let body = event.to_string();
        let message = RequestMessage {
            headers,
            body: body.as_bytes(),
        };
        let encoding = Encoding::of_body(source, body.as_bytes());
        let entries = sources.entries(source, &encoding, message, &CONTEXT);
        entries.unwrap().entries.remove(0)
    };
    let remap = |sources: &Sources, entry: &NewEntry| {
        let mapped = sources.remap(&name(), &entry.event_type, &entry.event, AGAIN);
        mapped.unwrap()
    };
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "row",
        "data": {"id": "C-1", "email": "a@example.com"}});
    let stored = entry(&by_header, &headers, &event);
    assert!(matches!(remap(&plain, &stored), ReplayChange::Mapped(_)));
    let mut forged = event;
    forged["request_headers"] = json!({"x-shop": "eu"});
    let none = RequestHeaders::of_json(&json!({"x-shop": null}));
    let stored = entry(&by_header, &none, &forged);
    let ignored = ReplayChange::Ignored(IgnoreReason::Condition.into());
    assert_eq!(remap(&by_header, &stored), ignored);
    assert!(matches!(remap(&plain, &stored), ReplayChange::Mapped(_)));
    // FAULTS N1435: the mapping that stored the event read no header, so nothing is known about x-shop.
    let stored = entry(&plain, &none, &forged);
    let refused = by_header.remap(&name(), &stored.event_type, &stored.event, AGAIN);
    assert_eq!(refused.unwrap_err()[0].rule, "header");
    assert!(matches!(remap(&plain, &stored), ReplayChange::Mapped(_)));
}

/// FAULTS N1097: the sender chooses the number of errors and of names, so the errors of a request compare a bounded number
/// of names.
#[test]
fn the_errors_of_a_request_compare_a_bounded_number_of_names() {
    let sources = shop(ForeignAddress::Park);
    let row = |number: u32, names: u32| {
        let members = (0..names).map(|name| (format!("Id{name:05}"), json!(0)));
        let mut members: serde_json::Map<String, Value> = members.collect();
        members.extend([
            ("event".to_owned(), json!(number)),
            ("type".to_owned(), json!("row")),
            ("I_D".to_owned(), json!("C-1")),
            ("email".to_owned(), json!("a@example.com")),
        ]);
        json!(members)
    };
    let named = |rows: Vec<Value>| {
        let rejection = entries(&sources, &json!(rows)).unwrap_err();
        let details = rejection.errors.iter().map(|error| &error.detail);
        details
            .filter(|detail| detail.contains("The body has a value at"))
            .count()
    };
    assert_eq!(named(vec![row(1, 1)]), 1);
    assert_eq!(named(vec![row(1, 9_000)]), 0);
    assert_eq!(named((0..10).map(|number| row(number, 400)).collect()), 4);
}

/// Creates a source of plain JSON whose expression `body.split` makes the events.
fn split_by(split: &str) -> Sources {
    let envelope = JsonEnvelopeRules {
        split: Some(split.to_owned()),
        id: ".event".to_owned(),
        event_type: ".type".to_owned(),
        time: None,
    };
    let event_types = BTreeMap::from([("row".to_owned(), EventType::new(Schema::compile("row", &json!({"required": ["id"], "properties": {
            "email": {"type": "string"}, "n": {"required": ["city"], "properties": {"city": {"type": "string"}}},
        }})).unwrap(), Mapping::compile(&MappingRules {
            imprint_id: Some(".id".to_owned()),
            ..MappingRules::default()
        }).unwrap(), None))]);
    let made = Source {
        name: name(),
        json_envelope: Some(JsonEnvelope::compile(&envelope, &BTreeMap::new()).unwrap()),
        event_types,
        ignored: ["ping".to_owned()].into(),
        invalid_events: InvalidEventPolicy::default(),
        stored_parts: StoredParts::default(),
        card_numbers: CardNumberPolicy::default(),
    };
    Sources::new([Arc::new(made)], SETTINGS)
}

/// FAULTS N360: an event that `body.split` makes of parts of the body keeps the places of the parts.
#[test]
fn an_error_of_a_made_event_names_its_place_in_the_body() {
    let split = r#".head as $head
        | (.rows // [.row])[]
        | {event: $head.event, type: "row", id: .ids[0], email: .contact.email, n: {city}}"#;
    let sources = split_by(split);
    for (body, expected) in [
        (
            json!({"head": {"event": 1}, "rows": [{"ids": ["a"], "contact": {"email": 7}}]}),
            "/rows/0/contact/email",
        ),
        (
            json!({"head": {"event": 1}, "rows": [{"ids": ["a/b"]}]}),
            "/rows/0/ids/0",
        ),
        (
            json!({"head": {"event": 1}, "row": {"ids": ["a/b"]}}),
            "/row/ids/0",
        ),
        (
            json!({"head": {"event": 1}, "rows": [{"ids": ["a"], "city": 7}]}),
            "/rows/0/city",
        ),
        (
            json!({"head": {"event": true}, "rows": [{"ids": ["a"]}]}),
            "/head/event",
        ),
        (
            json!({"head": {}, "rows": [{"ids": ["a"], "contact": {"email": ""}}]}),
            "/head/event",
        ),
    ] {
        let text = body.to_string();
        let source = sources.get(&name()).unwrap();
        let encoding = Encoding::of_body(source, text.as_bytes());
        let message = RequestMessage {
            headers: &RequestHeaders::default(),
            body: text.as_bytes(),
        };
        let rejection = sources
            .entries(source, &encoding, message, &CONTEXT)
            .unwrap_err();
        assert_eq!(rejection.errors[0].pointer, expected, "{body}");
    }
}
