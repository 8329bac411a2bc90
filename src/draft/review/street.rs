//! Notes about a part of a street that no expression reads.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{TypeExamples, base, last_name, outer, plain_name, text};
use crate::draft::address_names::{AddressPart, address_part};
use crate::event::pointer;
use crate::intake::{TargetExplanation, TargetResult};

/// The field with the first line of a street.
const STREET: &str = "street_line1";
/// The field with the second line of a street.
const SECOND_LINE: &str = "street_line2";
/// The names of a member with the number of a house, beside a member with the name of a street.
const HOUSE_NUMBERS: [&str; 15] = [
    "buildingno",
    "buildingnr",
    "buildingnumber",
    "civicnumber",
    "hausnr",
    "hausnummer",
    "house",
    "houseno",
    "housenr",
    "housenum",
    "housenumber",
    "streetno",
    "streetnr",
    "streetnum",
    "streetnumber",
];
/// The names of a member with the part of a house.
const UNITS: [&str; 11] = [
    "apartment",
    "apartmentnumber",
    "apt",
    "aptnumber",
    "flat",
    "flatnumber",
    "floor",
    "suite",
    "suitenumber",
    "unit",
    "unitnumber",
];

/// The names of a member with the country of an address.
const COUNTRIES: [&str; 5] = [
    "country",
    "countrycode",
    "countryiso",
    "countryiso2",
    "countryname",
];

/// Returns a note for each part of an address that an example has beside the street, and that no expression reads.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let is_street = |target: &str| target == STREET || target.ends_with(".street_line1");
    let streets = evidence.targets().filter(|rule| is_street(&rule.target));
    let reads: BTreeSet<&str> = streets
        .flat_map(|rule| rule.reads.iter().map(String::as_str))
        .collect();
    let (mut notes, mut countries) = (BTreeSet::new(), BTreeSet::new());
    for street in reads {
        let street_shown = pointer::without_values(street);
        let without_country = |place: &str| {
            let shown = pointer::without_values(place);
            format!(
                "{STREET} reads {street_shown}, and no expression reads {shown} beside it: the bridge takes each address for an address in the USA. Set customer_history.address.country, or `address.country` of the event type"
            )
        };
        let country = country_object(evidence, street).filter(|_| !reads_country(evidence, street));
        // Each event of a batch has one.
        let country = country.filter(|country| countries.insert(plain_name(country)));
        notes.extend(country.map(without_country));
        for (place, name) in evidence.unread_beside(street) {
            let shown = pointer::without_values(place);
            let [left, right] = [&shown, &street_shown].map(|place| last_name(place));
            if HOUSE_NUMBERS.contains(&name.as_str()) {
                notes.insert(format!(
                    "{STREET} reads {street_shown}, and no expression reads {shown} beside it: Imprint gets an address without the house number. Write a text of both, such as \"\\(.{left}) \\(.{right})\""
                ));
            } else if COUNTRIES.contains(&name.as_str()) && !reads_country(evidence, street) {
                notes.insert(without_country(place));
            } else if UNITS.contains(&name.as_str()) || is_second_line(evidence, street, place) {
                notes.insert(format!(
                    "{STREET} reads {street_shown}, and no expression reads {shown} beside it: Imprint gets an address without it. Map it to street_line2"
                ));
            }
        }
    }
    notes.extend(kept_second_line(evidence));
    notes.extend(cut_street(evidence));
    notes
}

/// Returns whether a place has the second line of the street at another place, and not of another address beside it.
fn is_second_line(evidence: &TypeExamples<'_>, street: &str, place: &str) -> bool {
    let parts = [street, place].map(|place| address_part(&last_name(place)));
    let is_of_street = match parts {
        [Some((_, kind, _)), Some((AddressPart::Line2, other, _))] => kind == other,
        [_, _] => false,
    };
    let has_rest = evidence.bodies.iter().any(|body| {
        let [whole, line] =
            [street, place].map(|place| body.pointer(place).and_then(Value::as_str));
        line.is_some_and(|line| !whole.unwrap_or_default().contains(line.trim()))
    });
    is_of_street && has_rest
}

/// Returns a note if the first line of a street is the first part of a text, and no other field has a part of the rest.
fn cut_street(evidence: &TypeExamples<'_>) -> Option<String> {
    let (street, read) = evidence.with_bodies().find_map(|(event, body)| {
        let mut rules = event.targets.iter().flatten();
        let (street, read, rest) = rules.find_map(|rule| {
            let (read, rest) = rest_of_street(rule, body)?;
            Some((rule, read, rest.to_lowercase()))
        })?;
        // The second part is a second line or, in an address in one text, the city.
        let second = rest.trim_start_matches(|sign: char| !sign.is_alphanumeric());
        let second = second.split([',', ';', '\n']).next()?.trim();
        let others = event.targets.iter().flatten();
        let others = others.filter(|rule| base(&rule.target) != STREET);
        let values = others.filter_map(|rule| Some((base(&rule.target), text(rule)?)));
        let mut values = values.map(|(field, value)| (field, value.trim().to_lowercase()));
        let has_rest = values.any(|(field, value)| {
            let is_place = [SECOND_LINE, "city", "postal_code"].contains(&field);
            value.contains(second) || is_place && !value.is_empty() && rest.contains(&value)
        });
        (!has_rest).then_some((street, read))
    })?;
    Some(format!(
        "in an example, {} has only the first part of {}, and no other field has the rest: Imprint gets an address without it. If the rest is a second line, map it to {SECOND_LINE}",
        street.target,
        pointer::without_values(read)
    ))
}

/// Returns the place of the text that an expression cuts to the first line of a street, and the rest of the text.
fn rest_of_street<'r, 'b>(
    rule: &'r TargetExplanation,
    body: &'b Value,
) -> Option<(&'r str, &'b str)> {
    let [read] = rule.reads.as_slice() else {
        return None;
    };
    let whole = body.pointer(read).and_then(Value::as_str)?;
    let rest = whole.strip_prefix(text(rule)?)?;
    let is_cut = base(&rule.target) == STREET && rule.expression.contains("split(");
    (is_cut && rest.contains(char::is_alphanumeric)).then_some((read, rest))
}

/// Returns a note if an example sets the first line of a street, and says nothing about the second line: Imprint would keep
/// the second line of the former address.
fn kept_second_line(evidence: &TypeExamples<'_>) -> Option<String> {
    let (street, line) = evidence.events.iter().find_map(|event| {
        let rule = |name: &str| {
            let mut targets = event.targets.iter().flatten();
            targets.find(|rule| rule.target == name || rule.target.ends_with(&format!(".{name}")))
        };
        let (street, line) = (rule(STREET)?, rule(SECOND_LINE)?);
        let is_set = matches!(street.result, TargetResult::Value { .. });
        (is_set && line.result == TargetResult::Absent)
            .then_some((&street.expression, &line.expression))
    })?;
    Some(format!(
        "an example sets {STREET}, and {SECOND_LINE} is absent: Imprint keeps the second line of the former address. If an absent line means that the address has none, write {SECOND_LINE} = 'if ({street}) != null then ({line}) // null else ({line}) end'"
    ))
}

/// Returns the object beside a street that has the country, such as `{"value": "US", "text": "United States"}`, if no
/// expression reads a member of it.
fn country_object<'e>(evidence: &'e TypeExamples<'_>, street: &str) -> Option<&'e str> {
    let objects = evidence.inside(outer(street)).map(outer);
    let mut countries = objects.filter(|object| {
        outer(object) == outer(street) && COUNTRIES.contains(&plain_name(object).as_str())
    });
    let object = countries.next()?;
    let is_read = evidence.is_read(object) || pointer::any_inside(&evidence.reads, object);
    (!is_read).then_some(object)
}

/// Returns whether a rule gives the country of an address, or reads it for another field.
fn reads_country(evidence: &TypeExamples<'_>, street: &str) -> bool {
    let mut rules = evidence.targets();
    let mut beside = evidence.beside(street);
    rules.any(|rule| rule.target.ends_with("address.country"))
        || beside.any(|(place, name)| COUNTRIES.contains(&name.as_str()) && evidence.is_read(place))
}
