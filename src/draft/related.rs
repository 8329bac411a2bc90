//! Finds the samples that are about no customer, such as the test event of a CRM. They must not decide where the events of
//! customers have their values.

use serde_json::Value;

use super::body::SampleEvents;
use super::fields;
use super::leaves::leaves;
use super::order;
use super::path::quoted;

/// Returns the events about customers, and the other events. If no event has values of a customer, all events count as
/// events about customers.
pub(super) fn events(all: SampleEvents) -> (SampleEvents, Vec<Value>) {
    let has_person = |event: &Value| fields::has_person(&leaves(std::slice::from_ref(event)));
    let persons = all.events.iter().map(|(_, event)| event);
    let persons: Vec<Value> = persons.filter(|event| has_person(event)).cloned().collect();
    let found = leaves(&persons);
    let customer = order::partner_id(&found, &fields::record(&found), persons.len());
    let Some(customer) = customer.filter(|_| !persons.is_empty()) else {
        return (all, Vec::new());
    };
    let is_related = |event: &Value| {
        let id = customer.path.value_in(event);
        has_person(event) || id.is_some_and(|id| !id.is_null())
    };
    let (related, other): (Vec<_>, Vec<_>) = all
        .events
        .into_iter()
        .partition(|(_, event)| is_related(event));
    let related = SampleEvents {
        events: related,
        ..all
    };
    (related, other.into_iter().map(|(_, event)| event).collect())
}

/// Says that the draft ignores an event type without a customer.
pub(super) fn decision(event_type: &str) -> String {
    format!(
        "The event type {}: its sample has no value and no id of a customer, so the draft ignores these events (`ignore`). If the events have data that Imprint must get, delete the name from `ignore`, and write a table for the type.",
        quoted(event_type)
    )
}
