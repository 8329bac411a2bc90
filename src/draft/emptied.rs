//! Suggests settings for lists that are empty in a sample, and for null in the place of a list or an object.

use serde_json::Value;

use super::doubt::SampleNames;
use super::field_draft::{FieldDraft, FieldDrafts};
use super::names;
use super::path::{JsonPath, Leaf, Step, quoted};
use super::removal;
use super::synonyms;

/// Suggests that an empty list, or null in the place of a list or an object, means that the source has deleted the value, if a
/// sample has it in the place of what a field reads.
pub(super) fn suggest(leaves: &[Leaf], samples: SampleNames<'_>, found: &mut FieldDrafts) {
    let is_member = |leaf: &&Leaf| matches!(leaf.path.steps().last(), Some(Step::Member(_)));
    for leaf in leaves.iter().filter(is_member) {
        for emptied in [Emptied::EmptyList, Emptied::Null] {
            suggest_for(emptied, (leaf, leaves), samples, found);
        }
    }
}

/// What a sample has in the place of a list or an object.
#[derive(Clone, Copy)]
enum Emptied {
    EmptyList,
    Null,
}

impl Emptied {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::EmptyList => value.as_array().is_some_and(Vec::is_empty),
            Self::Null => value.is_null(),
        }
    }

    /// Returns the beginnings of an expression that reads something inside the value at `path`.
    fn reads(self, path: &str) -> Vec<String> {
        let mut starts = vec![
            format!("{path}[0]"),
            format!("{path} | map("),
            format!("{path} | from_entries"),
        ];
        if matches!(self, Self::Null) {
            let inside = [format!("{path}."), format!("{path} | if .")];
            starts.extend(inside);
        }
        starts
    }

    /// Returns the condition that the value at `path` is so.
    fn condition(self, path: &JsonPath) -> String {
        match self {
            Self::EmptyList => format!("{} == []", path.expression()),
            Self::Null => is_null(path),
        }
    }

    /// Returns what stands in the sample, and what it possibly means.
    fn words(self, path: &str) -> (String, &'static str) {
        match self {
            Self::EmptyList => (format!("the list {path} is empty"), "an empty list"),
            Self::Null => (format!("{path} is null"), "null"),
        }
    }
}

/// Returns the condition that the member at `path` is null. An absent member is not null.
pub(super) fn is_null(path: &JsonPath) -> String {
    let (expression, parent) = (path.expression(), path.parent());
    let around = match parent.depth() {
        0 => String::new(),
        _ => format!("{} | ", parent.expression()),
    };
    let name = quoted(path.last_name());
    format!("({around}has({name})) and {expression} == null")
}

fn suggest_for(
    emptied: Emptied,
    (leaf, leaves): (&Leaf, &[Leaf]),
    samples: SampleNames<'_>,
    found: &mut FieldDrafts,
) {
    let mut so = leaf.values_in().filter(|(_, value)| emptied.is(value));
    let Some((event, _)) = so.find(|(event, _)| !says_removal(leaves, *event)) else {
        return;
    };
    let path = leaf.path.expression();
    let starts = emptied.reads(&path);
    let reads = |field: &&FieldDraft| {
        let is_read = starts
            .iter()
            .any(|start| position(&field.expression, start).is_some());
        is_read && !field.is_suggestion
    };
    let (what, word) = emptied.words(&path);
    let sample = samples.of(event);
    let why = format!(
        "In {sample}, {what}, and the settings above leave the value at Imprint unchanged. If {word} means that the source deleted the value, use these settings instead."
    );
    let condition = emptied.condition(&leaf.path);
    let suggestion = |field: &FieldDraft| {
        let expression = format!("if {condition} then null else {} end", field.expression);
        FieldDraft::suggested(&field.target, expression, &why)
    };
    let fields: Vec<FieldDraft> = found.fields.iter().filter(reads).map(suggestion).collect();
    if !fields.is_empty() {
        found.fields.extend(fields);
        found.decisions.push(format!(
            "In {sample}, {what}: the fields that read something inside it stay unchanged. The source file suggests settings for the case that {word} means a deleted value."
        ));
    }
}

/// Returns the position of a path in an expression that begins with `start`: `.billing.address.city` does not begin with
/// `.address.`.
pub(super) fn position(expression: &str, start: &str) -> Option<usize> {
    let found = expression.match_indices(start).map(|(at, _)| at);
    let mut begins = found.filter(|at| {
        let before = expression.get(..*at).unwrap_or_default().chars().last();
        before.is_none_or(|before| matches!(before, ' ' | '(' | '[' | '{' | ','))
    });
    begins.next()
}

/// Returns whether an event says that the source deleted the customer. An empty list in such an event says nothing about the
/// list of a customer.
fn says_removal(leaves: &[Leaf], event: usize) -> bool {
    let is_type =
        |leaf: &&Leaf| names::position(leaf.path.last_name(), &synonyms::EVENT_TYPES).is_some();
    let mut types = leaves.iter().filter(is_type).flat_map(Leaf::present_in);
    types.any(|(of, value)| of == event && value.as_str().is_some_and(removal::is_removal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_from_its_first_member() {
        for (expression, begins_with) in [
            (".address.city", true),
            ("if .kind == 1 then .address.city else null end", true),
            ("(.address.city) // null", true),
            (".billing.address.city", false),
            (".lines[0].address.city", false),
        ] {
            let is_found = position(expression, ".address.").is_some();
            assert_eq!(is_found, begins_with, "{expression}");
        }
    }
}
