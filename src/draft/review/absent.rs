//! The paths that an expression reads and no example has, each with the path that the author probably means.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{TypeExamples, base, concerns_other, is_of_other_item, plain_name};
use crate::event::pointer;
use crate::imprint::Field;
use crate::intake::TargetExplanation;
use crate::spelling;

/// Returns the paths that no example has: a misspelt one with the similar path, also if another expression reads the similar
/// path, and one at a wrong place with the only path that has the same last name.
pub(super) fn paths(evidence: &TypeExamples<'_>) -> Vec<(String, String)> {
    let mut found: BTreeSet<(String, String)> = elsewhere(evidence).into_iter().collect();
    for rule in evidence.targets() {
        let unknown = rule
            .reads
            .iter()
            .filter(|read| !evidence.has(read) && !evidence.is_described(read));
        for read in unknown {
            // A path alone reads one value, and not a list or an object.
            let is_step = |letter: char| letter.is_alphanumeric() || "._-\"".contains(letter);
            let is_path = rule.expression.chars().all(is_step);
            let mut bodies = evidence.bodies.iter();
            let similar = bodies.find_map(|body| {
                let meant = misspelt(read, body)?;
                let value = body.pointer(&meant)?;
                let is_container = value.is_array() || value.is_object();
                (!is_path || !is_container).then_some(meant)
            });
            let similar = similar.filter(|meant| is_meant(evidence, rule, meant));
            found.extend(similar.map(|meant| (read.clone(), meant)));
        }
    }
    found.into_iter().collect()
}

/// Returns the paths of the rules without a value in all examples whose first member `body.split` makes.
pub(super) fn made_paths(evidence: &TypeExamples<'_>, split: Option<&str>) -> BTreeSet<String> {
    let absent = evidence.absent_targets().into_values().flatten();
    let is_made = |read: &&str| {
        let first = read.split('/').nth(1).map(pointer::name);
        let made = split
            .zip(first)
            .is_some_and(|(split, name)| makes(split, &name));
        made && !evidence.has(read)
    };
    absent.filter(is_made).map(str::to_owned).collect()
}

/// Returns whether an expression makes a member with this name, as in `{name: …}`.
fn makes(split: &str, name: &str) -> bool {
    split.match_indices(name).any(|(start, _)| {
        let (before, rest) = split.split_at_checked(start).unwrap_or_default();
        let after = rest.get(name.len()..).unwrap_or_default();
        let before = before.trim_end_matches('"').trim_end();
        let after = after.trim_start_matches('"').trim_start();
        before.ends_with(['{', ',']) && after.starts_with(':')
    })
}

/// Returns the paths of the rules without a value in all examples, each with the only path that has the same last name.
fn elsewhere(evidence: &TypeExamples<'_>) -> Vec<(String, String)> {
    let is_known =
        |read: &str| evidence.places.contains(read) || pointer::any_inside(&evidence.places, read);
    let mut found = Vec::new();
    for (target, reads) in evidence.absent_targets() {
        for read in reads.into_iter().filter(|read| !is_known(read)) {
            let meant = same_name(evidence, target, read);
            found.extend(meant.map(|meant| (read.to_owned(), meant)));
        }
    }
    found
}

/// Returns the only path that has the same last name, if the rule of the target can mean it.
fn same_name(evidence: &TypeExamples<'_>, target: &str, read: &str) -> Option<String> {
    let is_generic = |name: &String| ["id", "name", "type", "value"].contains(&name.as_str());
    let name = Some(plain_name(read)).filter(|name| !is_generic(name))?;
    let same = evidence.places.iter();
    let same = same.filter(|place| plain_name(place) == name);
    let same = same.filter(|place| is_free(evidence, target, place) && !concerns_other(place));
    let same = same.filter(|place| !is_of_other_item(read, place));
    match same.collect::<Vec<_>>().as_slice() {
        [only] => Some((*only).clone()),
        [] | [..] => None,
    }
}

/// Returns whether no rule of another field reads a place.
fn is_free(evidence: &TypeExamples<'_>, target: &str, place: &str) -> bool {
    !evidence.is_read(place)
        || evidence.targets().any(|rule| {
            let is_twin = rule.target != target && base(&rule.target) == base(target);
            is_twin && rule.reads.iter().any(|read| read == place)
        })
}

/// Returns whether a rule can mean a path. An expression with both paths reads the second one on purpose, and a path that only
/// another field reads belongs to that field.
fn is_meant(evidence: &TypeExamples<'_>, rule: &TargetExplanation, meant: &str) -> bool {
    let mut same = evidence
        .targets()
        .filter(|other| other.target == rule.target);
    let is_alternative = same.any(|other| other.reads.iter().any(|read| read == meant));
    let is_field = Field::parse(&rule.target).is_some();
    !is_alternative && (!is_field || is_free(evidence, &rule.target, meant))
}

/// Returns the path of a body that differs from `read` in the spelling of one name.
fn misspelt(read: &str, body: &Value) -> Option<String> {
    let steps: Vec<&str> = read.split('/').skip(1).collect();
    let mut place = String::new();
    let mut value = body;
    for (depth, step) in steps.iter().enumerate() {
        let name = pointer::name(step);
        let members = value.as_object()?;
        if let Some(inner) = members.get(&name) {
            value = inner;
            place = pointer::inside(&place, &name);
            continue;
        }
        let mut names = members
            .keys()
            .filter(|known| spelling::is_typo(&name, known));
        let meant = names.next().filter(|_| names.next().is_none())?;
        let rest = steps.iter().skip(depth).skip(1);
        let whole = rest.fold(pointer::inside(&place, meant), |place, step| {
            format!("{place}/{step}")
        });
        return body.pointer(&whole).is_some().then_some(whole);
    }
    None
}
