//! Problem documents (RFC 9457). Every error answer of the event listener and of the ops listener has a problem
//! document as its body.
//!
//! A problem document has a stable type. For each error in an event, it contains the JSON Pointer and the broken rule,
//! but never a value of the request.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// The maximum number of errors in a problem document. The `detail` of the document states the total number of errors.
pub const ERRORS_MAX: usize = 100;
/// The prefix of every problem type. The word after the prefix names the type and never changes.
const TYPE_PREFIX: &str = "urn:imprint-bridge:problem:";

/// Returns the problem type with this last word.
pub fn type_of(word: &str) -> String {
    format!("{TYPE_PREFIX}{word}")
}

/// A problem document that the bridge sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemDocument<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: Cow<'a, str>,
    #[serde(rename = "faults", skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemError<'a>>,
}

/// One error in an event of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemError<'a> {
    /// A JSON Pointer to the error in the request body.
    pub pointer: &'a str,
    /// The name of the broken rule.
    pub rule: &'a str,
    /// The location of the broken rule in the schema or in the mapping.
    pub location: &'a str,
    /// One sentence that explains the broken rule.
    pub detail: &'a str,
}

impl<'a> ProblemDocument<'a> {
    /// Creates a problem document without errors. `word` is the last part of the problem type.
    pub fn new(word: &str, status: u16, title: &'a str, detail: impl Into<Cow<'a, str>>) -> Self {
        Self {
            r#type: type_of(word),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// Adds errors to the problem document, but at most the first [`ERRORS_MAX`] errors.
    #[must_use]
    pub fn with_errors(mut self, errors: impl IntoIterator<Item = ProblemError<'a>>) -> Self {
        self.errors = errors.into_iter().take(ERRORS_MAX).collect();
        self
    }
}

/// The parts of a received problem document that the bridge's commands read. These parts contain no customer data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReceivedProblem {
    /// The problem type, including the prefix.
    pub r#type: String,
    /// The errors of the problem document. The list has each pair of pointer and rule only once.
    #[serde(rename = "faults")]
    pub errors: Vec<ReceivedError>,
}

/// The JSON Pointer and the broken rule of one received error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReceivedError {
    /// A JSON Pointer to the error in the request body.
    pub pointer: String,
    /// The name of the broken rule.
    pub rule: String,
}

/// Returns each pair of pointer and rule only once, in the order of the first.
///
/// Several fields of a mapping can read the same path of the event. One wrong value at this path then causes one error for
/// each field.
pub fn distinct(errors: Vec<ReceivedError>) -> Vec<ReceivedError> {
    let mut listed: Vec<ReceivedError> = Vec::new();
    for error in errors {
        if !listed.contains(&error) {
            listed.push(error);
        }
    }
    listed
}

impl ReceivedProblem {
    /// Parses a received problem document. Returns an empty result if the body is not a problem document.
    pub fn parse(body: &[u8]) -> Self {
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_default();
        problem.errors = distinct(std::mem::take(&mut problem.errors));
        problem
    }

    /// Returns the last word of the problem type, such as `unmappable`.
    pub fn word(&self) -> &str {
        self.r#type.rsplit(':').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: ProblemError<'_> = ProblemError {
        pointer: "/data/email",
        rule: "email",
        location: "/properties/email",
        detail: "The value is not an email address.",
    };

    #[test]
    fn a_document_has_the_members_of_rfc_9457_in_a_fixed_order() {
        let document = ProblemDocument::new("busy", 503, "Queue full", "Send it again.");
        assert_eq!(
            serde_json::to_string(&document).unwrap(),
            r#"{"type":"urn:imprint-bridge:problem:busy","title":"Queue full","status":503,"detail":"Send it again."}"#
        );
        let errors = document.with_errors([ERROR]);
        assert_eq!(
            serde_json::to_string(&errors).unwrap(),
            r#"{"type":"urn:imprint-bridge:problem:busy","title":"Queue full","status":503,"detail":"Send it again.","faults":[{"pointer":"/data/email","rule":"email","location":"/properties/email","detail":"The value is not an email address."}]}"#
        );
    }

    #[test]
    fn at_most_a_hundred_errors_are_listed() {
        let document = |count| {
            ProblemDocument::new("invalid", 422, "Invalid", "")
                .with_errors([ERROR].into_iter().cycle().take(count))
        };
        assert_eq!(document(100).errors.len(), 100);
        assert_eq!(document(101).errors.len(), 100);
    }

    #[test]
    fn a_document_reads_back_by_pointer_and_rule_each_once() {
        let other = ProblemError {
            pointer: "/data",
            ..ERROR
        };
        let document =
            ProblemDocument::new("invalid", 422, "Invalid", "").with_errors([ERROR, other, ERROR]);
        let received = ReceivedProblem::parse(&serde_json::to_vec(&document).unwrap());
        assert_eq!(received.word(), "invalid");
        let pointers: Vec<&str> = received
            .errors
            .iter()
            .map(|error| error.pointer.as_str())
            .collect();
        assert_eq!(pointers, ["/data/email", "/data"]);
        for body in ["", "<html>", "[]", r#"{"type":7}"#] {
            let received = ReceivedProblem::parse(body.as_bytes());
            assert_eq!(received, ReceivedProblem::default(), "{body}");
        }
    }
}
