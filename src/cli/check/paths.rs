//! Notes about the paths that the expressions of a mapping read in vain.

use std::collections::{BTreeMap, BTreeSet};

use crate::draft::Review;
use crate::event::pointer;
use crate::intake::EventType;
use crate::intake::coverage::{self, ExampleCoverage};

/// Returns a note for each path that an expression reads and that the schema or the examples do not have, with the path that
/// the author probably means. `unread` are the paths of the schema that no expression reads.
pub(super) fn notes(
    event_type: &EventType,
    unread: &[String],
    covered: &ExampleCoverage,
    review: &Review,
) -> Vec<String> {
    let of_schema = coverage::misspelt(event_type, unread);
    let notes = of_schema.iter().map(|(read, meant)| {
        format!(
            "the schema does not have {read}, which an expression reads; did you mean {meant}?{}",
            quoted_name(meant)
        )
    });
    let is_new = |read: &str| !of_schema.iter().any(|(known, _)| known == read);
    let absent = absent_paths(covered, review).into_iter();
    // After body.split, the path is right in the body, and the event does not have it.
    let is_copied = |read: &str, meant: &str| review.has_split && read.ends_with(meant);
    let absent =
        absent.filter(|(read, meant)| is_new(read) && read != meant && !is_copied(read, meant));
    let mut named = BTreeSet::new();
    // Another example, or another item, can have the path.
    let absent = absent.filter(|(read, _)| {
        let general = pointer::without_indexes(read);
        !review.known_paths.contains(&general) && named.insert(general)
    });
    let of_examples = absent.map(|(read, meant)| {
        format!(
            "no example has {read}, which an expression reads; did you mean {meant}?{}",
            quoted_name(meant)
        )
    });
    notes.chain(of_examples).collect()
}

/// Returns the paths that an expression reads and no example has, each with the path that the author probably means.
fn absent_paths<'a>(
    covered: &'a ExampleCoverage,
    review: &'a Review,
) -> BTreeMap<&'a str, &'a str> {
    let elsewhere = review.absent_paths.iter();
    let elsewhere = elsewhere.map(|(read, meant)| (read.as_str(), meant.as_str()));
    // A similar path beside the wrong one is more probable than a path elsewhere.
    let paths = elsewhere.chain(covered.absent_paths());
    paths
        .filter(|(read, _)| !review.made_paths.contains(*read))
        .collect()
}

/// Says how an expression reads a member whose name has dots or brackets.
fn quoted_name(place: &str) -> String {
    let name = place.rsplit('/').next().unwrap_or_default();
    if name.contains(['.', '[', ']']) {
        format!(" Write the name in double quotes: .\"{name}\"")
    } else {
        String::new()
    }
}
