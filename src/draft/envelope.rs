//! Recognizes where an event has its type and its id.

use std::collections::BTreeSet;

use serde_json::Value;

use super::body::{BodyFormat, SampleEvents};
use super::field_draft;
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

/// Parts of the types of test events.
const TEST_WORDS: [&str; 5] = ["challenge", "handshake", "ping", "test", "verification"];

/// The maximum number of types or members that a sentence names.
pub(super) const TYPES_NAMED_MAX: usize = 5;
/// The expression of `body.id` or `body.type`, with its reason.
#[derive(Debug)]
pub(super) struct EnvelopeRule {
    pub(super) expression: String,
    pub(super) reason: String,
    /// The request header that the expression reads.
    pub(super) header: Option<String>,
    /// The sentences about what is doubtful.
    pub(super) decision: Option<String>,
}

impl EnvelopeRule {
    pub(super) fn new(expression: String, reason: &str) -> Self {
        Self {
            expression,
            reason: reason.to_owned(),
            header: None,
            decision: None,
        }
    }

    /// Returns the rule that reads a member. Says so if some events do not have the member.
    pub(super) fn member(leaf: &Leaf, count: usize, setting: &str) -> Self {
        let path = leaf.path.expression();
        let absent = count.saturating_sub(leaf.events.len());
        let lack = || {
            format!(
                "{absent} of the {count} events of the samples lack the member `{path}`, which {setting} reads. The bridge refuses such an event."
            )
        };
        Self {
            decision: (absent > 0).then(lack),
            ..Self::new(path.clone(), "the name of the member")
        }
    }

    pub(super) fn decide(&mut self, sentence: &str) {
        let decision = self.decision.get_or_insert_default();
        if !decision.is_empty() {
            decision.push(' ');
        }
        decision.push_str(sentence);
    }
}

/// The rule for the event type, with the types of the samples.
#[derive(Debug)]
pub(super) struct TypeRule {
    pub(super) rule: EnvelopeRule,
    pub(super) types: BTreeSet<String>,
    /// The members that the rule reads. The type is their values, with a dot between them.
    pub(super) members: Vec<JsonPath>,
}

impl TypeRule {
    /// Returns the type of another event, if the rule reads the type from its members.
    pub(super) fn of(&self, event: &Value) -> Option<String> {
        let texts = self.members.iter().map(|path| text_at(event, path));
        let texts: Option<Vec<String>> = texts.collect();
        texts
            .map(|texts| texts.join("."))
            .filter(|name| form::is_word(&Value::from(name.as_str())))
    }
}

/// Finds the type of the events. `record` is the object with the customer's values.
pub(super) fn event_type(
    samples: &[Sample],
    events: &SampleEvents,
    found: &[Leaf],
    record: &JsonPath,
) -> TypeRule {
    if let BodyFormat::CloudEvents = events.format {
        let rule = EnvelopeRule::new(".type".to_owned(), "the attribute of CloudEvents");
        let types = events
            .events
            .iter()
            .filter_map(|(_, event)| event.get("type")?.as_str());
        return TypeRule {
            rule,
            types: types.map(str::to_owned).collect(),
            members: vec![JsonPath::of(&["type"])],
        };
    }
    let body = body_type(events, found, record);
    let header = header_type(samples);
    let chosen = if record.depth() == 0 {
        header.or(body)
    } else {
        body.or(header)
    };
    chosen.unwrap_or_else(|| {
        let test = test_event(found);
        let reason = match test {
            Some(_) => "a constant, because the samples name no change",
            None => "a constant, because neither the body nor a header names a type",
        };
        let mut rule = EnvelopeRule::new(quoted(DEFAULT_TYPE), reason);
        rule.decide(test.as_deref().unwrap_or("The event type: neither the body nor a header of the samples names a type, so every event has the type `customer`. If the source also posts events about other things, or about deleted customers, correct body.type."));
        TypeRule {
            rule,
            types: BTreeSet::from([DEFAULT_TYPE.to_owned()]),
            members: Vec::new(),
        }
    })
}

/// Returns the sentence about a sample whose type is the type of a test event, such as `ping`.
fn test_event(found: &[Leaf]) -> Option<String> {
    let test_word = |value: &Value| {
        let text = value.as_str()?.to_lowercase();
        let mut words = TEST_WORDS.iter();
        words.any(|word| text.contains(word)).then_some(text)
    };
    let is_test = |leaf: &Leaf| {
        has_exact_name(&leaf.path) && leaf.values.iter().any(|value| test_word(value).is_some())
    };
    let leaf = field_draft::best(found, &synonyms::EVENT_TYPES, None, is_test)?;
    let word = leaf.values.iter().find_map(test_word)?;
    Some(format!(
        "The event type: `{}` is {}, so a sample is perhaps a test event of the CRM, and the draft gives every event the type `{DEFAULT_TYPE}`. Draft the source from a sample of a real change, and add {} to `ignore`.",
        leaf.path.expression(),
        quoted(&word),
        quoted(&word)
    ))
}

fn body_type(events: &SampleEvents, found: &[Leaf], record: &JsonPath) -> Option<TypeRule> {
    let count = events.events.len();
    let is_typed = |leaf: &Leaf| {
        leaf.is_common(count)
            && leaf.values.len() <= TYPES_MAX
            && leaf.has_value()
            && leaf.mostly(form::is_word)
            && has_exact_name(&leaf.path)
    };
    let is_type = |leaf: &Leaf| {
        is_typed(leaf)
            && is_in_envelope(&leaf.path, record)
            && (leaf.path.parent() != *record || leaf.mostly(is_event_word))
    };
    let is_change = |leaf: &Leaf| is_type(leaf) && leaf.mostly(fields::names_a_change);
    // Some systems let a person add members to the body, in an object such as `customData`.
    let is_far_change = |leaf: &Leaf| {
        let is_plain = |step: &Step| matches!(step, Step::Member(_));
        is_typed(leaf)
            && leaf.path.steps().iter().all(is_plain)
            && leaf.mostly(fields::names_a_change)
    };
    let leaf = field_draft::best(found, &synonyms::EVENT_TYPES, None, is_change)
        .or_else(|| field_draft::best(found, &synonyms::EVENT_TYPES, None, is_far_change))
        .or_else(|| field_draft::best(found, &synonyms::EVENT_TYPES, None, is_type))?;
    let path = leaf.path.expression();
    let is_action = names::position(leaf.path.last_name(), &ACTIONS).is_some();
    let is_entity = |leaf: &Leaf| {
        let is_word = leaf.values.iter().all(form::is_word);
        leaf.count == count && is_word && is_in_envelope(&leaf.path, record)
    };
    let entity = field_draft::best(found, &ENTITIES, None, is_entity);
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
        let rule = EnvelopeRule::new(expression, "the names of the two members");
        return Some(TypeRule {
            types: types.collect(),
            rule,
            members: vec![entity.path.clone(), leaf.path.clone()],
        });
    }
    Some(type_rule(leaf, count, record))
}

/// Returns the rule that reads the type from one member.
fn type_rule(leaf: &Leaf, count: usize, record: &JsonPath) -> TypeRule {
    let path = leaf.path.expression();
    let words = leaf.present().filter(|value| form::is_word(value));
    let types = words.filter_map(Value::as_str).map(str::to_owned);
    let types: BTreeSet<String> = types.collect();
    let mut rule = EnvelopeRule::member(leaf, count, "body.type");
    if !leaf.mostly(fields::names_a_change) {
        let named: Vec<String> = types
            .iter()
            .take(TYPES_NAMED_MAX)
            .map(|name| quoted(name))
            .collect();
        rule.decide(&format!(
            "The event type: the draft reads `{path}`, with the values {} in the samples. No value names a change, so the member is perhaps a property of the customer. The bridge refuses an event with a value that the source file does not name. If all events have the same form, use a constant, such as `type = '\"customer\"'`.",
            named.join(", ")
        ));
    } else if !is_in_envelope(&leaf.path, record) {
        rule.decide(&format!("The event type: the draft reads `{path}`. A change of the settings of the CRM can rename this member."));
    }
    TypeRule {
        rule,
        types,
        members: vec![leaf.path.clone()],
    }
}

/// Returns whether the name of a member is exactly the name of an event's type. `contact_type` is a property of the customer.
fn has_exact_name(path: &JsonPath) -> bool {
    let name = names::words(names::telling(&path.names())).concat();
    synonyms::EVENT_TYPES.contains(&name.as_str())
}

/// Returns the text at a path that consists of member names.
fn text_at(event: &Value, path: &JsonPath) -> Option<String> {
    let value = path
        .steps()
        .iter()
        .try_fold(event, |value, step| match step {
            Step::Member(name) => value.get(name),
            Step::First | Step::Marked(..) | Step::Except(..) | Step::Entry(_) => None,
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
            members: Vec::new(),
            rule: EnvelopeRule {
                header: Some(name.clone()),
                ..EnvelopeRule::new(header_expression(name), "the name of the request header")
            },
        })
    });
    rules.next()
}

/// Returns whether a path is the path of an attribute of the event, and not of a value of the customer.
pub(super) fn is_in_envelope(path: &JsonPath, record: &JsonPath) -> bool {
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
pub(super) fn is_envelope(name: &str) -> bool {
    ENVELOPES.contains(&names::words(name).concat().as_str())
}

/// Returns whether a value has a part of a word for a change or for a customer.
pub(super) fn is_event_word(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().to_lowercase();
    EVENT_WORDS.iter().any(|word| text.contains(word))
}

pub(super) fn header_expression(name: &str) -> String {
    format!("header({})", quoted(name))
}
