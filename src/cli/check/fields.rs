//! Notes about the fields that a mapping sets.

use crate::config::sources::examples::ExampleResults;
use crate::event::member_name::SensitiveKind;
use crate::intake::EventType;

/// The maximum number of members that a note about a schema names.
const STRAY_MAX: usize = 3;

/// Returns the notes about the fields of an event type: a part of an address that the mapping never sets, and a value that must
/// not leave the source.
pub(super) fn notes(event_type: &EventType) -> Vec<String> {
    let fields = event_type.mapping.fields().map(ToString::to_string);
    let fields: Vec<String> = fields.collect();
    let mut notes = half_addresses(&fields);
    notes.extend(fields.iter().filter_map(|field| sensitive(field)));
    notes
}

/// Returns a note if no example has a part that the schema describes.
pub(super) fn other_schema(
    name: &str,
    event_type: &EventType,
    results: &ExampleResults,
) -> Option<String> {
    let view = results.first_views.get(name)?;
    let items = view.as_array().map(Vec::as_slice).unwrap_or_default();
    let are_objects = !items.is_empty() && items.iter().all(serde_json::Value::is_object);
    if are_objects && !event_type.schema.errors(view).is_empty() {
        return Some("the event of an example is a list: split = \".[]\" in [body] makes an event of each item of the body".to_owned());
    }
    if results.described.contains(name) {
        return None;
    }
    Some(format!(
        "no example has a property of the schema {}, so the schema checks nothing: it is probably the schema of another event, or of the data inside the event",
        event_type.schema.name()
    ))
}

/// Returns the notes about a schema that does not check what its author means.
pub(super) fn schema(event_type: &EventType) -> impl Iterator<Item = String> {
    let empty = empty_schema(event_type).into_iter();
    empty.chain(stray_properties(event_type))
}

/// Returns a note about a schema that accepts every event: an empty one, or an event of the source in the place of a schema.
fn empty_schema(event_type: &EventType) -> Option<String> {
    event_type.schema.checks_nothing().then(|| {
        format!(
            "the schema {} has no keyword that checks a value, so it accepts every event: write the properties of the event, or let the command new-source infer them from a sample",
            event_type.schema.name()
        )
    })
}

/// Returns a note about the properties that the author wrote outside the keyword `properties`, where JSON Schema ignores them.
fn stray_properties(event_type: &EventType) -> Option<String> {
    let mut stray = event_type.schema.stray_properties();
    let more = stray.len().saturating_sub(STRAY_MAX);
    stray.truncate(STRAY_MAX);
    if more > 0 {
        stray.push(format!("{more} more"));
    }
    (!stray.is_empty()).then(|| {
        format!(
            "the schema {} does not check {}: JSON Schema has no such keyword. Write each property inside \"properties\"",
            event_type.schema.name(),
            stray.join(", ")
        )
    })
}

/// Returns a note about a value under metadata whose name is the name of a secret or of the number of a person.
fn sensitive(field: &str) -> Option<String> {
    let name = field.strip_prefix("metadata.")?;
    SensitiveKind::of(name)?;
    Some(format!(
        "{field} has the name of a secret, or of the number of an identity document, a bank account or a payment card: do not send such a value to Imprint"
    ))
}

/// Returns a note for each part of an address that a mapping with the first line of a street never sets. Imprint then keeps
/// the part of an earlier address.
fn half_addresses(fields: &[String]) -> Vec<String> {
    let outer = fields
        .iter()
        .filter_map(|field| field.strip_suffix("street_line1"));
    let lacks = |outer: &str, part: &str| !fields.contains(&format!("{outer}{part}"));
    let notes = outer.flat_map(|outer| {
        let second = lacks(outer, "street_line2").then(|| {
            format!(
                "sets {outer}street_line1 and never {outer}street_line2: Imprint keeps the second line of an earlier address, such as an apartment. If the source has one line, use `EXPRESSION | line(1; 2)` and `EXPRESSION | line(2; 2)`, which clears the second line"
            )
        });
        let others = ["city", "state", "postal_code"].into_iter();
        let others = others.filter(move |part| lacks(outer, part)).map(move |part| {
            format!(
                "sets {outer}street_line1 and never {outer}{part}: Imprint keeps the {} of an earlier address. Map the {}, or no part of the address",
                part.replace('_', " "),
                part.replace('_', " ")
            )
        });
        second.into_iter().chain(others).collect::<Vec<_>>()
    });
    notes.collect()
}
