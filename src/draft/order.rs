//! Recognizes the customer's id and the version of an event.

use super::fields;
use super::form::{self, TimeForm};
use super::names;
use super::path::{JsonPath, Leaf};
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
}

/// Finds the CRM's own id of the customer.
pub(super) fn partner_id(leaves: &[Leaf], record: &JsonPath, count: usize) -> Option<EventRule> {
    let is_id = |leaf: &Leaf| {
        leaf.count == count
            && leaf.has_value()
            && form::all(leaf, form::is_id)
            && !names::is_imprint_id(leaf.path.last_name())
    };
    let in_record = |leaf: &Leaf| is_id(leaf) && leaf.path.parent() == *record;
    let around = |leaf: &Leaf| is_id(leaf) && record.starts_with(&leaf.path.parent());
    // The id of an object around the record, such as `.data.id` around `.data.attributes`. The id of an event is no id of
    // a customer.
    let outer = |leaf: &&Leaf| {
        let parent = leaf.path.parent();
        let is_named = names::position(leaf.path.last_name(), &synonyms::RECORD_IDS).is_some();
        is_named && around(leaf) && !fields::is_event(leaves, &parent)
    };
    let chosen = fields::best(leaves, &synonyms::CUSTOMER_IDS, None, in_record)
        .or_else(|| fields::best(leaves, &synonyms::RECORD_IDS, None, in_record))
        .or_else(|| fields::best(leaves, &synonyms::CUSTOMER_IDS, None, around))
        .or_else(|| {
            leaves
                .iter()
                .filter(outer)
                .max_by_key(|leaf| leaf.path.depth())
        })
        .or_else(|| fields::best(leaves, &synonyms::CUSTOMER_IDS, None, is_id))
        .or_else(|| fields::best(leaves, &synonyms::OTHER_IDS, None, around))
        .or_else(|| fields::best(leaves, &["subject"], None, around))?;
    Some(EventRule {
        path: chosen.path.clone(),
        expression: chosen.path.expression(),
        reason: "the name of the member, near the customer's values".to_owned(),
    })
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
/// value.
pub(super) fn version(leaves: &[Leaf], record: &JsonPath, count: usize) -> Option<VersionDraft> {
    let is_near = |leaf: &Leaf| {
        let parent = fields::holder(&leaf.path);
        let is_direct = parent.depth() <= 1 && leaf.path.names().len() == leaf.path.depth();
        leaf.count == count && leaf.has_value() && (record.starts_with(&parent) || is_direct)
    };
    let is_time = |leaf: &Leaf| {
        is_near(leaf) && TimeForm::of(leaf).is_some_and(|form| form != TimeForm::Date)
    };
    if let Some(leaf) = fields::best(leaves, &synonyms::CHANGE_TIMES, None, is_time) {
        return time(leaf);
    }
    // The time at which the event was created, if an object inside the event has the customer's values.
    let is_own_time =
        |leaf: &Leaf| record.depth() > 0 && is_time(leaf) && !leaf.path.starts_with(record);
    if let Some(leaf) = fields::best(leaves, &synonyms::CREATED, None, is_own_time) {
        return time(leaf);
    }
    let is_number = |leaf: &Leaf| is_near(leaf) && form::all(leaf, form::is_whole);
    let in_record =
        |leaf: &Leaf| is_number(leaf) && record.depth() > 0 && leaf.path.parent() == *record;
    let leaf = fields::best(leaves, &synonyms::SEQUENCES, None, is_number)
        .or_else(|| fields::best(leaves, &["version"], None, in_record))?;
    let rule = EventRule {
        path: leaf.path.clone(),
        expression: leaf.path.expression(),
        reason: "the name and the form of the value: a whole number".to_owned(),
    };
    Some(VersionDraft {
        rule,
        domain: "sequence",
    })
}

fn time(leaf: &Leaf) -> Option<VersionDraft> {
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
    })
}
