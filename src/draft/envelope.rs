//! Recognizes where an event has its type and its id.

use std::collections::BTreeSet;

use serde_json::Value;

use super::authentication::Authentication;
use super::body::{BodyFormat, SampleEvents};
use super::fields;
use super::form;
use super::names;
use super::path::{JsonPath, Leaf, Step, quoted};
use super::sample::Sample;
use super::synonyms;

/// The maximum number of event types of a draft. A member with more different values is not the type of an event.
const TYPES_MAX: usize = 20;
/// The event type of a source whose events have no type.
const DEFAULT_TYPE: &str = "customer";
/// The names of objects around the attributes of an event.
const ENVELOPES: [&str; 10] = [
    "attributes",
    "envelope",
    "event",
    "eventinfo",
    "header",
    "headers",
    "meta",
    "metadata",
    "notification",
    "webhook",
];
/// Parts of words for a change or for a customer. A member `type` beside the customer's values is an event type only if
/// its value has such a part.
const EVENT_WORDS: [&str; 20] = [
    "account", "add", "chang", "client", "contact", "creat", "customer", "delet", "identify",
    "insert", "lead", "member", "modif", "person", "profile", "remov", "save", "subscri", "updat",
    "user",
];
/// The names of the kind of object that an event is about.
const ENTITIES: [&str; 11] = [
    "entity",
    "entitytype",
    "entityname",
    "object",
    "objecttype",
    "resource",
    "resourcetype",
    "model",
    "module",
    "table",
    "recordtype",
];
/// The names of an action, which is only a part of an event type.
const ACTIONS: [&str; 6] = [
    "action",
    "operation",
    "changetype",
    "eventaction",
    "op",
    "verb",
];
/// The ends of the names of request headers with an event type.
const TYPE_HEADERS: [&str; 6] = [
    "-topic",
    "-event",
    "-event-type",
    "-event-name",
    "-event-key",
    "-hook-event",
];

/// The expression of `body.id` or `body.type`, with its reason.
#[derive(Debug)]
pub(super) struct EnvelopeRule {
    pub(super) expression: String,
    pub(super) reason: String,
    /// The request header that the expression reads.
    pub(super) header: Option<String>,
}

/// The rule for the event type, with the types of the samples.
#[derive(Debug)]
pub(super) struct TypeRule {
    pub(super) rule: EnvelopeRule,
    pub(super) types: BTreeSet<String>,
}

/// Finds the type of the events. `record` is the object with the customer's values.
pub(super) fn event_type(
    samples: &[Sample],
    events: &SampleEvents,
    found: &[Leaf],
    record: &JsonPath,
) -> TypeRule {
    if let BodyFormat::CloudEvents = events.format {
        let expression = ".type".to_owned();
        let rule = EnvelopeRule {
            expression,
            reason: "the attribute of CloudEvents".to_owned(),
            header: None,
        };
        let types = events
            .events
            .iter()
            .filter_map(|(_, event)| event.get("type")?.as_str());
        return TypeRule {
            rule,
            types: types.map(str::to_owned).collect(),
        };
    }
    let body = body_type(events, found, record);
    let header = header_type(samples);
    let chosen = if record.depth() == 0 {
        header.or(body)
    } else {
        body.or(header)
    };
    chosen.unwrap_or_else(|| TypeRule {
        rule: EnvelopeRule {
            expression: quoted(DEFAULT_TYPE),
            reason: "a constant, because neither the body nor a header names a type".to_owned(),
            header: None,
        },
        types: BTreeSet::from([DEFAULT_TYPE.to_owned()]),
    })
}

fn body_type(events: &SampleEvents, found: &[Leaf], record: &JsonPath) -> Option<TypeRule> {
    let count = events.events.len();
    let is_type = |leaf: &Leaf| {
        leaf.count == count
            && leaf.values.len() <= TYPES_MAX
            && leaf.values.iter().all(form::is_word)
            && is_in_envelope(&leaf.path, record)
            && (leaf.path.parent() != *record || form::all(leaf, is_event_word))
    };
    let is_change = |leaf: &Leaf| is_type(leaf) && form::all(leaf, fields::names_a_change);
    let leaf = fields::best(found, &synonyms::EVENT_TYPES, None, is_change)
        .or_else(|| fields::best(found, &synonyms::EVENT_TYPES, None, is_type))?;
    let path = leaf.path.expression();
    let is_action = names::position(leaf.path.last_name(), &ACTIONS).is_some();
    let is_entity = |leaf: &Leaf| {
        let is_word = leaf.values.iter().all(form::is_word);
        leaf.count == count && is_word && is_in_envelope(&leaf.path, record)
    };
    let entity = fields::best(found, &ENTITIES, None, is_entity);
    if let Some(entity) =
        entity.filter(|entity| is_action && entity.path.parent() == leaf.path.parent())
    {
        let types = events.events.iter().filter_map(|(_, event)| {
            Some(format!(
                "{}.{}",
                text_at(event, &entity.path)?,
                text_at(event, &leaf.path)?
            ))
        });
        let expression = format!("\"\\({}).\\({path})\"", entity.path.expression());
        let rule = EnvelopeRule {
            expression,
            reason: "the names of the two members".to_owned(),
            header: None,
        };
        return Some(TypeRule {
            types: types.collect(),
            rule,
        });
    }
    let types = leaf.present().filter_map(Value::as_str).map(str::to_owned);
    let rule = EnvelopeRule {
        expression: path,
        reason: "the name of the member".to_owned(),
        header: None,
    };
    Some(TypeRule {
        types: types.collect(),
        rule,
    })
}

/// Returns the text at a path that consists of member names.
fn text_at(event: &Value, path: &JsonPath) -> Option<String> {
    let value = path
        .steps()
        .iter()
        .try_fold(event, |value, step| match step {
            Step::Member(name) => value.get(name),
            Step::First | Step::Marked(_) | Step::Entry(_) => None,
        });
    value?.as_str().map(str::to_owned)
}

fn header_type(samples: &[Sample]) -> Option<TypeRule> {
    let headers = &samples.first()?.headers;
    let is_type = |name: &str| TYPE_HEADERS.iter().any(|end| name.ends_with(end));
    let names = headers
        .iter()
        .map(|(name, _)| name)
        .filter(|name| is_type(name));
    let mut rules = names.filter_map(|name| {
        let values = samples.iter().map(|sample| sample.header(name));
        let values: Option<Vec<&str>> = values.collect();
        let values = values?;
        let is_word = |value: &&str| form::is_word(&Value::from(*value));
        values.iter().all(is_word).then(|| TypeRule {
            types: values.into_iter().map(str::to_owned).collect(),
            rule: EnvelopeRule {
                expression: format!("header({})", quoted(name)),
                reason: "the name of the request header".to_owned(),
                header: Some(name.clone()),
            },
        })
    });
    rules.next()
}

/// Returns whether a path is the path of an attribute of the event, and not of a value of the customer.
fn is_in_envelope(path: &JsonPath, record: &JsonPath) -> bool {
    let parent = path.parent();
    let is_plain = path
        .steps()
        .iter()
        .all(|step| matches!(step, Step::Member(_)));
    let is_known = match parent.names().as_slice() {
        [] => true,
        [name] => is_envelope(name) || record.starts_with(&parent),
        [_, ..] => record.starts_with(&parent),
    };
    is_plain && is_known && (record.depth() == 0 || !path.starts_with(record))
}

/// Returns whether a name is the name of an object around the attributes of an event.
fn is_envelope(name: &str) -> bool {
    ENVELOPES.contains(&names::words(name).concat().as_str())
}

fn is_event_word(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().to_lowercase();
    EVENT_WORDS.iter().any(|word| text.contains(word))
}

/// Finds the id of the events. `customer` is the path of the customer's id, which is not the id of an event.
pub(super) fn event_id(
    samples: &[Sample],
    events: &SampleEvents,
    (found, record, customer): (&[Leaf], &JsonPath, Option<&JsonPath>),
    authentication: &Authentication,
) -> EnvelopeRule {
    let count = events.events.len();
    let is_unique = |leaf: &Leaf| {
        leaf.count == count && leaf.has_value() && (count == 1 || leaf.values.len() > 1)
    };
    let is_id = |leaf: &Leaf| {
        is_unique(leaf)
            && form::all(leaf, form::is_id)
            && is_in_envelope(&leaf.path, record)
            && customer != Some(&leaf.path)
    };
    // A member `id` can be the id of a record, which is the same in every event. The bridge would refuse the second event
    // with the same id. So the member counts only in an object that names the type of a change.
    let is_own = |leaf: &Leaf| {
        let object = leaf.path.parent();
        let is_outer = object.depth() == 0 || is_envelope(object.last_name());
        is_id(leaf) && is_outer && customer.is_some() && fields::is_event(found, &object)
    };
    let named = fields::best(found, &synonyms::EVENT_IDS, None, is_id);
    if let Some(leaf) = named.or_else(|| fields::best(found, &["id", "uuid"], None, is_own)) {
        return EnvelopeRule {
            expression: leaf.path.expression(),
            reason: "the name of the member".to_owned(),
            header: None,
        };
    }
    let is_split = matches!(&events.format, BodyFormat::Json { split: Some(_) });
    let header = samples.first().and_then(|sample| {
        let is_id = |name: &str| {
            name == "webhook-id"
                || name == "svix-id"
                || name.ends_with("-delivery")
                || name.ends_with("-event-id")
        };
        sample
            .headers
            .iter()
            .map(|(name, _)| name)
            .find(|name| is_id(name))
    });
    // A signature that does not cover the header would let an attacker hide an event behind a known id.
    if let Some(header) = header.filter(|_| !is_split && !authentication.is_signature) {
        return EnvelopeRule {
            expression: format!("header({})", quoted(header)),
            reason: "the name of the request header".to_owned(),
            header: Some(header.clone()),
        };
    }
    EnvelopeRule {
        expression: "digest".to_owned(),
        reason: "a digest of the whole event, because the events have no id of their own"
            .to_owned(),
        header: None,
    }
}
