//! Recognizes the fields of Imprint in the values of an event, by the name and the form of each value.

use super::account;
use super::address;
use super::document::{Document, toml_text};
use super::doubt::SampleNames;
use super::emptied;
use super::false_values;
use super::field_draft::{FieldDraft, FieldDrafts, best, in_history, reason};
use super::form::{self, TimeForm};
use super::lists;
use super::misfit;
use super::names;
use super::path::{JsonPath, Leaf, Step};
use super::person::{person_expression, pick, value_form};
use super::synonyms::{self, Synonyms};

/// The maximum number of suggestions for `metadata`. More suggestions would hide the settings.
const METADATA_MAX: usize = 20;
/// The maximum length of a text that can be a value of `metadata`.
const METADATA_CHARS_MAX: usize = 64;

/// Returns the object that has most values of the customer, such as `.data.customer`. In an event such as
/// `contact.updated`, an object `contact` is the customer, also beside the object of an account.
pub(super) fn record(leaves: &[Leaf]) -> JsonPath {
    let subjects = subjects(leaves);
    let is_subject = |leaf: &&Leaf| {
        let path = leaf.path.names();
        let mut outer = path.iter().rev().skip(1);
        outer.any(|name| subjects.contains(&names::singular(name)))
    };
    let named: Vec<Leaf> = leaves.iter().filter(is_subject).cloned().collect();
    if has_person(&named) {
        return most_values(&named);
    }
    most_values(leaves)
}

/// Returns the words for a customer in the types of the events, such as `contact` in `contact.updated`.
fn subjects(leaves: &[Leaf]) -> Vec<String> {
    let is_type = |leaf: &&Leaf| {
        names::position(leaf.path.last_name(), &synonyms::EVENT_TYPES).is_some()
            && leaf.has_value()
            && form::all(leaf, names_a_change)
    };
    let types = leaves.iter().filter(is_type).flat_map(Leaf::present);
    let words = types.flat_map(|value| names::words(value.as_str().unwrap_or_default()));
    let words = words.map(|word| names::singular(&word));
    words.filter(|word| names::is_customer_word(word)).collect()
}

fn most_values(leaves: &[Leaf]) -> JsonPath {
    let picked = synonyms::PERSON
        .iter()
        .filter_map(|known| pick(leaves, known, None));
    let parents = picked.map(|leaf| holder(&leaf.path));
    let mut counts: Vec<(JsonPath, usize)> = Vec::new();
    for parent in parents {
        match counts.iter_mut().find(|(path, _)| *path == parent) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((parent, 1)),
        }
    }
    let best = counts
        .into_iter()
        .max_by_key(|(path, count)| (*count, std::cmp::Reverse(path.depth())));
    best.map(|(path, _)| path).unwrap_or_default()
}

/// Returns whether the samples have a value of a person.
pub(super) fn has_person(leaves: &[Leaf]) -> bool {
    let mut fields = synonyms::PERSON.iter();
    fields.any(|known| pick(leaves, known, None).is_some())
}

/// Returns the object around a value: the object around the list, if the value is in an item of a list, and the object
/// around the member, if a member such as `{"value": …}` only holds the value.
pub(super) fn holder(path: &JsonPath) -> JsonPath {
    // A text in a list, such as `.emails[0]`, has the same holder as the list.
    if matches!(path.steps().last(), Some(Step::First)) {
        return holder(&path.parent());
    }
    let mut outer = path.clone();
    loop {
        let parent = outer.parent();
        let names = path.names();
        let is_telling = parent.names().len() < names.len()
            && !parent.names().is_empty()
            && names::telling(&names) == parent.last_name()
            && outer == *path;
        let has_item = parent
            .steps()
            .iter()
            .any(|step| !matches!(step, Step::Member(_)));
        if !is_telling && !has_item {
            // The list `emails` in `{"emails": [{"email": "…"}]}` belongs to the object around it.
            let is_of_person = outer != *path && names_a_part(parent.last_name());
            return if is_of_person {
                parent.parent()
            } else {
                parent
            };
        }
        outer = parent;
    }
}

/// Returns whether a name is the name of a part of a person, such as `emails` or `name`.
fn names_a_part(name: &str) -> bool {
    let is_field = |known: &Synonyms| names::position(name, known.names).is_some();
    synonyms::PERSON.iter().any(is_field) || names::position(name, &synonyms::FULL_NAMES).is_some()
}

/// Returns whether an object is an event: it names a type of a change, such as `customer.updated`.
pub(super) fn is_event(leaves: &[Leaf], object: &JsonPath) -> bool {
    let mut members = leaves.iter().filter(|leaf| leaf.path.parent() == *object);
    members.any(|leaf| {
        let is_type = names::position(leaf.path.last_name(), &synonyms::EVENT_TYPES).is_some();
        is_type && leaf.has_value() && form::all(leaf, names_a_change)
    })
}

/// Returns whether a value is a word for a change.
pub(super) fn names_a_change(value: &serde_json::Value) -> bool {
    let text = value.as_str().unwrap_or_default().to_lowercase();
    form::is_word(value) && synonyms::VERBS.iter().any(|verb| text.contains(verb))
}

/// Recognizes all fields. `version` is the expression for the version, if the version is a time.
pub(super) fn recognize(
    leaves: &[Leaf],
    record: &JsonPath,
    version: Option<&str>,
    samples: SampleNames<'_>,
) -> FieldDrafts {
    let mut found = FieldDrafts::default();
    let mut used = Vec::new();
    let mut person = Vec::new();
    for known in &synonyms::PERSON {
        if let Some(leaf) = pick(leaves, known, Some(record)) {
            let (_, fits) = value_form(known.field);
            let (expression, decision) = person_expression(known.field, &leaf.only(fits));
            found.decisions.extend(decision);
            found
                .decisions
                .extend(misfit::decision(known.field, leaf, samples));
            found
                .decisions
                .extend(misfit::alternative(known, leaf, leaves, samples));
            used.push(leaf.path.clone());
            person.push(FieldDraft::live(known.field, expression, reason(leaf)));
        }
    }
    let addresses = address::recognize(leaves, record);
    used.extend(addresses.used);
    let mut history: Vec<FieldDraft> = person.iter().map(in_history).collect();
    history.extend(addresses.history);
    found.fields = person;
    found.fields.extend(addresses.top);
    found.fields.extend(history);
    account::recognize(leaves, record, version, &mut found, &mut used);
    misfit::suggest(leaves, record, samples, &mut found, &mut used);
    by_form(leaves, &mut found, &mut used);
    emptied::suggest(leaves, samples, &mut found);
    metadata(leaves, record, &used, &mut found);
    found
        .decisions
        .extend(leaves.iter().filter_map(json_in_a_text));
    found.decisions.extend(lists::texts(leaves, &used));
    found.decisions.extend(lists::pairs(leaves, &used));
    found
        .decisions
        .extend(false_values::decision(leaves, samples));
    found
}

/// Suggests a value that looks like an email address under an unknown name, and the parts of a whole name.
fn by_form(leaves: &[Leaf], found: &mut FieldDrafts, used: &mut Vec<JsonPath>) {
    let is_set =
        |found: &FieldDrafts, field: &str| found.fields.iter().any(|known| known.target == field);
    let is_free = |leaf: &&Leaf| {
        !used.contains(&leaf.path) && leaf.has_value() && form::all(leaf, form::is_email)
    };
    if !is_set(found, "email")
        && let Some(leaf) = leaves.iter().find(is_free)
    {
        let why = "The value looks like an email address, but its name does not say whose.";
        let expression = leaf.unless_false(leaf.path.expression());
        let email = FieldDraft::suggested("email", expression, why);
        found.fields.push(email);
    }
    let is_name = |leaf: &Leaf| form::all(leaf, form::is_text) && leaf.has_value();
    let name = best(leaves, &synonyms::FULL_NAMES, None, is_name);
    if let Some(leaf) = name.filter(|_| !is_set(found, "first_name") && !is_set(found, "last_name"))
    {
        let path = leaf.path.expression();
        let why = "The whole name does not show where the first name ends. If it always has two words, remove the # of both lines.";
        for (field, part) in [("first_name", "first"), ("last_name", "last")] {
            let expression = leaf.unless_false(format!("{path} | split(\" \") | {part}"));
            found
                .fields
                .push(FieldDraft::suggested(field, expression, why));
        }
        used.push(leaf.path.clone());
    }
}

/// Names a text that contains JSON, which has values that no expression can read.
fn json_in_a_text(leaf: &Leaf) -> Option<String> {
    let is_json = leaf.has_value() && form::all(leaf, form::is_json_text);
    is_json.then(|| {
        format!(
            "The member `{}` is a text that contains JSON, and an expression reads no JSON inside a text: let the source post this JSON itself, or put a program in between that does it.",
            leaf.path.expression()
        )
    })
}

/// Suggests the other values of the record for `metadata`.
fn metadata(leaves: &[Leaf], record: &JsonPath, used: &[JsonPath], found: &mut FieldDrafts) {
    let is_value = |value: &serde_json::Value| {
        value.is_boolean()
            || value.is_number()
            || value.as_str().is_some_and(|text| {
                text.chars().count() <= METADATA_CHARS_MAX
                    && !form::is_email(value)
                    && !form::is_json_text(value)
            })
    };
    let is_free = |leaf: &&Leaf| {
        let names = leaf.path.names();
        let is_id = names::words(leaf.path.last_name())
            .last()
            .is_some_and(|word| word == "id");
        leaf.path.starts_with(record)
            && !used.contains(&leaf.path)
            && !is_id
            && !names::concerns_other(&names)
            && TimeForm::of(leaf).is_none()
            && leaf.has_value()
            && form::all(leaf, is_value)
    };
    let mut taken = std::collections::BTreeSet::new();
    for leaf in leaves.iter().filter(is_free) {
        if let Some(suggestions) = lists::suggestions(leaf, leaves) {
            found.fields.extend(suggestions);
            continue;
        }
        let words = names::words(names::telling(&leaf.path.names()));
        let key: String = words
            .join("_")
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if key.is_empty() || taken.len() >= METADATA_MAX || !taken.insert(key.clone()) {
            continue;
        }
        let why = "Imprint has no field of this name. Under `metadata`, any name is allowed.";
        let path = leaf.path.expression();
        let expression = if leaf.has_false() {
            leaf.unless_false(path)
        } else {
            path
        };
        let field = FieldDraft::suggested(&format!("metadata.{key}"), expression, why);
        found.fields.push(field);
    }
}

/// Writes the fields of an event type into its table `update`, the settings first and the suggestions after them.
pub(super) fn write_fields(document: &mut Document, fields: &[FieldDraft]) {
    let (suggested, live): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.is_suggestion);
    let is_history = |field: &&&FieldDraft| field.target.starts_with("customer_history.");
    for field in live.iter().filter(|field| !is_history(field)) {
        document.setting(&field.target, &toml_text(&field.expression));
    }
    let history: Vec<_> = live.iter().filter(is_history).collect();
    if !history.is_empty() {
        document.text("");
        document.comment("The data that our company has about the customer. Imprint keeps this data separate from the fields above, so the bridge sends the values a second time.");
        for field in history {
            document.setting(&field.target, &toml_text(&field.expression));
        }
    }
    if !suggested.is_empty() {
        document.text("");
    }
    let mut last = "";
    for field in suggested {
        if field.reason != last {
            document.comment(&field.reason);
        }
        last = &field.reason;
        document.text(&format!(
            "# {} = {}",
            field.target,
            toml_text(&field.expression)
        ));
    }
}
