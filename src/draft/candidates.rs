//! Lists the members of the samples that a person can choose instead of the member that the draft chose.

use super::form::{self, TimeForm};
use super::lists;
use super::names;
use super::path::{JsonPath, Leaf};
use super::synonyms;

/// The maximum number of members that a sentence names.
const NAMED_MAX: usize = 8;
/// The last words of the names of times. A number without such a name is not necessarily a time.
const TIME_WORDS: [&str; 6] = ["at", "date", "on", "time", "timestamp", "ts"];

/// Names the other members that can be the customer's id, the most probable ones first.
///
/// `is_of_event` says whether a member differs between events of one customer.
pub(super) fn ids(
    leaves: &[Leaf],
    chosen: Option<&JsonPath>,
    is_of_event: impl Fn(&JsonPath) -> bool,
) -> Option<String> {
    let is_candidate = |leaf: &&Leaf| {
        let name = leaf.path.last_name();
        let is_named = names::ends_in_id(name);
        let is_event_id = names::is_event_id(name) || is_of_event(&leaf.path);
        is_named
            && !is_event_id
            && !lists::is_key(&leaf.path, leaves)
            && !names::is_imprint_id(name)
            && leaf.has_value()
            && form::all(leaf, form::is_id)
    };
    let mut found: Vec<&Leaf> = leaves.iter().filter(is_candidate).collect();
    found.sort_by_key(|leaf| {
        let names = leaf.path.names();
        (names::concerns_other(&names), names::customer_rank(&names))
    });
    sentence("ids", &found, chosen)
}

/// Names the other times that can be the version.
pub(super) fn times(leaves: &[Leaf], chosen: Option<&JsonPath>) -> Option<String> {
    let is_candidate = |leaf: &&Leaf| {
        let words = names::words(leaf.path.last_name());
        let is_named = words
            .last()
            .is_some_and(|word| TIME_WORDS.contains(&word.as_str()));
        let is_time = match TimeForm::of(leaf) {
            Some(TimeForm::Rfc3339 | TimeForm::Utc) => true,
            Some(
                TimeForm::Seconds
                | TimeForm::Millis
                | TimeForm::Micros
                | TimeForm::SecondsText
                | TimeForm::MillisText,
            ) => is_named,
            Some(TimeForm::Date) | None => false,
        };
        is_time && leaf.has_value() && !names::is_birth(leaf.path.last_name())
    };
    let mut found: Vec<&Leaf> = leaves.iter().filter(is_candidate).collect();
    found.sort_by_key(|leaf| {
        let is_creation = names::position(leaf.path.last_name(), &synonyms::CREATED).is_some();
        (is_creation, leaf.path.depth())
    });
    let times = sentence("times", &found, chosen);
    let is_local = |value: &serde_json::Value| {
        TimeForm::of_value(value).is_none() && form::is_local_time(value)
    };
    let is_local = |leaf: &&Leaf| {
        let is_birth = names::is_birth(leaf.path.last_name());
        leaf.has_value() && form::all(leaf, is_local) && !is_birth
    };
    let local: Vec<&Leaf> = leaves.iter().filter(is_local).collect();
    let local = sentence("times without an offset from UTC", &local, chosen);
    let sentences: Vec<String> = times.into_iter().chain(local).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

fn sentence(kind: &str, found: &[&Leaf], chosen: Option<&JsonPath>) -> Option<String> {
    let others = found.iter().filter(|leaf| Some(&leaf.path) != chosen);
    let mut names: Vec<String> = others
        .map(|leaf| format!("`{}`", leaf.path.expression()))
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    if names.is_empty() {
        return None;
    }
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let other = if chosen.is_some() { "Other" } else { "All" };
    Some(format!(
        "{other} {kind} in the samples: {}{more}.",
        names.join(", ")
    ))
}
