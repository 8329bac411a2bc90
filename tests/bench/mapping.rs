//! Measures the cost of an event before the store: parsing, validation, mapping, and single mapping expressions.
#![expect(
    clippy::unwrap_used,
    reason = "an unexpected error must stop the benchmark"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use imprint_bridge::config::{Config, Purpose, sources};
use imprint_bridge::event::{RequestHeaders, TraceReading};
use imprint_bridge::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
use imprint_bridge::intake::{
    CardNumberPolicy, Encoding, EntryContext, EventType, ForeignAddress, IntakeSettings,
    MappedBody, RequestMessage, Source, Sources, StoredParts,
};
use imprint_bridge::mapping::{Mapping, MappingRules};
use imprint_bridge::outbox::Priority;
use imprint_bridge::time::Timestamp;
use serde_json::{Value, json};

fn event() -> Value {
    let event = include_str!("../../config/sources/crm/customer-changed.event.json");
    serde_json::from_str(event).unwrap()
}

const INTAKE: IntakeSettings = IntakeSettings {
    batch_events_max: 1,
    version_ahead_max: Duration::from_mins(5),
    foreign_address: ForeignAddress::Park,
    clearing: Clearing {
        fields: FieldClearing::Omit,
        address: AddressClearing::Verify,
    },
};

/// Runs a body through intake.
fn entries(sources: &Sources, source: &Source, body: &[u8]) -> MappedBody {
    let headers = RequestHeaders::default();
    let message = RequestMessage {
        headers: &headers,
        body,
    };
    let now = Timestamp::from_millis(1_800_000_000_000);
    let context = EntryContext {
        accepted_at: now,
        wall_time: now,
        priority: Priority::Live,
        digest_key: [7; 32],
        traces: TraceReading::Off,
    };
    let encoding = Encoding::of_body(source, body);
    sources
        .entries(source, &encoding, message, &context)
        .unwrap()
}

/// Loads the event type of the source `crm`, which maps a whole customer to 26 fields.
fn shipped() -> EventType {
    shipped_source()
        .event_types
        .remove("customer.changed")
        .unwrap()
}

fn shipped_source() -> Source {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.toml");
    let text = format!(
        "sources_dir = {:?}\nschemas_dir = {:?}\n",
        root.join("config/sources"),
        root.join("schemas")
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::read_apart(&[file], Purpose::Check).unwrap();
    let mut sources = sources::read(&config).unwrap();
    Arc::into_inner(sources.remove(0).source).unwrap()
}

fn whole_customer(criterion: &mut Criterion) {
    let (kind, event) = (shipped(), event());
    let fields = kind.mapping.fields().count();
    criterion.bench_function(&format!("map a customer of {fields} fields"), |bencher| {
        bencher.iter(|| black_box(kind.mapping.map(black_box(&event))));
    });
    criterion.bench_function("validate it", |bencher| {
        bencher.iter(|| black_box(kind.schema.errors(black_box(&event))));
    });
    for (name, unneeded) in [("nothing", 0), ("twenty members", 20)] {
        let mut event = event.clone();
        let customer = event.pointer_mut("/data/customer");
        let customer = customer.and_then(Value::as_object_mut).unwrap();
        customer.extend((0..unneeded).map(|number| {
            let value = json!("a value of usual length");
            (format!("unneeded_{number}"), value)
        }));
        let body = event.to_string();
        for (kept, parts, cards) in [
            ("whole", StoredParts::All, CardNumberPolicy::Keep),
            (
                "described",
                StoredParts::Described,
                CardNumberPolicy::Refuse,
            ),
        ] {
            let source = Source {
                stored_parts: parts,
                card_numbers: cards,
                ..shipped_source()
            };
            let source = Arc::new(source);
            let sources = Sources::new([Arc::clone(&source)], INTAKE);
            let label = format!("take an event with {name} to drop, kept {kept}");
            criterion.bench_function(&label, |bencher| {
                bencher.iter(|| entries(&sources, &source, black_box(body.as_bytes())));
            });
        }
    }
    let bytes = event.to_string();
    criterion.bench_function("parse it", |bencher| {
        bencher.iter(|| black_box(serde_json::from_str::<Value>(black_box(&bytes))));
    });
}

/// Measures single mapping expressions.
fn expressions(criterion: &mut Criterion) {
    let rows = [("Gold".to_owned(), "GOLD".to_owned())];
    for expression in [
        ".data.customer.email",
        "[.data.customer.email] | first",
        ".data.customer.phone | e164(\"US\")",
        ".data.customer.language | language",
        ".data.customer.address.country | alpha3",
        ".data.customer.loyalty.tier | lookup(\"tiers\")",
        "months_since(.data.customer.member_since; .time)",
        ".data.customer.lifetime_value | minor_units(.amount; .currency)",
        "\"\\(.data.customer.name.first) \\(.data.customer.name.last)\"",
        "if .data.customer.loyalty.tier == \"Gold\" then \"yes\" else \"no\" end",
        ".data.customer.name | [.first, .last] | map(select(. != null)) | join(\" \")",
    ] {
        let rules = MappingRules {
            partner_id: Some("\"C1\"".to_owned()),
            update: BTreeMap::from([("metadata.k".to_owned(), expression.to_owned())]),
            tables: BTreeMap::from([("tiers".to_owned(), Arc::new(BTreeMap::from(rows.clone())))]),
            ..MappingRules::default()
        };
        let mapping = Mapping::compile(&rules).unwrap();
        let event = event();
        assert!(mapping.map(&event).is_ok(), "{expression}");
        criterion.bench_function(expression, |bencher| {
            bencher.iter(|| black_box(mapping.map(black_box(&event))));
        });
    }
    let nothing = MappingRules {
        partner_id: Some("\"C1\"".to_owned()),
        ..MappingRules::default()
    };
    let mapping = Mapping::compile(&nothing).unwrap();
    criterion.bench_function("no field at all", |bencher| {
        bencher.iter(|| black_box(mapping.map(black_box(&json!({})))));
    });
}

criterion_group!(benches, whole_customer, expressions);
criterion_main!(benches);
