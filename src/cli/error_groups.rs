//! Groups the errors of an event for lists that people read.
//!
//! Several fields of a mapping can read the same place of an event. A wrong value at this place then causes one error for
//! each field, and a list of these errors would look like several wrong values.

use std::fmt;

use serde_json::Value;

use crate::event::EventError;
use crate::terminal::printable;

/// The errors of an event that have the same place, rule and text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorGroup {
    pointer: String,
    rule: String,
    detail: String,
    /// The fields or the places in the schema that report the error.
    locations: Vec<String>,
}

impl ErrorGroup {
    /// Groups errors, in the order of the first error of each group.
    pub(super) fn all<'e>(errors: impl IntoIterator<Item = &'e EventError>) -> Vec<Self> {
        let texts = errors.into_iter().map(|error| {
            let texts = [&error.pointer, &error.rule, &error.detail, &error.location];
            texts.map(|text| printable(text))
        });
        Self::of_texts(texts)
    }

    /// Groups the errors in an answer of the admin API.
    pub(super) fn of_answer<'v>(errors: impl IntoIterator<Item = &'v Value>) -> Vec<Self> {
        let texts = errors.into_iter().map(|error| {
            ["pointer", "rule", "detail", "location"].map(|name| {
                let text = error.get(name).and_then(Value::as_str);
                printable(text.unwrap_or_default())
            })
        });
        Self::of_texts(texts)
    }

    fn of_texts(errors: impl IntoIterator<Item = [String; 4]>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for [pointer, rule, detail, location] in errors {
            let is_same = |group: &&mut Self| {
                (&group.pointer, &group.rule, &group.detail) == (&pointer, &rule, &detail)
            };
            match groups.iter_mut().find(is_same) {
                Some(group) if group.locations.contains(&location) => {}
                Some(group) => group.locations.push(location),
                None => groups.push(Self {
                    pointer,
                    rule,
                    detail,
                    locations: vec![location],
                }),
            }
        }
        groups
    }

    /// Returns the place and the rule, for a list without space for more.
    pub(super) fn short(&self) -> String {
        format!("{} ({})", self.place(), self.rule)
    }

    fn place(&self) -> &str {
        match self.pointer.as_str() {
            "" => "whole event",
            pointer => pointer,
        }
    }
}

/// Formats the group with all fields that report the error.
impl fmt::Display for ErrorGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locations: Vec<&str> = self.locations.iter().map(String::as_str).collect();
        let locations = locations.join(", ");
        let (place, detail, rule) = (self.place(), &self.detail, &self.rule);
        match locations.is_empty() {
            true => write!(f, "{place}: {detail} ({rule})"),
            false => write!(f, "{place}: {detail} ({rule} by {locations})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(pointer: &str, detail: &str, location: &str) -> EventError {
        EventError {
            pointer: pointer.to_owned(),
            rule: "email".to_owned(),
            location: location.to_owned(),
            detail: detail.to_owned(),
        }
    }

    /// FAULTS N471
    #[test]
    fn errors_with_another_place_or_text_stay_apart() {
        let errors = [
            error("/email", "No.", "email"),
            error("/email", "No.", "metadata.mail"),
            error("/email", "No.", "email"),
            error("/email", "Too long.", "email"),
            error("", "No.", ""),
        ];
        let groups = ErrorGroup::all(&errors);
        let texts: Vec<String> = groups.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "/email: No. (email by email, metadata.mail)",
                "/email: Too long. (email by email)",
                "whole event: No. (email)",
            ]
        );
        assert_eq!(groups[2].short(), "whole event (email)");
    }
}
