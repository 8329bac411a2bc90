//! Notes about the name of a person.

use std::collections::BTreeSet;

use super::{TypeExamples, last_name, text};
use crate::draft::names;
use crate::draft::synonyms::FULL_NAMES;
use crate::intake::TargetExplanation;

const FIRST: &str = "first_name";
const LAST: &str = "last_name";

/// Returns a note for each field `first_name` that gets the whole name of a person.
pub(super) fn notes(evidence: &TypeExamples<'_>) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for event in &evidence.events {
        let targets = || event.targets.iter().flatten();
        for first in targets().filter(|rule| rule.target.ends_with(FIRST)) {
            let field = first.target.replace(FIRST, LAST);
            let last = targets().find(|rule| rule.target == field);
            notes.extend(whole_name(first, last));
            notes.extend(last.and_then(|last| repeated_name(first, last)));
        }
    }
    notes
}

/// Returns a note if a first name is the whole name of a person.
fn whole_name(first: &TargetExplanation, last: Option<&TargetExplanation>) -> Option<String> {
    let [read] = first.reads.as_slice() else {
        return None;
    };
    let value = text(first).filter(|value| value.split_whitespace().count() > 1)?;
    let is_same = last.and_then(text) == Some(value);
    let is_whole = last.is_none() && names::position(&last_name(read), &FULL_NAMES).is_some();
    let (field, other) = (&first.target, first.target.replace(FIRST, LAST));
    (is_same || is_whole).then(|| {
        format!(
            "{field} has the whole name in {read}, and Imprint takes it for the first name. Write .name | trim | split(\" \") | first with the path of the name, and for {other} .name | trim | split(\" \") | .[1:] | join(\" \")"
        )
    })
}

/// Returns a note if one of the names of a person contains the other one.
fn repeated_name(first: &TargetExplanation, last: &TargetExplanation) -> Option<String> {
    let (first_text, last_text) = (text(first)?, text(last)?);
    let is_whole = |rule: &TargetExplanation| match rule.reads.as_slice() {
        [read] => names::position(&last_name(read), &FULL_NAMES).is_some(),
        reads => reads.len() > 1,
    };
    let has_last = first_text.ends_with(&format!(" {last_text}")) && is_whole(first);
    let has_first = last_text.starts_with(&format!("{first_text} ")) && is_whole(last);
    let (whole, part) = match (has_last, has_first) {
        (true, _) => (first, last),
        (false, true) => (last, first),
        (false, false) => return None,
    };
    Some(format!(
        "{} has the whole name in {}, and {} has a part of it: Imprint gets this part twice",
        whole.target,
        whole.reads.join(" and "),
        part.target
    ))
}
