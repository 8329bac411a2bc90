//! Recognizes where an event has its id.

use serde_json::Value;

use super::authentication::Authentication;
use super::body::{BodyFormat, SampleEvents};
use super::envelope::{
    self, EnvelopeRule, TYPES_NAMED_MAX, header_expression, is_envelope, is_in_envelope,
};
use super::field_draft;
use super::fields;
use super::form;
use super::names;
use super::path::{JsonPath, Leaf, quoted};
use super::sample::Sample;
use super::synonyms;

/// The names of members that say when, or how often, the source delivered an event.
const DELIVERY_NAMES: [&str; 10] = [
    "timestamp",
    "sentat",
    "deliveredat",
    "deliverytime",
    "senttime",
    "attempt",
    "attempts",
    "attemptnumber",
    "retrycount",
    "retry",
];

/// Finds the id of the events. `customer` is the path of the customer's id, which is not the id of an event.
pub(super) fn event_id(
    samples: &[Sample],
    events: &SampleEvents,
    (found, record, customer): (&[Leaf], &JsonPath, Option<&JsonPath>),
    authentication: &Authentication,
) -> EnvelopeRule {
    let count = events.events.len();
    let is_unique = |leaf: &Leaf| {
        leaf.is_common(count) && leaf.has_value() && (count == 1 || leaf.values.len() > 1)
    };
    // A member with the value of the customer's id names the record, also under a name such as `record_id`.
    let is_customers = |leaf: &Leaf| {
        customer.is_some_and(|customer| has_equal_values(&leaf.path, customer, events))
    };
    let is_id = |leaf: &Leaf| {
        is_unique(leaf)
            && !is_customers(leaf)
            && leaf.mostly(form::is_id)
            && !leaf.mostly(is_type)
            && is_in_envelope(&leaf.path, record)
            && customer != Some(&leaf.path)
    };
    let is_different = |leaf: &Leaf| is_id(leaf) && count > 1 && leaf.is_different();
    // A member `id` can be the id of a record, which is the same in every event. The bridge would refuse the second event
    // with the same id. So the member counts only in an object that names the type of a change.
    let is_own = |leaf: &Leaf| {
        let object = leaf.path.parent();
        let is_outer = object.depth() == 0 || is_envelope(object.last_name());
        let is_plain =
            ["id", "uuid"].contains(&names::words(leaf.path.last_name()).concat().as_str());
        let is_event = is_plain && fields::is_event(found, &object);
        is_id(leaf) && is_outer && customer.is_some() && is_event
    };
    let named = field_draft::best(found, &synonyms::EVENT_IDS, None, is_id)
        .or_else(|| field_draft::best(found, &["id", "uuid"], None, is_own))
        .or_else(|| field_draft::best(found, &synonyms::DELIVERY_IDS, None, is_different));
    if let Some(leaf) = named {
        let mut rule = EnvelopeRule::member(leaf, count, "body.id");
        if !leaf.is_different() {
            let path = leaf.path.expression();
            rule.decide(&format!("The event id: `{path}` has the same value in several events of the samples. The bridge takes a second event with the same id and the same content for a repetition, and refuses one with other content. If the value is no id of an event, use `id = \"digest\"`."));
        }
        return rule;
    }
    if let Some(rule) = header_id(samples, events, authentication) {
        return rule;
    }
    let reason = "a digest of the whole event, because no member has a name that the draft knows as the name of an event's id";
    let mut rule = EnvelopeRule::new("digest".to_owned(), reason);
    rule.decide("The event id: the draft uses a digest of the whole event.");
    let is_candidate = |leaf: &&Leaf| {
        let name = leaf.path.last_name();
        let is_only = count == 1 && names::is_delivery_id(name) && is_id(leaf);
        is_only || (names::ends_in_id(name) && is_different(leaf))
    };
    let ids: Vec<&Leaf> = found.iter().filter(is_candidate).collect();
    decide_digest(&mut rule, &ids, count, found);
    rule
}

/// Returns whether every event has the same value at two paths.
fn has_equal_values(one: &JsonPath, other: &JsonPath, events: &SampleEvents) -> bool {
    events.events.iter().all(|(_, event)| {
        let values = (one.value_in(event), other.value_in(event));
        matches!(values, (Some(one), Some(other)) if one == other)
    })
}

/// Returns whether a value is the name of a change, such as `customer.updated`, and no id.
fn is_type(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let is_named = envelope::is_event_word(value) || fields::names_a_change(value);
    !has_digit && form::is_word(value) && is_named
}

/// Finds the request header with the id of the event.
fn header_id(
    samples: &[Sample],
    events: &SampleEvents,
    authentication: &Authentication,
) -> Option<EnvelopeRule> {
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
    let header = header.filter(|_| !is_split && !authentication.is_signature)?;
    Some(EnvelopeRule {
        header: Some(header.clone()),
        ..EnvelopeRule::new(header_expression(header), "the name of the request header")
    })
}

/// Says which members can be the event's id instead of a digest, and which members can prevent the recognition of
/// duplicates.
fn decide_digest(rule: &mut EnvelopeRule, ids: &[&Leaf], count: usize, found: &[Leaf]) {
    let paths = ids
        .iter()
        .take(TYPES_NAMED_MAX)
        .map(|leaf| format!("`{}`", leaf.path.expression()));
    let paths = paths.collect::<Vec<_>>().join(", ");
    if !ids.is_empty() && count > 1 {
        rule.decide(&format!("These ids differ in every sample: {paths}. If one of them is the id of the event, and stays the same when the source sends the event again, use it as body.id."));
    } else if !ids.is_empty() {
        rule.decide(&format!("If {paths} has another value in each event, and stays the same when the source sends the event again, use it as body.id."));
    }
    let is_delivery = |leaf: &&Leaf| {
        let name = names::words(leaf.path.last_name()).concat();
        leaf.path.depth() == 1 && DELIVERY_NAMES.contains(&name.as_str())
    };
    let example = found
        .iter()
        .find(is_delivery)
        .map(|leaf| leaf.path.last_name());
    let split = format!(
        "split = '. | with_entries(select(.key != {}))'",
        quoted(example.unwrap_or("timestamp"))
    );
    rule.decide(&format!("If the source adds values that differ each time it sends an event again, such as the time of the delivery, remove these values with body.split, such as `{split}`; see config/sources/RECIPES.md."));
}
