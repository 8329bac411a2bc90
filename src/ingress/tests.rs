//! Tests of the event listener from the view of a sender.

mod accept;
mod fake;
mod limits;
mod prefer;
mod receipt;
mod refuse;
mod signed;
mod surface;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_web::dev::{Payload, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::HeaderMap;
use actix_web::test::{self, TestRequest};
use actix_web::web::{Bytes, Data};
use actix_web::{App, http};
use futures_util::{Stream, StreamExt as _};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::event::SourceName;
use crate::imprint::clearing::{AddressClearing, Clearing, FieldClearing};
use crate::ingress::auth::{SecretMinimum, SigningKey, TokenScheme, Verifier};
use crate::intake::schema::Schema;
use crate::intake::{
    BrakePolicy, CardNumberPolicy, EventType, ForeignAddress, IntakeSettings, InvalidEventPolicy,
    Source, StoredParts,
};
use crate::mapping::{
    JsonEnvelope, JsonEnvelopeRules, Mapping, MappingRules, VersionDomain, VersionRule,
};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const TOKEN: &str = "token-of-the-crm-0123";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const JSON: (&str, &str) = ("content-type", "application/json");

const SETTINGS: Settings = Settings {
    body: BodyLimits {
        body_bytes_max: 256 * 1024,
        body_deadline: Duration::from_secs(10),
    },
    bodies_bytes_max: 1024 * 1024,
    quota: QuotaLimits::NONE,
    brake: BrakePolicy::Off,
    intake: IntakeSettings {
        batch_events_max: 100,
        version_ahead_max: Duration::from_mins(5),
        foreign_address: ForeignAddress::Park,
        clearing: Clearing {
            fields: FieldClearing::Omit,
            address: AddressClearing::Verify,
        },
    },
};

#[derive(Clone, Copy)]
struct Settings {
    body: BodyLimits,
    bodies_bytes_max: usize,
    quota: QuotaLimits,
    brake: BrakePolicy,
    intake: IntakeSettings,
}

/// An event listener with three sources: `open`, `bearer` and `signed`.
struct TestListener {
    outbox: Arc<fake::Fake>,
    stop: watch::Sender<bool>,
    ingress: Data<Ingress>,
}

fn bearer(tokens: &[SecretString]) -> Verifier {
    Verifier::token(TokenScheme::Bearer, tokens, SecretMinimum::default()).unwrap()
}

fn webhooks(secrets: &[SecretString]) -> Verifier {
    Verifier::standard_webhooks(secrets, SecretMinimum::default()).unwrap()
}

/// The listener's response to a sender.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl TestListener {
    fn new() -> Self {
        Self::with(SETTINGS)
    }

    fn with(settings: Settings) -> Self {
        let secrets = [SecretString::from(SECRET)];
        let tokens = [SecretString::from(TOKEN)];
        let sources = [
            ("open", Verifier::none()),
            ("bearer", bearer(&tokens)),
            ("signed", webhooks(&secrets)),
        ];
        Self::of(
            sources.map(|(name, verifier)| (source(name), verifier)),
            settings,
        )
    }

    fn of<const LEN: usize>(sources: [(Source, Verifier); LEN], settings: Settings) -> Self {
        let outbox = Arc::new(fake::Fake::default());
        let (stop, stopping) = watch::channel(false);
        let endpoint = |(source, verifier): (Source, Verifier)| Endpoint {
            unsigned_headers: match source.name.as_str() {
                "relaxed" => [PRIORITY.to_owned()].into(),
                _ => BTreeSet::new(),
            },
            read_headers: source.read_headers(),
            fields: FieldCounts::new(&source, &counts()),
            source: Arc::new(source),
            verifier: Replaceable::new(verifier),
            allowed_origins: ["crm.example.com".to_owned()].into(),
            quota: Arc::new(SourceQuota::new(settings.quota, NOW)),
            brake: SourceBrake::new(settings.brake),
        };
        let endpoints = sources.map(|source| Arc::new(endpoint(source)));
        let endpoints = Endpoints::new(endpoints, settings.intake);
        let ingress = Ingress {
            endpoints: Arc::new(Replaceable::new(endpoints)),
            outbox: Arc::<fake::Fake>::clone(&outbox),
            clock: Clock::manual(NOW),
            limits: settings.body,
            budget: BodyBudget::new(settings.bodies_bytes_max),
            counts: counts(),
            denied: Arc::default(),
            refused: Arc::default(),
            traces: None,
            stopping,
        };
        Self {
            outbox,
            stop,
            ingress: Data::new(ingress),
        }
    }

    async fn send(&self, request: TestRequest) -> Reply {
        self.serve(request, None).await
    }

    async fn send_stream(
        &self,
        request: TestRequest,
        body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
    ) -> Reply {
        self.serve(request, Some(stream_payload(body))).await
    }

    async fn serve(&self, request: TestRequest, payload: Option<Payload>) -> Reply {
        let response = self.respond(request, payload).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = test::read_body(response).await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        Reply {
            status,
            headers,
            text,
        }
    }

    async fn respond(&self, request: TestRequest, payload: Option<Payload>) -> ServiceResponse {
        let ingress = Data::clone(&self.ingress);
        let app = App::new().configure(|config| configure(config, ingress));
        let app = test::init_service(app).await;
        let mut request = request.to_request();
        if let Some(payload) = payload {
            (request, _) = request.replace_payload(payload);
        }
        test::call_service(&app, request).await
    }

    /// Posts one event in structured mode to the open source.
    async fn post(&self, event: &Value) -> Reply {
        self.send(post("open", STRUCTURED, event)).await
    }

    fn stored_count(&self) -> usize {
        self.outbox.entries().len()
    }

    fn refused_count(&self, word: &str) -> u64 {
        let rejected = self.ingress.counts.snapshot().rejected;
        rejected.get(word).copied().unwrap_or_default()
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts that the response is a problem document of this status and type, and that the response repeats no value
    /// of the event.
    #[track_caller]
    fn is_problem(&self, status: u16, word: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let expected = format!("urn:imprint-bridge:problem:{word}");
        assert_eq!(self.json()["type"], expected, "{}", self.text);
        assert!(!self.text.contains("canary"), "{}", self.text);
    }

    fn errors(&self) -> Vec<(String, String)> {
        let errors = self.json()["faults"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        errors
            .iter()
            .map(|error| (text(&error["pointer"]), text(&error["rule"])))
            .collect()
    }

    fn statuses(&self) -> Vec<String> {
        let accepted = self.json()["accepted"].as_array().cloned().unwrap();
        let status = |event: &Value| event["status"].as_str().unwrap().to_owned();
        accepted.iter().map(status).collect()
    }
}

fn stream_payload(body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static) -> Payload {
    Payload::Stream {
        payload: body.boxed_local(),
    }
}

fn source(name: &str) -> Source {
    let kind = |domain| EventType {
        epoch: 2,
        ..EventType::new(
            Schema::compile("customer", &schema()).unwrap(),
            mapping(domain),
            None,
        )
    };
    Source {
        name: SourceName::parse(name).unwrap(),
        json_envelope: None,
        event_types: [
            ("customer.changed".to_owned(), kind(VersionDomain::Sequence)),
            ("customer.timed".to_owned(), kind(VersionDomain::Time)),
        ]
        .into(),
        ignored: ["customer.viewed".to_owned()].into(),
        invalid_events: InvalidEventPolicy::default(),
        stored_parts: StoredParts::default(),
        card_numbers: CardNumberPolicy::default(),
    }
}

fn schema() -> Value {
    let customer = json!({
        "type": "object",
        "required": ["email"],
        "properties": {"email": {"type": ["string", "null"]}},
    });
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {"type": "object", "required": ["customer"], "properties": {"customer": customer}},
        },
    })
}

fn mapping(domain: VersionDomain) -> Mapping {
    let expression = match domain {
        VersionDomain::Sequence => ".data.customer.revision",
        VersionDomain::Time => ".data.customer.changed_at",
    };
    let rules = MappingRules {
        imprint_id: Some(".data.customer.imprint_customer_id".to_owned()),
        version: Some(VersionRule {
            expression: expression.to_owned(),
            domain,
        }),
        partner_id: Some(".data.customer.id".to_owned()),
        update: [
            ("email", ".data.customer.email"),
            ("city", ".data.customer.city"),
            ("customer_history.address.city", ".data.customer.city"),
            (
                "customer_history.address.country",
                ".data.customer.country | alpha3",
            ),
        ]
        .map(|(field, expression)| (field.to_owned(), expression.to_owned()))
        .into(),
        ..MappingRules::default()
    };
    Mapping::compile(&rules).unwrap()
}

fn counts() -> metrics::IngressMetrics {
    metrics::Metrics::new(metrics::LabelSets::default(), metrics::LogCounters::NONE)
        .unwrap()
        .ingress
}

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/crm/us",
        "type": "customer.changed",
        "data": {"customer": {"imprint_customer_id": "C-1", "revision": 7, "email": "canary@example.com"}},
    })
}

/// Returns a test event with `value` at `pointer`.
fn event_with(id: &str, pointer: &str, value: Value) -> Value {
    let mut event = event(id);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[name] = value;
    event
}

fn post(source: &str, content_type: (&'static str, &'static str), body: &Value) -> TestRequest {
    TestRequest::post()
        .uri(&format!("/v1/sources/{source}/events"))
        .insert_header(content_type)
        .set_payload(body.to_string())
}

fn binary(request: TestRequest, id: &str) -> TestRequest {
    request
        .insert_header(JSON)
        .insert_header(("ce-specversion", "1.0"))
        .insert_header(("ce-id", id))
        .insert_header(("ce-source", "/crm/us"))
        .insert_header(("ce-type", "customer.changed"))
}

fn signed(request: TestRequest, id: &str, body: &[u8]) -> TestRequest {
    let key = SigningKey::parse(&SecretString::from(SECRET)).unwrap();
    let headers = key.sign(id, NOW, body);
    headers
        .into_iter()
        .fold(request, TestRequest::insert_header)
}

#[actix_web::test]
async fn one_listener_state_serves_all_workers() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Ingress>();
}
