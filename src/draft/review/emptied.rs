//! Notes about a field that most examples clear, and about alternatives that give a value to customers who have none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::constant::{self, OF_CUSTOMER};
use super::{TypeExamples, base, last_name, outer, text};
use crate::draft::names;
use crate::event::pointer;
use crate::intake::{TargetExplanation, TargetResult};

/// The minimum number of examples in which a member is empty beside a member with a value.
const EMPTY_MIN: usize = 2;

/// Returns the notes about fields that are often cleared, have a constant alternative, or have a cut value.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut notes = mostly_empty(evidence);
    for (target, rules) in evidence.by_target() {
        notes.extend(rules.first().and_then(|rule| alternative(target, rule)));
    }
    notes.extend(cut_states(evidence));
    notes
}

/// Returns a note for each field whose member is empty in most examples, if one other member with the name of the field has a value
/// in some of these examples.
fn mostly_empty(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    // The number of examples with the rule, the number that clear the field, and the members with a value beside an empty one.
    let mut fields: BTreeMap<&str, (usize, usize, Vec<String>)> = BTreeMap::new();
    for (event, body) in evidence.with_bodies() {
        for rule in event.targets.iter().flatten() {
            let is_cleared = rule.result == TargetResult::Cleared;
            let (all, cleared, filled) = fields.entry(&rule.target).or_default();
            *all = all.saturating_add(1);
            *cleared = cleared.saturating_add(usize::from(is_cleared));
            if is_cleared {
                filled.extend(filled_beside(evidence, rule, body));
            }
        }
    }
    let notes = fields.into_iter().filter_map(|(target, (all, cleared, filled))| {
        let first = filled.first()?;
        let is_mostly = filled.len() >= EMPTY_MIN && cleared.saturating_mul(2) > all;
        let is_one = filled.iter().all(|meant| last_name(meant) == last_name(first));
        let (field, meant) = (base(target), pointer::without_values(first));
        (is_mostly && is_one).then(|| {
            format!(
                "most examples clear {field} at Imprint, and some of them have a value in {meant}, which no expression reads; did you mean {meant}?"
            )
        })
    });
    notes.collect()
}

/// Returns a member that has a text and the name of the field, beside the only member that a rule reads, if no expression reads it.
fn filled_beside(
    evidence: &TypeExamples<'_>,
    rule: &TargetExplanation,
    body: &Value,
) -> Option<String> {
    let known = constant::known_names(base(&rule.target))?;
    let [read] = rule.reads.as_slice() else {
        return None;
    };
    let members = body.pointer(outer(read))?.as_object()?;
    let is_filled = |(name, value): &(&String, &Value)| {
        let is_text = value.as_str().is_some_and(|text| !text.trim().is_empty());
        is_text && names::position(name, known).is_some()
    };
    let filled = members.iter().filter(is_filled);
    let mut places = filled.map(|(name, _)| pointer::inside(outer(read), name));
    places.find(|place| !evidence.is_read(place))
}

/// Returns a note about the constant after `//`, which all customers without the value would get.
fn alternative(target: &str, rule: &TargetExplanation) -> Option<String> {
    let (_, rest) = rule.expression.rsplit_once("//")?;
    // A pipe can convert the constant.
    let last = rest.split('|').next()?.trim();
    let place = if rest.contains('|') { "has" } else { "ends in" };
    let value: Value = serde_json::from_str(last).ok()?;
    let constant = value.as_str()?;
    let field = base(target);
    // The rest can take the constant away again.
    let (_, pipe) = rest.split_once('|').unwrap_or_default();
    let is_condition = ["if ", "select(", "lookup("]
        .iter()
        .any(|word| pipe.contains(word));
    if is_condition || rule.reads.is_empty() || !OF_CUSTOMER.contains(&field) {
        return None;
    }
    Some(if constant.trim().is_empty() {
        format!(
            "{field} {place} // \"\", so an event without the member clears {field} at Imprint: leave out // \"\", or write // null if an absent member means that the source has no value"
        )
    } else {
        format!(
            "{field} {place} // \"{constant}\", so all customers without a value get this one: leave out the constant"
        )
    })
}

/// Returns a note if a state is the first two letters of its name.
fn cut_states(evidence: &TypeExamples<'_>) -> Option<String> {
    let is_cut = |(rule, body): &(&TargetExplanation, &Value)| {
        let [read] = rule.reads.as_slice() else {
            return false;
        };
        let whole = body
            .pointer(read)
            .and_then(Value::as_str)
            .unwrap_or_default();
        let (whole, part) = (whole.to_lowercase(), text(rule).unwrap_or_default());
        let rest = whole.strip_prefix(&part.to_lowercase()).unwrap_or_default();
        let is_name = part.chars().count() == 2 && rest.starts_with(char::is_alphabetic);
        let is_code = ["us_state", "lookup("]
            .iter()
            .any(|name| rule.expression.contains(name));
        is_name && !is_code && rule.expression.contains(":2]")
    };
    let rules = evidence.with_bodies().flat_map(|(event, body)| {
        let rules = event.targets.iter().flatten();
        rules.map(move |rule| (rule, body))
    });
    let mut states = rules.filter(|(rule, _)| base(&rule.target) == "state");
    states.find(is_cut).map(|_| {
        "state is the first two letters of a name, such as TE for Texas: the function us_state gives the code of a state".to_owned()
    })
}
