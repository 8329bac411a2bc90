//! The note about a text in another letter case that `body.split` compares.

use std::collections::BTreeSet;

use crate::event::pointer;
use crate::intake::coverage::ExplainedExample;
use crate::mapping::{ComparedKind, ComparedLetters, comparisons};

/// Returns a note if `body.split` compares the texts at a place of the examples only with constants of another letter case or of
/// other letters. The comparison with `!=` says something else.
pub(super) fn of_split(split: &str, examples: &[ExplainedExample]) -> Option<String> {
    let compared: BTreeSet<ComparedKind> = examples
        .iter()
        .flat_map(|example| comparisons(split, &example.body))
        .collect();
    let of = |letters: ComparedLetters| {
        let those = compared
            .iter()
            .filter(move |compared| compared.letters == letters);
        those.map(|compared| compared.place.as_str())
    };
    let equal: BTreeSet<&str> = of(ComparedLetters::Equal).collect();
    let mut other_case = of(ComparedLetters::OtherCase).filter(|place| !equal.contains(place));
    let place = other_case.next().filter(|_| !split.contains("!="))?;
    Some(format!(
        "body.split compares the text in {} with a constant that differs in upper and lower case, so they are not equal: write the constant as the event has it",
        pointer::without_values(place)
    ))
}
