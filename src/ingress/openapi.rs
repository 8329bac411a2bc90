//! The description of the event listener for the developers of senders, as an OpenAPI 3.1 document.
//!
//! The file `openapi.json` has the paths and the schemas. This module adds the answers of the table of refusals, and the
//! states of entries.

use std::sync::LazyLock;

use actix_web::ResponseError as _;
use actix_web::web::Bytes;
use serde_json::Value;

use super::refusal::{MediaTypeReason, Refusal, TakenMediaTypes};
use crate::http::openapi::{ProblemRow, describe_problems, read};
use crate::intake::{Rejection, RejectionClass};
use crate::outbox::State;

/// The document as JSON. The first request creates it.
pub(super) static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

fn document() -> Value {
    let states = State::ALL.map(State::as_str);
    let mut document = read(include_str!("openapi.json"), &states);
    describe_problems(&mut document, &table());
    document
}

/// Returns the table of problems.
fn table() -> Vec<ProblemRow> {
    let row = |refusal: Refusal| ProblemRow {
        word: refusal.word(),
        status: refusal.status_code().as_u16(),
        title: refusal.to_string(),
        has_retry_after: refusal.is_temporary(),
    };
    refusals().into_iter().map(row).collect()
}

/// Returns one refusal of each row of the table.
fn refusals() -> Vec<Refusal> {
    let rejected = |class| Refusal::from(Rejection::new(class, Vec::new()));
    let unsupported = Refusal::UnsupportedMediaType {
        reason: MediaTypeReason::ContentType,
        taken: TakenMediaTypes::PlainJson,
    };
    let mut refusals = RejectionClass::ALL.map(rejected).to_vec();
    refusals.extend([
        unsupported,
        Refusal::Unauthenticated { challenge: "" },
        Refusal::UnknownSource,
        Refusal::UnknownEvent,
        Refusal::NotFound,
        Refusal::MethodNotAllowed { allow: "" },
        Refusal::BodyTimeout,
        Refusal::Conflict(Vec::new()),
        Refusal::TooLarge { limit_bytes: 0 },
        Refusal::BodyBudget,
        Refusal::RateQuota {
            retry_after_seconds: 1,
        },
        Refusal::StorageQuota,
        Refusal::Busy,
        Refusal::StoreFull,
        Refusal::StoreFailed,
        Refusal::Stopping,
        Refusal::Internal,
    ]);
    refusals
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::openapi::{PROBLEMS, SERVER_PROBLEMS};
    use crate::http::problem;
    use crate::reference;

    /// FAULTS N895: a refusal without a description is a surprise for the developer of a sender.
    #[test]
    fn the_document_describes_every_problem_of_the_listener() {
        let known = reference::PROBLEMS.iter().flat_map(|row| row.texts);
        let known: BTreeSet<&str> = known.copied().collect();
        let rows: BTreeSet<&str> = refusals().iter().map(Refusal::word).collect();
        assert_eq!(&rows | &SERVER_PROBLEMS.into(), known);
        let text = document().to_string();
        assert!(!text.contains(PROBLEMS), "{text}");
        // The document describes only paths and methods that exist.
        for word in &known - &["not_found", "method_not_allowed"].into() {
            assert!(text.contains(&problem::type_of(word)), "{word}");
        }
    }

    #[test]
    fn the_document_names_only_problems_that_exist() {
        let file: Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let mut names = BTreeSet::new();
        for operations in file["paths"].as_object().unwrap().values() {
            for operation in operations.as_object().unwrap().values() {
                let named = operation[PROBLEMS].as_array().into_iter().flatten();
                names.extend(named.map(|name| name.as_str().unwrap()));
            }
        }
        let known = reference::PROBLEMS.iter().flat_map(|row| row.texts);
        let known: BTreeSet<&str> = known.copied().collect();
        assert!(names.is_subset(&known), "{names:?}");
    }

    #[test]
    fn every_answer_has_its_status_its_types_and_its_wait() {
        let document = document();
        let post = &document["paths"]["/v1/sources/{source}/events"]["post"]["responses"];
        let statuses: Vec<&str> = post
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            statuses,
            [
                "200", "202", "400", "401", "404", "408", "409", "413", "415", "422", "429", "500",
                "503", "default"
            ]
        );
        let full = &post["503"];
        assert!(full["headers"]["Retry-After"].is_object(), "{full}");
        assert!(full.to_string().contains("problem:store_full"), "{full}");
        assert!(post["422"].get("headers").is_none(), "{}", post["422"]);
        let states = &document["components"]["schemas"]["Status"]["enum"];
        assert_eq!(states.as_array().unwrap().len(), State::ALL.len());
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
