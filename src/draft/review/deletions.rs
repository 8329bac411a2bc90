//! Notes about events that say that the source removed a customer, and that change the customer like an edit.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{TypeExamples, around, last_name};
use crate::draft::names;
use crate::draft::removal;
use crate::draft::synonyms::EVENT_TYPES;
use crate::event::pointer;
use crate::intake::{EventExplanation, ExplainedOutcome};

/// Returns a note for each type of a removal that the bridge maps to a request. `name` is the key of the event type: a table for
/// exactly one type is there on purpose.
pub(super) fn notes(evidence: &TypeExamples<'_>, name: &str) -> BTreeSet<String> {
    let (mut notes, mut members) = (BTreeSet::new(), BTreeSet::new());
    for (event, body) in evidence.with_bodies() {
        if !matches!(event.outcome, ExplainedOutcome::Request(_)) {
            continue;
        }
        let event_type = event.event_type.as_deref().unwrap_or_default();
        let is_plain = event_type.split(['.', '/', ':']).all(pointer::is_name);
        if name.ends_with('*') && is_plain && removal::is_removal(event_type) {
            notes.insert(format!(
                "an example of the type {event_type} changes the customer like an edit: if the source removed the customer, list the type in `ignore`"
            ));
        }
        let unread = unread_removal(evidence, event, body);
        let new = unread.filter(|place| members.insert(last_name(place)));
        notes.extend(new.map(|place| {
            let place = pointer::without_values(&place);
            format!(
                "an example says in {place} that the source removed the customer, and changes the customer like an edit, because no expression reads {place}: read it in body.type or in `when`"
            )
        }));
    }
    notes
}

/// Returns the place of a member around the customer's id with the type of a removal, if no expression reads it.
fn unread_removal(
    evidence: &TypeExamples<'_>,
    event: &EventExplanation,
    body: &Value,
) -> Option<String> {
    let targets = event.targets.iter().flatten();
    let customer = targets.filter(|rule| rule.target.starts_with("customer."));
    let reads = customer.flat_map(|rule| &rule.reads);
    let objects: BTreeSet<&str> = reads.flat_map(|read| around(read)).collect();
    let is_removal = |(name, value): &(&String, &Value)| {
        value.as_str().is_some_and(removal::names_only_the_customer)
            && names::position(name, &EVENT_TYPES).is_some()
    };
    let mut places = objects.into_iter().flat_map(|object| {
        let members = body.pointer(object).and_then(Value::as_object);
        let removals = members.into_iter().flatten().filter(is_removal);
        removals.map(move |(name, _)| pointer::inside(object, name))
    });
    places.find(|place| !evidence.is_read(place))
}
