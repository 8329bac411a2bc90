//! The members that have the name of a field, and a value of another form in a sample.

use super::doubt::SampleNames;
use super::field_draft::{FieldDraft, FieldDrafts, best, in_history};
use super::form;
use super::names;
use super::path::{JsonPath, Leaf};
use super::person::{person_expression, value_form};
use super::synonyms::{self, Synonyms};

/// Says that the draft sets a field although the value of a sample is wrong. The sample can be an example of an invalid
/// event.
pub(super) fn decision(field: &str, leaf: &Leaf, samples: SampleNames<'_>) -> Option<String> {
    let (form, fits) = value_form(field);
    let (event, _) = leaf.present_in().find(|(_, value)| !fits(value))?;
    let (path, sample) = (leaf.path.expression(), samples.of(event));
    Some(format!(
        "The value of {path} in {sample} is not {form}. The draft sets {field} all the same, so the bridge refuses the event. If the source sends such values, the setting `on_invalid.{field} = \"skip\"` leaves out only this field."
    ))
}

/// Names another member with the same meaning that has a value in a sample in which the chosen member is empty.
pub(super) fn alternative(
    known: &Synonyms,
    chosen: &Leaf,
    leaves: &[Leaf],
    samples: SampleNames<'_>,
) -> Option<String> {
    let (_, fits) = value_form(known.field);
    let is_beside = |leaf: &&Leaf| {
        let path = leaf.path.names();
        leaf.path != chosen.path
            && leaf.path.parent() == chosen.path.parent()
            && names::position(names::telling(&path), known.names).is_some()
    };
    let mut others = leaves.iter().filter(is_beside);
    let (other, event) = others.find_map(|leaf| {
        let mut values = leaf.present_in().filter(|(_, value)| fits(value));
        let (event, _) = values.find(|(event, _)| chosen.is_empty_in(*event))?;
        Some((leaf, event))
    })?;
    let (path, other) = (chosen.path.expression(), other.path.expression());
    let (field, sample) = (known.field, samples.of(event));
    Some(format!(
        "In {sample}, {path} is empty and {other} has a value, and the draft reads only {path} for {field}, so the bridge clears {field} at Imprint. `{path} // {other}` reads the second member if the first one is null or false."
    ))
}

/// Suggests the fields of the person whose member has the right name, but only values of another form.
pub(super) fn suggest(
    leaves: &[Leaf],
    record: &JsonPath,
    samples: SampleNames<'_>,
    found: &mut FieldDrafts,
    used: &mut Vec<JsonPath>,
) {
    for known in &synonyms::PERSON {
        let (form, fits) = value_form(known.field);
        let is_wrong = |leaf: &Leaf| form::all(leaf, form::is_text) && !form::any(leaf, fits);
        let is_set = found.fields.iter().any(|field| field.target == known.field);
        let leaf = best(leaves, known.names, Some(record), is_wrong).filter(|_| !is_set);
        let wrong = leaf.and_then(|leaf| {
            let (event, _) = leaf.present_in().find(|(_, value)| !fits(value))?;
            Some((leaf, event))
        });
        let Some((leaf, event)) = wrong else {
            continue;
        };
        let (expression, _) = person_expression(known.field, &leaf.only(fits));
        let (path, sample) = (leaf.path.expression(), samples.of(event));
        let why = format!(
            "The value of {path} in {sample} is not {form}, and no sample has a right value, so the draft does not set {}.",
            known.field
        );
        let field = FieldDraft::suggested(known.field, expression, &why);
        found.fields.extend([in_history(&field), field]);
        found.decisions.push(why);
        used.push(leaf.path.clone());
    }
}
