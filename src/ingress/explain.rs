//! What a body comes to and why, without anything being kept: for people who write mappings, and for their examples.
//!
//! It goes through the same stages as a body that is posted, so what it says is what will happen.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::event::{Attribute, ChangeEvent, EventError, Identity, SourceName, Visibility};
use crate::imprint::clearing::Clearing;
use crate::imprint::{CustomerChange, CustomerRef, Field, FieldValue, Update};
use crate::ingress::examine::{Examination, Examined};
use crate::ingress::form::Form;
use crate::ingress::{Refusal, Source};
use crate::mapping::{ForeignAddress, MappingExplanation, RuleExplanation, RuleResult};
use crate::outbox::Disposition;
use crate::time::Timestamp;

/// Imprint's path of a customer, before the id.
const CUSTOMERS: &str = "/v2/customers/";

/// What an explanation needs to know beside sources and events.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What becomes of an address outside the USA.
    pub foreign_address: ForeignAddress,
    /// What is sent for a cleared field.
    pub clearing: Clearing,
    /// How many events a body may have.
    pub events_max: usize,
    /// The newest moment that a version may name.
    pub newest: Timestamp,
    /// Whether values are shown.
    pub show: Visibility,
}

/// Which fields of an update would be sent, where somebody knows what Imprint has already.
pub type Fresh<'a> = Option<&'a dyn Fn(&CustomerChange) -> Vec<Field>>;

/// Explains a body as it would be posted to a source: one part for each of its events.
pub fn explain(name: &SourceName, source: &Source, terms: Terms, body: &[u8]) -> Value {
    let form = Form::of_body(source, body);
    let explained = form
        .decode(name, body, terms.events_max)
        .map(|events| events_of(source, (&form, terms), events));
    match explained {
        Ok(events) => json!({"source": name.as_str(), "events": events}),
        Err(refusal) => json!({
            "source": name.as_str(), "events": [],
            "outcome": "refused", "problem": problem(&refusal),
        }),
    }
}

fn events_of(
    source: &Source,
    (form, terms): (&Form<'_>, Terms),
    events: Vec<Result<ChangeEvent, Vec<EventError>>>,
) -> Vec<Value> {
    let examination = examination(source, terms, form.is_batch());
    let parts = events.into_iter().enumerate().map(|(index, event)| {
        let told = event.as_ref().ok().map(|event| Told {
            id: event.identity.id.as_str().to_owned(),
            event_type: event.event_type.as_str().to_owned(),
            envelope: event.envelope.clone(),
        });
        let examined = examination.examined(index, event);
        part(source, terms, (told, examined), None)
    });
    parts.collect()
}

/// Explains an event that was kept, by the schema and the mapping of today; nothing where it cannot be read.
pub fn explain_kept(
    sources: &BTreeMap<SourceName, Source>,
    (identity, event_type): (&Identity, &Attribute),
    terms: Terms,
    event: &[u8],
    fresh: Fresh<'_>,
) -> Option<Value> {
    let source = sources.get(&identity.source)?;
    let envelope: Value = serde_json::from_slice(event).ok()?;
    let event = ChangeEvent {
        identity: identity.clone(),
        event_type: event_type.clone(),
        envelope: envelope.clone(),
    };
    let told = Told {
        id: identity.id.as_str().to_owned(),
        event_type: event_type.as_str().to_owned(),
        envelope,
    };
    let examined = examination(source, terms, false).examined(0, Ok(event));
    Some(part(source, terms, (Some(told), examined), fresh))
}

/// The events of a body as schema and mapping of their types read them, each with its type; those that cannot be read
/// are left out.
pub fn views(
    name: &SourceName,
    source: &Source,
    events_max: usize,
    body: &[u8],
) -> Vec<(String, Value)> {
    let events = Form::of_body(source, body).decode(name, body, events_max);
    let view = |event: ChangeEvent| {
        let kind = source.event_types.get(event.event_type.as_str())?;
        let view = kind.view(&event.envelope).clone();
        Some((event.event_type.as_str().to_owned(), view))
    };
    let events = events.into_iter().flatten().flatten();
    events.filter_map(view).collect()
}

const fn examination(source: &Source, terms: Terms, is_batch: bool) -> Examination<'_> {
    Examination {
        source,
        is_batch,
        newest: terms.newest,
        foreign_address: terms.foreign_address,
    }
}

/// What an event calls itself.
struct Told {
    id: String,
    event_type: String,
    envelope: Value,
}

fn part(
    source: &Source,
    terms: Terms,
    (told, examined): (Option<Told>, Examined),
    fresh: Fresh<'_>,
) -> Value {
    let mut part = Map::new();
    let mut put = |key: &str, value: Value| {
        part.insert(key.to_owned(), value);
    };
    let mut sent = None;
    match examined {
        Err(refusal) => {
            put("outcome", json!("refused"));
            put("problem", problem(&refusal));
        }
        Ok(Disposition::Ignore) => put("outcome", json!("ignored")),
        Ok(Disposition::Enqueue(change)) => {
            put("outcome", json!("request"));
            put_request(&mut put, terms, &change);
            sent = fresh.map(|fresh| fresh(&change));
        }
        Ok(Disposition::Park(change, reason)) => {
            put("outcome", json!("parked"));
            put("parked", json!(reason.as_str()));
            put_request(&mut put, terms, &change);
            sent = fresh.map(|fresh| fresh(&change));
        }
    }
    if let Some(told) = told {
        put("id", json!(told.id));
        put("type", json!(told.event_type));
        if let Some(kind) = source.event_types.get(&told.event_type) {
            let root = if kind.is_plain { "" } else { "/data" };
            let explanation = kind.mapping.explain(kind.view(&told.envelope), root);
            put_lines(&mut put, terms.show, &explanation, sent.as_deref());
        }
    }
    Value::Object(part)
}

fn put_request(put: &mut impl FnMut(&str, Value), terms: Terms, change: &CustomerChange) {
    put("request", request(terms, &change.customer, &change.update));
    put(
        "version",
        json!({"epoch": change.version.epoch, "value": change.version.value}),
    );
    let is_cleared = |(_, fact): &(&Field, &FieldValue)| **fact == FieldValue::Cleared;
    let cleared = change.update.iter().filter(is_cleared);
    let cleared: Vec<String> = cleared.map(|(field, _)| field.to_string()).collect();
    put("cleared", json!(cleared));
}

fn request(terms: Terms, customer: &CustomerRef, update: &Update) -> Value {
    let mut request = Map::new();
    if let Some(id) = customer.imprint() {
        request.insert("method".to_owned(), json!("POST"));
        request.insert(
            "path".to_owned(),
            json!(format!("{CUSTOMERS}{}", id.as_str())),
        );
    }
    if let Some(id) = customer.partner() {
        request.insert("partner_id".to_owned(), json!(id.as_str()));
    }
    let body = terms.show.object(&update.body(terms.clearing).to_object());
    request.insert("body".to_owned(), body);
    Value::Object(request)
}

fn put_lines(
    put: &mut impl FnMut(&str, Value),
    show: Visibility,
    explanation: &MappingExplanation,
    sent: Option<&[Field]>,
) {
    let lines = explanation
        .rules
        .iter()
        .map(|line| told_line(line, show, sent));
    put("fields", lines.collect());
    put("unused", json!(explanation.unused));
}

fn told_line(line: &RuleExplanation, show: Visibility, sent: Option<&[Field]>) -> Value {
    let mut told = json!({
        "target": line.target, "expression": line.expression, "reads": line.reads,
        "slow": line.is_interpreted,
    });
    let (word, more) = match &line.result {
        RuleResult::Absent => ("nothing", None),
        RuleResult::Cleared => ("cleared", None),
        RuleResult::Value(value) => ("value", Some(("value", show.value(value)))),
        RuleResult::Refused(refused) => ("refused", Some(("fault", fault(refused)))),
    };
    if let Some(object) = told.as_object_mut() {
        object.insert("says".to_owned(), json!(word));
        object.extend(more.map(|(key, value)| (key.to_owned(), value)));
        let field = Field::parse(&line.target).filter(|_| matches!(word, "value" | "cleared"));
        if let (Some(sent), Some(field)) = (sent, field) {
            object.insert("stale".to_owned(), json!(!sent.contains(&field)));
        }
    }
    told
}

fn problem(refusal: &Refusal) -> Value {
    let faults: Vec<Value> = refusal.faults().iter().map(fault).collect();
    json!({"type": refusal.word(), "faults": faults})
}

fn fault(fault: &EventError) -> Value {
    json!({
        "pointer": fault.pointer, "rule": fault.rule,
        "location": fault.location, "detail": fault.detail,
    })
}
