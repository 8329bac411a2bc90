//! Recognizes the address of the customer.

use std::collections::BTreeMap;

use serde_json::Value;

use super::address_names::{self, AddressPart};
use super::field_draft::FieldDraft;
use super::form;
use super::names;
use super::path::{JsonPath, Leaf, Step};
use crate::mapping;

/// The position of a value in an object, after all names of a part of an address.
const IN_OBJECT: usize = 100;
/// The lowest number of parts of an address. A single `state` is often the state of something else.
const PARTS_MIN: usize = 2;
/// The reason for a field of the address.
const REASON: &str = "the name, beside the other parts of the address";

/// The fields of the address, and the paths that they read.
#[derive(Default)]
pub(super) struct AddressDrafts {
    pub(super) top: Vec<FieldDraft>,
    pub(super) history: Vec<FieldDraft>,
    pub(super) used: Vec<JsonPath>,
}

/// The parts of one address: the members of one object whose names have the same kind.
type AddressParts<'a> = BTreeMap<AddressPart, (usize, &'a Leaf)>;

/// Recognizes the address that is the best one for mail to the customer: an address in the record, or otherwise an object beside
/// the record that has the name of an address.
pub(super) fn recognize(leaves: &[Leaf], record: &JsonPath) -> AddressDrafts {
    let around = record.parent();
    let is_beside = |container: &JsonPath| {
        let is_below = container.starts_with(&around) && container.depth() > around.depth();
        is_below && address_names::is_address(container.last_name())
    };
    let is_inside = |container: &JsonPath| container.starts_with(record);
    let found = within(leaves, &is_inside).or_else(|| within(leaves, &is_beside));
    found.unwrap_or_default()
}

/// Recognizes the best address in the objects that `is_possible` allows.
fn within(leaves: &[Leaf], is_possible: &dyn Fn(&JsonPath) -> bool) -> Option<AddressDrafts> {
    let mut groups: BTreeMap<(JsonPath, String), AddressParts<'_>> = BTreeMap::new();
    for leaf in leaves {
        let path = leaf.path.names();
        let Some(AddressMember {
            container,
            part,
            kind,
            position,
        }) = AddressMember::of(leaf)
        else {
            continue;
        };
        let is_outside = !is_possible(&container);
        let is_list = part == AddressPart::Line1 && form::any(leaf, is_text_list);
        let is_text = form::any(leaf, |value| value.is_string() && !form::is_email(value));
        let fits = is_text || is_list;
        let is_number = part == AddressPart::PostalCode && form::any(leaf, form::is_whole);
        if is_outside || names::concerns_other(&path) || !(fits || is_number) {
            continue;
        }
        let parts = groups.entry((container, kind)).or_default();
        let known = parts.get(&part);
        // A member without any value says nothing, and a member that is an object in one sample is null in another one.
        let is_better =
            |(known, other): &(usize, &Leaf)| match (leaf.has_value(), other.has_value()) {
                (true, false) => true,
                (false, true) => false,
                (true, true) | (false, false) => position < *known,
            };
        if known.is_none_or(is_better) {
            parts.insert(part, (position, leaf));
        }
    }
    let rank = |((container, kind), parts): &((JsonPath, String), AddressParts<'_>)| {
        let has_values = parts.values().filter(|(_, leaf)| leaf.has_value()).count() >= PARTS_MIN;
        let name = container.names();
        let name = name.iter().rev().find(|name| {
            address_names::is_address(name) || address_names::address_rank(name, "") != 2
        });
        let rank = address_names::address_rank(name.copied().unwrap_or_default(), kind);
        (!has_values, rank, std::cmp::Reverse(parts.len()))
    };
    let complete = groups
        .into_iter()
        .filter(|(_, parts)| parts.len() >= PARTS_MIN);
    let mut ranked: Vec<_> = complete.collect();
    ranked.sort_by_key(rank);
    let ((container, _), parts) = ranked.into_iter().next()?;
    let mut drafts = drafts(&container, &parts);
    // The other members of an object such as `{"value": "US", "text": "United States"}` say nothing more.
    let objects = parts.values().map(|(_, leaf)| leaf.path.parent());
    let objects: Vec<JsonPath> = objects.filter(|object| *object != container).collect();
    let is_inside = |leaf: &&Leaf| objects.iter().any(|object| leaf.path.starts_with(object));
    let inside = leaves.iter().filter(is_inside);
    drafts.used.extend(inside.map(|leaf| leaf.path.clone()));
    Some(drafts)
}

/// A leaf that has the name of a part of an address.
struct AddressMember {
    /// The object with the parts of the address.
    container: JsonPath,
    part: AddressPart,
    kind: String,
    /// The position of the name in the list of names: the lowest one is the best one.
    position: usize,
}

impl AddressMember {
    fn of(leaf: &Leaf) -> Option<Self> {
        let outer = leaf.path.parent();
        if let Some((part, kind, position)) = address_names::address_part(leaf.path.last_name()) {
            return Some(Self {
                container: outer,
                part,
                kind,
                position,
            });
        }
        Self::in_object(leaf, &outer)
    }

    /// Recognizes the state or the country in an object such as `{"value": "US", "text": "United States"}`.
    fn in_object(leaf: &Leaf, object: &JsonPath) -> Option<Self> {
        let (part, kind, _) = address_names::address_part(object.last_name())?;
        let holder = address_names::holder_position(leaf.path.last_name())?;
        let is_country = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| mapping::country_code(text).is_some())
        };
        let is_state = |value: &Value| value.as_str().is_some_and(mapping::is_us_state);
        let is_value = match part {
            AddressPart::Country => form::all(leaf, is_country),
            // A foreign address has another state.
            AddressPart::State => form::any(leaf, is_state),
            AddressPart::Line1
            | AddressPart::Line2
            | AddressPart::City
            | AddressPart::PostalCode => false,
        };
        let is_member = |path: &JsonPath| matches!(path.steps().last(), Some(Step::Member(_)));
        let fits = is_value && leaf.has_value() && is_member(&leaf.path) && is_member(object);
        fits.then(|| Self {
            container: object.parent(),
            part,
            kind,
            position: IN_OBJECT.saturating_add(holder),
        })
    }
}

fn drafts(container: &JsonPath, parts: &AddressParts<'_>) -> AddressDrafts {
    let mut drafts = AddressDrafts::default();
    let reason = REASON;
    let leaf = |part: AddressPart| parts.get(&part).map(|(_, leaf)| *leaf);
    let text = |part: AddressPart| leaf(part).map(|leaf| leaf.unless_false(leaf.path.expression()));
    if let Some(street) = leaf(AddressPart::Line1) {
        let is_list = street.has_value() && form::all(street, Value::is_array);
        let join = if is_list { " | join(\"\\n\")" } else { "" };
        let lines = street_lines(street, join, leaf(AddressPart::Line2));
        drafts.top.extend(lines);
    }
    if let Some(city) = text(AddressPart::City) {
        drafts.top.push(FieldDraft::live("city", city, reason));
    }
    let country = leaf(AddressPart::Country);
    for (part, field, function) in [
        (AddressPart::State, "state", "us_state"),
        (AddressPart::PostalCode, "postal_code", "us_zip"),
    ] {
        let Some(leaf) = leaf(part) else {
            continue;
        };
        if leaf.has_value() && form::all(leaf, Value::is_number) {
            let why = "The samples have the ZIP code as a number, which loses the zeros at its start. The source must send a text.";
            drafts.top.push(FieldDraft::suggested(
                field,
                format!("{} | {function}", leaf.path.expression()),
                why,
            ));
            continue;
        }
        let expression = match country {
            Some(country) => domestic(container, country, &member(container, leaf), function),
            None => format!("{} | {function}", leaf.path.expression()),
        };
        let expression = leaf.unless_false(expression);
        drafts.top.push(FieldDraft::live(field, expression, reason));
    }
    drafts.history = drafts.top.iter().map(in_history).collect();
    if let Some(country) = country {
        let field = "customer_history.address.country";
        let expression = format!("{} | alpha3", country.path.expression());
        let expression = country.unless_false(expression);
        let country = FieldDraft::live(field, expression, reason);
        drafts.history.push(country);
    }
    if leaf(AddressPart::Line1).is_none() {
        let fields = drafts.top.iter_mut().chain(&mut drafts.history);
        fields.for_each(suggest);
    }
    drafts.used = parts.values().map(|(_, leaf)| leaf.path.clone()).collect();
    drafts
}

/// Turns the field of an address without a street into a suggestion.
fn suggest(field: &mut FieldDraft) {
    let why = "The draft found no street, so these values are perhaps no address for mail.";
    field.is_suggestion = true;
    why.clone_into(&mut field.reason);
}

fn is_text_list(value: &Value) -> bool {
    let items = value.as_array();
    items.is_some_and(|items| items.iter().all(Value::is_string))
}

fn street_lines(first: &Leaf, join: &str, second: Option<&Leaf>) -> [FieldDraft; 2] {
    let street = format!("{}{join}", first.path.expression());
    let (lines, why) = match second {
        Some(second) => (
            [
                first.unless_false(street),
                second.unless_false(second.path.expression()),
            ],
            REASON,
        ),
        None => (
            [1, 2].map(|line| first.unless_false(format!("{street} | line({line}; 2)"))),
            "a street of two lines becomes two fields, and a street of one line clears the second line at Imprint",
        ),
    };
    let [first, second] = lines;
    [
        FieldDraft::live("street_line1", first, why),
        FieldDraft::live("street_line2", second, why),
    ]
}

/// Converts a value with a function only if the address is in the USA, in one of its territories, or has no country.
fn domestic(container: &JsonPath, country: &Leaf, value: &str, function: &str) -> String {
    let is_empty = country.is_false_empty;
    let country = member(container, country);
    let converted = format!("{country} | alpha3 | . == null or is_domestic");
    let condition = if is_empty {
        format!("{country} == false or ({converted})")
    } else {
        converted
    };
    let condition = format!("if {condition} then {value} | {function} else {value} end");
    if container.depth() == 0 {
        condition
    } else {
        format!("{} | {condition}", container.expression())
    }
}

/// Returns the path of a part relative to the object of the address.
fn member(container: &JsonPath, leaf: &Leaf) -> String {
    let steps = leaf.path.steps().iter().skip(container.depth());
    let relative = steps.fold(JsonPath::default(), |path, step| path.child(step.clone()));
    relative.expression()
}

fn in_history(field: &FieldDraft) -> FieldDraft {
    FieldDraft {
        target: format!("customer_history.address.{}", field.target),
        ..field.clone()
    }
}
