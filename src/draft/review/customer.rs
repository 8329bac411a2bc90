//! Notes about the id of the customer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::versions::EVENT_ID;
use super::{TypeExamples, base, constant, last_name, outer, plain_name, text};
use crate::draft::names;
use crate::draft::synonyms::{CUSTOMER_IDS, EVENT_TYPES, RECORD_IDS};
use crate::event::pointer;
use crate::intake::{EventExplanation, TargetExplanation, TargetResult};

/// The rules that name the customer of an event.
pub(super) const CUSTOMER_RULES: [&str; 2] = ["customer.imprint_id", "customer.partner_id"];
/// The names of members that name the account of the company in the source, or the role of a person.
const ACCOUNT_IDS: [&str; 26] = [
    "appid",
    "applicationid",
    "assigneeid",
    "brandid",
    "createdby",
    "createdbyid",
    "environmentid",
    "lastmodifiedbyid",
    "modifiedby",
    "modifiedbyid",
    "organisationid",
    "organizationid",
    "orgid",
    "ownerid",
    "portalid",
    "projectid",
    "role",
    "roleid",
    "shopid",
    "siteid",
    "storeid",
    "teamid",
    "tenantid",
    "updatedbyid",
    "workspaceid",
    "workspace",
];

/// The names of the objects of an employee and of the company, whose id is no id of a customer.
const OTHER_RECORDS: [&str; 14] = [
    "agent",
    "assignee",
    "changedby",
    "createdby",
    "creator",
    "lastmodifiedby",
    "modifiedby",
    "organisation",
    "organization",
    "owner",
    "project",
    "tenant",
    "updatedby",
    "workspace",
];
/// The names of objects whose id is the customer's only if the record has no other one.
const COMPANIES: [&str; 4] = ["account", "company", "employer", "parentaccount"];

/// The names of members that many customers have in common.
const CLASSES: [&str; 14] = [
    "branch",
    "category",
    "currency",
    "customerstatus",
    "customertype",
    "department",
    "entitystatus",
    "language",
    "lifecyclestage",
    "segment",
    "stage",
    "status",
    "subsidiary",
    "type",
];

/// The name of the id that another system gave to the customer.
const EXTERNAL_ID: &str = "externalid";
/// The number of hexadecimal digits of a UUID.
const UUID_DIGITS: usize = 32;

/// Returns the notes about ids of customers.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> Vec<String> {
    let ids = account_ids(evidence).chain(other_records(evidence));
    ids.chain(mail_ids(evidence))
        .chain(own_ids(evidence))
        .chain(shared_id(evidence))
        .collect()
}

/// Returns a note for each rule of the customer that reads the id of a company's account, if all examples have one value. One
/// example says nothing.
fn account_ids(evidence: &TypeExamples<'_>) -> impl Iterator<Item = String> {
    let mut values: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
    for rule in evidence.targets().filter(|rule| is_customer(rule)) {
        if let ([read], TargetResult::Value { value }) = (rule.reads.as_slice(), &rule.result) {
            let known = values.entry((&rule.target, read)).or_default();
            known.push(value);
        }
    }
    let is_account = move |read: &str| {
        ACCOUNT_IDS.contains(&plain_name(read).as_str())
            || OTHER_RECORDS.contains(&plain_name(outer(read)).as_str())
                && !has_person(evidence, outer(read))
    };
    let is_same = |values: &[&Value]| {
        values.len() > 1 && values.iter().all(|value| Some(value) == values.first())
    };
    let accounts = values
        .into_iter()
        .filter(move |((_, read), values)| is_account(read) && is_same(values));
    accounts.map(|((rule, read), _)| {
        let read = pointer::without_values(read);
        format!(
            "{rule} reads {read}, which by its name is no id of a customer, and all examples have the same value there: read the id of the customer, otherwise every event changes one customer"
        )
    })
}

/// Returns a note for each rule of the customer that reads the id of another record, if the record of the customer's values has
/// an id that no expression reads.
fn other_records(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let rules = evidence.targets().filter(|rule| is_customer(rule));
    let notes = rules.filter_map(|rule| {
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        let is_class = |place: &str| CLASSES.contains(&plain_name(place).as_str());
        let other = match is_class(read) {
            true => read,
            false => outer(read),
        };
        let name = plain_name(other);
        let is_other = [OTHER_RECORDS.as_slice(), &COMPANIES, &CLASSES]
            .iter()
            .any(|names| names.contains(&name.as_str()));
        let what = match is_class(other) {
            true => "by its name a value of many customers",
            false => "the id of another record",
        };
        let is_person = personal_reads(evidence).any(|read| outer(read) == outer(other))
            && !has_person(evidence, other);
        // Beside the object of an account, the id of an event has the name of a record's id.
        let is_company = COMPANIES.contains(&name.as_str());
        let is_own = |meant: &&str| !(is_company && is_of_event(evidence, meant));
        let mut ids = unread_ids(evidence, other).filter(|_| is_other && is_person);
        let meant = ids.find(is_own)?;
        let (read, meant) = (
            pointer::without_values(read),
            pointer::without_values(meant),
        );
        Some(format!(
            "{} reads {read}, {what}, and no expression reads {meant}, beside the values of the customer: did you mean {meant}?",
            rule.target
        ))
    });
    notes.collect()
}

/// Returns whether an id is possibly the one of an event: by its name, and because the type of an event lies beside it.
fn is_of_event(evidence: &TypeExamples<'_>, id: &str) -> bool {
    let mut beside = evidence.beside(id);
    RECORD_IDS.contains(&plain_name(id).as_str())
        && beside.any(|(place, _)| names::position(&last_name(place), &EVENT_TYPES).is_some())
}

/// Returns a note for each rule of the customer that reads an email address, if the record has an id that no expression reads.
fn mail_ids(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let rules = evidence.targets().filter(|rule| is_customer(rule));
    let notes = rules.filter_map(|rule| {
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        text(rule).filter(|id| is_email_address(id))?;
        // A name such as `id` can be the id of an order that has the email address.
        let is_of_customer = |place: &&str| {
            names::position(&last_name(place), &CUSTOMER_IDS).is_some()
                || plain_name(place) == EXTERNAL_ID && names::is_contact_point(&last_name(read))
        };
        let meant = unread_ids(evidence, read).find(is_of_customer)?;
        let (read, meant) = (
            pointer::without_values(read),
            pointer::without_values(meant),
        );
        Some(format!(
            "{} reads {read}, an email address, which can change, and no expression reads the id in {meant}: did you mean {meant}?",
            rule.target
        ))
    });
    notes.collect()
}

/// Returns whether a text has the form of an email address. An id can have an @ too.
fn is_email_address(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else {
        return false;
    };
    let is_one = !text.contains(char::is_whitespace) && !domain.contains('@');
    is_one && !name.is_empty() && domain.trim_matches('.').contains('.')
}

/// Returns a note if the rule for Imprint's id reads the source's own id of the customer, or another value without the form of
/// Imprint's ids. The samples of Imprint's documentation are UUIDs.
fn own_ids(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let [imprint, partner] = CUSTOMER_RULES;
    let has_uuid = |id: &str| {
        let plain = id.replace('-', "");
        let mut parts = plain.as_bytes().windows(UUID_DIGITS);
        parts.any(|part| part.iter().all(u8::is_ascii_hexdigit))
    };
    let is_own = |read: &str| {
        names::position(&last_name(read), &CUSTOMER_IDS).is_some()
            && !read.to_ascii_lowercase().contains("imprint")
    };
    let has_partner = evidence.targets().any(|rule| rule.target == partner);
    let rules = evidence.targets().filter(|rule| rule.target == imprint);
    let notes = rules.filter_map(|rule| {
        let [read] = rule.reads.as_slice() else {
            return None;
        };
        let is_own = is_own(read);
        let is_imprints = read.to_ascii_lowercase().contains("imprint");
        let has_value = matches!(rule.result, TargetResult::Value { .. });
        let is_wrong = has_value && !is_imprints && !text(rule).is_some_and(has_uuid);
        (is_wrong && !(is_own && has_partner)).then(|| {
            let read = pointer::without_values(read);
            let what = match is_own {
                true => "by its name the source's own id of the customer",
                false => "and an example has a value there without the form of Imprint's ids, which are UUIDs",
            };
            format!(
                "{imprint} reads {read}, {what}: if it is the id of the source, write {partner}"
            )
        })
    });
    notes.collect()
}

/// Returns a note if examples of different persons have one id of the customer.
fn shared_id(evidence: &TypeExamples<'_>) -> Option<String> {
    CUSTOMER_RULES.into_iter().find_map(|rule| {
        let mut firsts: BTreeMap<String, &EventExplanation> = BTreeMap::new();
        let is_shared = evidence.events.iter().any(|event| {
            let first = plain_value(event, rule).map(|id| *firsts.entry(id).or_insert(event));
            first.is_some_and(|first| are_different(first, event))
        });
        is_shared.then(|| {
            format!(
                "examples with different names and email addresses have one {rule}: if it is no id of one customer, an event changes the data of another one"
            )
        })
    })
}

/// Returns whether two events are about different persons: the first names differ, and an email address or a last name, and none
/// of them is equal. A person can change one of them.
fn are_different(one: &EventExplanation, other: &EventExplanation) -> bool {
    let is_equal = |field: &str| {
        let [one, other] = [one, other].map(|event| plain_value(event, field));
        let both = one.zip(other);
        both.map(|(one, other)| one.to_lowercase() == other.to_lowercase())
    };
    let [first, last, email] = ["first_name", "last_name", "email"].map(is_equal);
    let rest = [last, email];
    first == Some(false) && rest.contains(&Some(false)) && !rest.contains(&Some(true))
}

/// Returns the id of the customer of an event.
pub(super) fn id(event: &EventExplanation) -> Option<String> {
    let mut rules = CUSTOMER_RULES.into_iter();
    rules.find_map(|rule| plain_value(event, rule))
}

/// Returns the text or the number that a rule of an event gives. Many CRMs use the number of a database row as the id.
fn plain_value(event: &EventExplanation, target: &str) -> Option<String> {
    let mut rules = event.targets.iter().flatten();
    match &rules.find(|rule| rule.target == target)?.result {
        TargetResult::Value {
            value: Value::String(text),
        } => Some(text.clone()),
        TargetResult::Value {
            value: Value::Number(number),
        } => Some(number.to_string()),
        TargetResult::Value { .. }
        | TargetResult::Absent
        | TargetResult::Cleared
        | TargetResult::Skipped { .. }
        | TargetResult::Refused { .. } => None,
    }
}

/// Returns the places with an id beside another place that no expression of the event type reads.
fn unread_ids<'e>(evidence: &'e TypeExamples<'_>, place: &str) -> impl Iterator<Item = &'e str> {
    // body.id possibly reads the id of the record, as a part of the id of the event.
    let rules = evidence.targets().filter(|rule| rule.target != EVENT_ID);
    let reads: BTreeSet<&str> = rules
        .flat_map(|rule| rule.reads.iter().map(String::as_str))
        .collect();
    let ids = evidence.beside(place).filter(|(place, name)| {
        let is_id = names::position(&last_name(place), &CUSTOMER_IDS).is_some()
            || RECORD_IDS.contains(&name.as_str())
            || name == EXTERNAL_ID;
        is_id && !reads.contains(place)
    });
    let ids: Vec<&str> = ids.map(|(place, _)| place).collect();
    ids.into_iter()
}

/// Returns whether expressions read values of a person in an object, so that its id is the id of the person.
pub(super) fn has_person(evidence: &TypeExamples<'_>, object: &str) -> bool {
    let inside = format!("{object}/");
    personal_reads(evidence).any(|read| read.starts_with(&inside))
}

/// Returns whether expressions read two kinds of values of a person in an object, or one from a member with its name. An item with
/// a `value` alone, such as an email address, is a part of a customer.
pub(super) fn is_record(evidence: &TypeExamples<'_>, object: &str) -> bool {
    let inside = format!("{object}/");
    let is_inside = |read: &&String| read.starts_with(&inside);
    let rules = evidence.targets().filter(|rule| is_personal(rule));
    let rules = rules.filter(|rule| rule.reads.iter().any(|read| is_inside(&read)));
    let rules: Vec<&TargetExplanation> = rules.collect();
    let is_named = |rule: &&TargetExplanation| {
        let known = constant::known_names(base(&rule.target)).unwrap_or_default();
        let mut reads = rule.reads.iter().filter(is_inside);
        reads.any(|read| names::position(&last_name(read), known).is_some())
    };
    let fields: BTreeSet<&str> = rules.iter().map(|rule| base(&rule.target)).collect();
    fields.len() > 1 || rules.iter().any(is_named)
}

/// Returns the places from which the rules with values of a person read.
fn personal_reads<'a>(evidence: &TypeExamples<'a>) -> impl Iterator<Item = &'a String> {
    let rules = evidence.targets().filter(|rule| is_personal(rule));
    rules.flat_map(|rule| &rule.reads)
}

/// Returns whether a rule gives a value of a person.
fn is_personal(rule: &TargetExplanation) -> bool {
    let field = rule.target.rsplit('.').next().unwrap_or_default();
    ["email", "first_name", "last_name", "phone"].contains(&field)
}

pub(super) fn is_customer(rule: &TargetExplanation) -> bool {
    CUSTOMER_RULES.contains(&rule.target.as_str())
}
