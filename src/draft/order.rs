//! Recognizes the customer's id and the version of an event.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;

use super::field_draft;
use super::fields;
use super::form::{self, TimeForm};
use super::names;
use super::path::{JsonPath, Leaf, Step};
use super::synonyms;

/// The expression of a rule of an event type, with its reason.
#[derive(Clone, Debug)]
pub(super) struct EventRule {
    pub(super) path: JsonPath,
    pub(super) expression: String,
    pub(super) reason: String,
}

/// The version of an event type.
#[derive(Clone, Debug)]
pub(super) struct VersionDraft {
    pub(super) rule: EventRule,
    pub(super) domain: &'static str,
    /// The sentence about what is doubtful.
    pub(super) doubt: Option<String>,
}

/// Finds the CRM's own id of the customer.
pub(super) fn partner_id(leaves: &[Leaf], record: &JsonPath, count: usize) -> Option<EventRule> {
    let is_id = |leaf: &Leaf| {
        leaf.is_common(count)
            && leaf.has_value()
            && leaf.mostly(form::is_id)
            && !names::is_imprint_id(leaf.path.last_name())
    };
    // The record can be a list, of which the draft reads one item.
    let is_owner = |owner: &JsonPath| {
        let is_item = matches!(
            owner.steps().last(),
            Some(Step::First | Step::Marked(..) | Step::Except(..))
        );
        *owner == *record || (is_item && owner.parent() == *record)
    };
    let in_record = |leaf: &Leaf| is_id(leaf) && is_owner(&owner(&leaf.path));
    let around = |leaf: &Leaf| is_id(leaf) && record.starts_with(&owner(&leaf.path));
    // The id of an object around the record, such as `.data.id` around `.data.attributes`. The id of an event is no id of
    // a customer.
    let outer = |leaf: &&Leaf| {
        let is_free = !names::concerns_other(&leaf.path.names());
        is_free && around(leaf) && !fields::is_event(leaves, &leaf.path.parent())
    };
    let place = |leaf: &&Leaf| names::position(leaf.path.last_name(), &synonyms::RECORD_IDS);
    // Far from the customer's values, only an object such as `contact` or `record` shows that the id is a customer's.
    let is_customer = |leaf: &Leaf| {
        let names = leaf.path.parent();
        is_id(leaf) && names::customer_rank(&names.names()) == 0
    };
    let chosen = field_draft::best(leaves, &synonyms::CUSTOMER_IDS, None, in_record)
        .or_else(|| field_draft::best(leaves, &synonyms::RECORD_IDS, None, in_record))
        .or_else(|| field_draft::best(leaves, &synonyms::CUSTOMER_IDS, None, around))
        .or_else(|| {
            leaves
                .iter()
                .filter(outer)
                .filter_map(|leaf| Some((Reverse(leaf.path.depth()), place(&leaf)?, leaf)))
                .min_by_key(|(depth, place, _)| (*depth, *place))
                .map(|(_, _, leaf)| leaf)
        })
        .or_else(|| field_draft::best(leaves, &synonyms::RECORD_IDS, None, is_customer))
        .or_else(|| field_draft::best(leaves, &synonyms::CUSTOMER_IDS, None, is_id))
        .or_else(|| field_draft::best(leaves, &synonyms::OTHER_IDS, None, around))
        .or_else(|| field_draft::best(leaves, &["subject"], None, around))?;
    let reason = if fields::has_person(leaves) {
        "the name of the member, near the customer's values"
    } else {
        "the name of the member; the samples have no values of a customer"
    };
    Some(EventRule {
        path: chosen.path.clone(),
        expression: chosen.path.expression(),
        reason: reason.to_owned(),
    })
}

/// Returns the object that an id names: the object around the member, and in `{"id": {"record_id": …}}` the object
/// around `id`.
fn owner(path: &JsonPath) -> JsonPath {
    let parent = path.parent();
    if parent.last_name().eq_ignore_ascii_case("id") {
        parent.parent()
    } else {
        parent
    }
}

/// Finds Imprint's id of the customer.
pub(super) fn imprint_id(leaves: &[Leaf]) -> Option<EventRule> {
    let is_imprint = |leaf: &&Leaf| {
        let names = leaf.path.names();
        names::is_imprint_id(names::telling(&names))
            && !names::concerns_other(&names)
            && form::all(leaf, form::is_id)
    };
    let leaf = leaves.iter().find(is_imprint)?;
    Some(EventRule {
        path: leaf.path.clone(),
        expression: leaf.path.expression(),
        reason: "the name of the member".to_owned(),
    })
}

/// Finds the value that orders the events of one customer: a time, or a number that grows. Every event must have the
/// value. `customer` is the path of the customer's id.
pub(super) fn version(
    leaves: &[Leaf],
    record: &JsonPath,
    events: &[Value],
    customer: Option<&JsonPath>,
) -> Option<VersionDraft> {
    let count = events.len();
    let is_near = |leaf: &Leaf| {
        let parent = fields::holder(&leaf.path);
        let is_direct = parent.depth() <= 1 && leaf.path.names().len() == leaf.path.depth();
        let is_around = record.starts_with(&parent) || is_direct;
        leaf.is_common(count)
            && leaf.has_value()
            && is_around
            && !names::is_birth(leaf.path.last_name())
    };
    let is_time = |leaf: &Leaf| {
        is_near(leaf) && TimeForm::of(leaf).is_some_and(|form| form != TimeForm::Date)
    };
    let is_growing = |leaf: &Leaf| !is_constant(&leaf.path, customer, events);
    let is_new_time = |leaf: &Leaf| is_time(leaf) && is_growing(leaf);
    if let Some(leaf) = field_draft::best(leaves, &synonyms::CHANGE_TIMES, None, is_new_time) {
        return time(leaf, None);
    }
    // The time at which the event was created, if an object inside the event has the customer's values. The time at which
    // a record was created is no version, because it stays the same when the record changes.
    let is_own_time = |leaf: &Leaf| {
        let is_outside = record.depth() > 0 && !leaf.path.starts_with(record);
        is_outside && is_new_time(leaf) && fields::is_event(leaves, &leaf.path.parent())
    };
    if let Some(leaf) = field_draft::best(leaves, &synonyms::CREATED, None, is_own_time) {
        let doubt = "The name is the name of a time of a creation, and the draft takes it for the time at which the source created the event. A time at which the source created the customer would be no version.";
        return time(leaf, Some(doubt));
    }
    sequence(leaves, record, is_near, is_growing).or_else(|| {
        let leaf = field_draft::best(leaves, &synonyms::CHANGE_TIMES, None, is_time)?;
        let doubt = "Two samples of one customer have different data and the same time, so their order is unknown. If the samples are not invented, use another time.";
        time(leaf, Some(doubt))
    })
}

/// Finds a number that grows with each change.
fn sequence(
    leaves: &[Leaf],
    record: &JsonPath,
    is_near: impl Fn(&Leaf) -> bool,
    is_growing: impl Fn(&Leaf) -> bool,
) -> Option<VersionDraft> {
    let is_number = |leaf: &Leaf| is_near(leaf) && is_growing(leaf) && leaf.mostly(form::is_whole);
    let in_record =
        |leaf: &Leaf| is_number(leaf) && record.depth() > 0 && leaf.path.parent() == *record;
    let leaf = field_draft::best(leaves, &synonyms::SEQUENCES, None, is_number)
        .or_else(|| field_draft::best(leaves, &["version"], None, in_record))?;
    let rule = EventRule {
        path: leaf.path.clone(),
        expression: leaf.path.expression(),
        reason: "the name and the form of the value: a whole number".to_owned(),
    };
    Some(VersionDraft {
        rule,
        domain: "sequence",
        doubt: None,
    })
}

/// Returns whether two events of one customer have different values at a path. Then the value is no id of the customer.
pub(super) fn differs(path: &JsonPath, customer: &JsonPath, events: &[Value]) -> bool {
    let mut known: BTreeMap<String, &Value> = BTreeMap::new();
    events.iter().any(|event| {
        let (Some(customer), Some(value)) = (customer.value_in(event), path.value_in(event)) else {
            return false;
        };
        *known.entry(customer.to_string()).or_insert(value) != value
    })
}

/// Returns whether two different events of one customer have the same value at a path.
fn is_constant(path: &JsonPath, customer: Option<&JsonPath>, events: &[Value]) -> bool {
    let mut known: BTreeMap<(String, String), &Value> = BTreeMap::new();
    events.iter().any(|event| {
        let customer = customer.and_then(|customer| customer.value_in(event));
        let (Some(customer), Some(value)) = (customer, path.value_in(event)) else {
            return false;
        };
        let key = (customer.to_string(), value.to_string());
        let first = *known.entry(key).or_insert(event);
        first != event
    })
}

fn time(leaf: &Leaf, doubt: Option<&str>) -> Option<VersionDraft> {
    let form = TimeForm::of(leaf)?;
    let expression = form.expression(&leaf.path.expression())?;
    let reason = "the name and the form of the value: a time".to_owned();
    let rule = EventRule {
        path: leaf.path.clone(),
        expression,
        reason,
    };
    Some(VersionDraft {
        rule,
        domain: "time",
        doubt: doubt.map(str::to_owned),
    })
}
