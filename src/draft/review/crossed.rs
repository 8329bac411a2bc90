//! Notes about a field that reads a member whose name says another thing, beside a member with the name of the field.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{TypeExamples, base, last_name, text};
use crate::draft::address_names::{self, AddressPart};
use crate::draft::names;
use crate::draft::synonyms::{CUSTOMER_IDS, PERSON, RECORD_IDS};
use crate::event::pointer;
use crate::intake::TargetExplanation;

/// The fields whose members have telling names.
const FIELDS: [&str; 8] = [
    "city",
    "email",
    "first_name",
    "last_name",
    "phone",
    "postal_code",
    "state",
    "street_line1",
];
/// The fields of these that no member of another one can stand for.
const OF_PERSON: [&str; 4] = ["email", "first_name", "last_name", "phone"];
/// The names of members that have no value of these fields.
const OTHERS: [&str; 18] = [
    "company",
    "companyname",
    "employer",
    "gender",
    "jobtitle",
    "latitude",
    "longitude",
    "middleinitial",
    "middlename",
    "nameprefix",
    "namesuffix",
    "organisation",
    "organization",
    "organizationname",
    "salutation",
    "timezone",
    "title",
    "tz",
];
/// The meaning of these names, and of the names of ids.
const OTHER: &str = "other";

/// Returns a note for each field that reads another value, if the member with the name of the field lies beside it, and no rule of
/// the field reads it.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let rules = evidence.targets();
    let rules = rules.filter(|rule| FIELDS.contains(&base(&rule.target)));
    let mut known = BTreeSet::new();
    let notes = rules.filter_map(|rule| {
        let field = base(&rule.target);
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        if rule.expression.contains("split(") || has_form(field, rule) {
            return None;
        }
        let other = meaning(read).filter(|meaning| *meaning != field)?;
        let is_own = |place: &&str| meaning(place) == Some(field);
        // An alternative that the expression names is there on purpose.
        let is_unused = |place: &&str| {
            !rule.expression.contains(&last_name(place)) && is_unused(evidence, field, place)
        };
        let mut beside = evidence.beside(read).map(|(place, _)| place);
        let meant = beside.find(|place| is_own(place) && is_unused(place))?;
        // A second line can have the first one, and an id can be the email address.
        let differ = |body: &&Value| body.pointer(read) != body.pointer(meant);
        let is_sure = other != "street_line2" && evidence.bodies.iter().any(differ);
        let is_new = is_sure && known.insert((field, last_name(read)));
        is_new.then(|| note(field, read, meant))
    });
    let mut notes: BTreeSet<String> = notes.collect();
    let rules = evidence.targets();
    notes.extend(rules.filter_map(other_alternative));
    notes
}

/// Returns a note if a field of a person has an alternative after `//` whose name says another value of a person.
fn other_alternative(rule: &TargetExplanation) -> Option<String> {
    let field = base(&rule.target);
    let (first, rest) = rule.expression.split_once("//")?;
    if !OF_PERSON.contains(&field) || !rule.expression.starts_with('.') {
        return None;
    }
    let is_path = |text: &&str| {
        text.starts_with('.') && !text.contains(|sign: char| "|()[]\"".contains(sign))
    };
    let mut alternatives = rest.split("//").map(str::trim).filter(is_path);
    let other = alternatives.find(|path| {
        let meaning = meaning(&path.replace('.', "/"));
        meaning.is_some_and(|meaning| meaning != field && OF_PERSON.contains(&meaning))
    })?;
    let first = first.trim();
    Some(format!(
        "{field} reads {other} if the event has no {first}: by its name {other} is another value, so leave out `// {other}`"
    ))
}

/// Returns whether the value of a rule has the form of an email address or of a phone number, if the field is one: an id can be both.
fn has_form(field: &str, rule: &TargetExplanation) -> bool {
    let value = text(rule).unwrap_or_default();
    match field {
        "email" => value.contains('@'),
        "phone" => value.chars().filter(char::is_ascii_digit).count() >= 10,
        _ => false,
    }
}

fn note(field: &str, read: &str, meant: &str) -> String {
    let [read, meant] = [read, meant].map(pointer::without_values);
    format!(
        "{field} reads {read}, by its name another value, and not {meant}, which has the name of the field; did you mean {meant}?"
    )
}

/// Returns whether no rule reads a place, or only rules of other fields do, so that two fields are possibly exchanged.
fn is_unused(evidence: &TypeExamples<'_>, field: &str, place: &str) -> bool {
    let reads = |rule: &&TargetExplanation| rule.reads.iter().any(|read| read == place);
    let mut readers = evidence.targets().filter(reads).peekable();
    let is_of_other = |rule: &TargetExplanation| {
        FIELDS.contains(&base(&rule.target)) && base(&rule.target) != field
    };
    match readers.peek() {
        Some(_) => readers.all(is_of_other),
        None => !evidence.is_read(place),
    }
}

/// Returns the field whose value a member has by its name, or [`OTHER`].
fn meaning(place: &str) -> Option<&'static str> {
    let path: Vec<String> = place.split('/').skip(1).map(pointer::name).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let name = names::telling(&path);
    if let Some((part, ..)) = address_names::address_part(name) {
        return Some(match part {
            AddressPart::Line1 => "street_line1",
            AddressPart::Line2 => "street_line2",
            AddressPart::City => "city",
            AddressPart::State => "state",
            AddressPart::PostalCode => "postal_code",
            AddressPart::Country => "country",
        });
    }
    let mut persons = PERSON.iter();
    let person = persons.find(|known| names::position(name, known.names).is_some());
    let is_other = [OTHERS.as_slice(), &CUSTOMER_IDS, &RECORD_IDS]
        .iter()
        .any(|others| others.contains(&names::words(name).concat().as_str()));
    person
        .map(|known| known.field)
        .or_else(|| is_other.then_some(OTHER))
}
