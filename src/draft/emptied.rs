//! Suggests settings for lists that are empty in a sample.

use serde_json::Value;

use super::doubt::SampleNames;
use super::field_draft::{FieldDraft, FieldDrafts};
use super::path::Leaf;

/// Suggests that an empty list means that the source has deleted the value, if a sample has an empty list in the place of
/// the list that a field reads.
pub(super) fn suggest(leaves: &[Leaf], samples: SampleNames<'_>, found: &mut FieldDrafts) {
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    for leaf in leaves {
        let Some((event, _)) = leaf.present_in().find(|(_, value)| is_empty(value)) else {
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
