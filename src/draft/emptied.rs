//! Suggests settings for lists that are empty in a sample.

use serde_json::Value;

use super::doubt::SampleNames;
use super::field_draft::{FieldDraft, FieldDrafts};
use super::names;
use super::path::Leaf;
use super::removal;
use super::synonyms;

/// Suggests that an empty list means that the source has deleted the value, if a sample has an empty list in the place of
/// the list that a field reads.
pub(super) fn suggest(leaves: &[Leaf], samples: SampleNames<'_>, found: &mut FieldDrafts) {
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    for leaf in leaves {
        let mut empty = leaf.present_in().filter(|(_, value)| is_empty(value));
        let Some((event, _)) = empty.find(|(event, _)| !says_removal(leaves, *event)) else {
            continue;
        };
        let list = leaf.path.expression();
        let starts = [
            format!("{list}[0]"),
            format!("{list} | map("),
            format!("{list} | from_entries"),
        ];
        let reads = |field: &&FieldDraft| {
            let is_read = starts.iter().any(|start| field.expression.contains(start));
            is_read && !field.is_suggestion
        };
        let why = format!(
            "In {}, the list {list} is empty, and the settings above leave the value at Imprint unchanged. If an empty list means that the source deleted the value, use these settings instead.",
            samples.of(event)
        );
        let suggestion = |field: &FieldDraft| {
            let expression = format!("if {list} == [] then null else {} end", field.expression);
            FieldDraft::suggested(&field.target, expression, &why)
        };
        let fields: Vec<FieldDraft> = found.fields.iter().filter(reads).map(suggestion).collect();
        if !fields.is_empty() {
            found.fields.extend(fields);
            found.decisions.push(format!(
                "The empty list {list} in {}: the fields that read the list stay unchanged. The source file suggests settings for the case that an empty list means a deleted value.",
                samples.of(event)
            ));
        }
    }
}

/// Returns whether an event says that the source deleted the customer. An empty list in such an event says nothing about the
/// list of a customer.
fn says_removal(leaves: &[Leaf], event: usize) -> bool {
    let is_type =
        |leaf: &&Leaf| names::position(leaf.path.last_name(), &synonyms::EVENT_TYPES).is_some();
    let mut types = leaves.iter().filter(is_type).flat_map(Leaf::present_in);
    types.any(|(of, value)| of == event && value.as_str().is_some_and(removal::is_removal))
}
