//! Notes about a field that has the same value, or no value, in all examples.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{TypeExamples, base, concerns_other, is_of_other_item, last_name, outer, plain_name};
use crate::draft::names;
use crate::draft::synonyms::PERSON;
use crate::intake::{TargetExplanation, TargetResult};
use crate::mapping::country_code;

/// The fields that differ between the customers of every company.
pub(super) const OF_CUSTOMER: [&str; 7] = [
    "city",
    "email",
    "first_name",
    "last_name",
    "phone",
    "postal_code",
    "street_line1",
];
/// The tier of a customer. A source can have one for customers without another tier, but not for all customers.
const TIER: &str = "loyalty_tier";
/// The fields of an address other than the country.
const ADDRESS: [&str; 5] = [
    "city",
    "postal_code",
    "state",
    "street_line1",
    "street_line2",
];
/// The names of a member with the country of an address.
const COUNTRIES: [&str; 4] = ["country", "countrycode", "countryiso", "countryname"];
/// The names of members with a city and a ZIP code.
const CITIES: [&str; 4] = ["addresscity", "city", "cityname", "town"];
const ZIPS: [&str; 6] = [
    "postalcode",
    "postcode",
    "zip",
    "zipcode",
    "zippostalcode",
    "postal",
];

/// Returns the notes about fields whose value does not depend on the customer.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    let rules = evidence.by_target();
    for (target, rules) in &rules {
        notes.extend(constant(evidence, target, rules));
        notes.extend(alternative(evidence, target, rules));
        notes.extend(cleared(evidence, target, rules));
    }
    notes.extend(without_country(evidence));
    notes
}

/// Returns a note if a rule is a constant. Null and an empty text are no values of a customer.
fn constant(
    evidence: &TypeExamples<'_>,
    target: &str,
    rules: &[&TargetExplanation],
) -> Option<String> {
    let rule = rules.first().filter(|rule| rule.reads.is_empty())?;
    let value: Value = serde_json::from_str(&rule.expression).ok()?;
    let text = value.as_str().filter(|text| !text.trim().is_empty())?;
    if target.starts_with("metadata.") {
        return None;
    }
    if OF_CUSTOMER.contains(&base(target)) || base(target) == TIER {
        return Some(format!(
            "{target} = \"{text}\" is a constant, so all customers get it: read the value from the event"
        ));
    }
    let place = other_country(evidence, text).filter(|_| target.ends_with("address.country"))?;
    Some(format!(
        "{target} = \"{text}\" is a constant, and an example has another country in {place}: the bridge takes each address for an address in this country. Read the country from the event"
    ))
}

/// Returns a place beside the address that the rules read, if an example has another country there.
fn other_country<'a>(evidence: &'a TypeExamples<'_>, country: &str) -> Option<&'a String> {
    let code = country_code(country)?;
    let is_address = |rule: &&TargetExplanation| ADDRESS.contains(&base(&rule.target));
    let rules = evidence.targets().filter(is_address);
    let reads = rules.flat_map(|rule| &rule.reads);
    let objects: BTreeSet<&str> = reads.map(|read| outer(read)).collect();
    let is_country = |place: &&String| {
        COUNTRIES.contains(&plain_name(place).as_str()) && objects.contains(outer(place))
    };
    let has_other = |place: &&String| {
        let texts = evidence.bodies.iter().map(|body| body.pointer(place));
        let mut texts = texts.filter_map(|value| value?.as_str());
        texts.any(|text| country_code(text).is_some_and(|other| other != code))
    };
    evidence.places.iter().filter(is_country).find(has_other)
}

/// Returns a note if all examples get the value after `//`, because none has the path before it.
fn alternative(
    evidence: &TypeExamples<'_>,
    target: &str,
    rules: &[&TargetExplanation],
) -> Option<String> {
    let rule = rules
        .first()
        .filter(|rule| rule.expression.contains("//"))?;
    let reads: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| rule.reads.iter().map(String::as_str))
        .collect();
    let is_unknown = |read: &&str| !evidence.has(read) && !evidence.is_described(read);
    let has_value = |rule: &&TargetExplanation| matches!(&rule.result, TargetResult::Value { value } if value.is_string() || value.is_number());
    let is_always_same = rules.iter().all(has_value)
        && rules.iter().all(|other| other.result == rule.result)
        && !reads.is_empty()
        && reads.iter().all(is_unknown);
    let reads: Vec<&str> = reads.into_iter().collect();
    is_always_same.then(|| {
        format!(
            "no example has {}, so {target} has the value after // in every example: correct the path, or add an example with a value",
            reads.join(" or ")
        )
    })
}

/// Returns a note if an example clears a field and none gives it a value, and an example has a value of such a field that no
/// expression reads.
fn cleared(
    evidence: &TypeExamples<'_>,
    target: &str,
    rules: &[&TargetExplanation],
) -> Option<String> {
    let is_empty = |rule: &&TargetExplanation| match &rule.result {
        TargetResult::Cleared | TargetResult::Absent => true,
        TargetResult::Value { value } => value.as_str().is_some_and(|text| text.trim().is_empty()),
        TargetResult::Skipped { .. } | TargetResult::Refused { .. } => false,
    };
    let has_cleared = rules.iter().any(|rule| rule.result != TargetResult::Absent);
    let field = base(target);
    // A rule with a note of its own reads the right path, and finds no value in it.
    let is_noted = rules.iter().any(|rule| rule.note.is_some());
    let known =
        known_names(field).filter(|_| has_cleared && !is_noted && rules.iter().all(is_empty))?;
    let read = rules.first()?.reads.first()?;
    let mut places = evidence.places.iter().filter(|place| {
        names::position(&last_name(place), known).is_some()
            && !evidence.is_read(place)
            && !concerns_other(place)
            && !is_of_other_item(read, place)
    });
    let place = places.next()?;
    Some(format!(
        "no example gives {target} a value: it reads {read}, and no expression reads {place}; did you mean {place}?"
    ))
}

/// Returns the names of members that have the value of a field.
pub(super) fn known_names(field: &str) -> Option<&'static [&'static str]> {
    match field {
        "city" => Some(&CITIES),
        "postal_code" => Some(&ZIPS),
        field => {
            let mut known = PERSON.iter().filter(|known| known.field == field);
            known.next().map(|known| known.names)
        }
    }
}

/// Returns a note if the state depends on the country, and no rule gives the country.
fn without_country(evidence: &TypeExamples<'_>) -> Option<String> {
    let mut rules = evidence.targets();
    let rule = rules.find(|rule| rule.expression.contains("is_domestic"))?;
    let has_country = evidence
        .targets()
        .any(|rule| rule.target.ends_with("address.country"));
    (!has_country).then(|| {
        format!(
            "{} asks for the country, and no rule gives it: the bridge takes each address for an address in the USA. Set customer_history.address.country, or `address.country` of the event type",
            rule.target
        )
    })
}
