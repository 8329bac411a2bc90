//! The description of the ops listener for programs that call the admin API, as an OpenAPI 3.1 document.
//!
//! The file `openapi.json` has the paths and the schemas. This module adds the answers of the table of problems, the problems
//! that every call of the admin API can have, and the states of entries.

use std::sync::LazyLock;

use actix_web::web::Bytes;
use serde_json::{Map, Value};

use super::api::AdminProblem;
use crate::http::openapi::{PROBLEMS, describe_problems, read};
use crate::outbox::State;

/// The path of the admin API.
const ADMIN: &str = "/admin/v1/";
/// The problems of every call of the admin API.
const COMMON: [&str; 7] = [
    "admin_disabled",
    "unauthenticated",
    "too_many_failed_logins",
    "busy",
    "store_full",
    "store_failed",
    "stopping",
];

/// The document as JSON. The first request creates it.
pub(super) static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

fn document() -> Value {
    let states = State::ALL.map(State::as_str);
    let mut document = read(include_str!("openapi.json"), &states);
    add_common_problems(&mut document);
    describe_problems(&mut document, &AdminProblem::table());
    document
}

fn add_common_problems(document: &mut Value) {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let calls = paths.into_iter().flatten();
    let calls = calls.filter(|(path, _)| path.starts_with(ADMIN));
    for operations in calls.filter_map(|(_, operations)| operations.as_object_mut()) {
        let operations = operations.values_mut().filter_map(Value::as_object_mut);
        for names in operations.filter_map(|operation: &mut Map<_, _>| operation.get_mut(PROBLEMS))
        {
            let names = names.as_array_mut().into_iter();
            names.for_each(|names| names.extend(COMMON.map(Value::from)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::openapi::SERVER_PROBLEMS;
    use crate::http::problem;
    use crate::reference;

    /// The words of the problems of the admin API that the reference page explains.
    fn explained() -> BTreeSet<&'static str> {
        let rows = reference::ADMIN_PROBLEMS.iter();
        rows.flat_map(|row| row.texts).copied().collect()
    }

    /// FAULTS N1075: a problem without a description is a surprise for the author of a program that calls the admin API.
    #[test]
    fn the_document_describes_every_problem_of_the_admin_api() {
        let table = AdminProblem::table();
        let rows: BTreeSet<&str> = table.iter().map(|row| row.word).collect();
        assert_eq!(rows, explained());
        let text = document().to_string();
        assert!(!text.contains(PROBLEMS), "{text}");
        // The document describes only paths and methods that exist.
        for word in &explained() - &["not_found", "method_not_allowed"].into() {
            assert!(text.contains(&problem::type_of(word)), "{word}");
        }
        for word in SERVER_PROBLEMS {
            assert!(text.contains(&problem::type_of(word)), "{word}");
        }
    }

    #[test]
    fn the_document_names_only_problems_that_exist() {
        let file: Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let operations = file["paths"].as_object().unwrap().values();
        let operations = operations.flat_map(|path| path.as_object().unwrap().values());
        let named = operations.filter_map(|operation| operation[PROBLEMS].as_array());
        let named: BTreeSet<&str> = named.flatten().map(|name| name.as_str().unwrap()).collect();
        assert!(named.is_subset(&explained()), "{named:?}");
    }

    /// FAULTS N1075: the routes are the lines `resource("PATH", "METHODS")` of the admin API.
    #[test]
    fn the_document_has_every_route_of_the_admin_api() {
        let routes = include_str!("api.rs").split("resource(").skip(1);
        let mut routes: BTreeSet<(String, String)> = routes
            .filter_map(|call| {
                let mut texts = call.split('"');
                let (path, methods) = (texts.nth(1)?, texts.nth(1)?);
                path.starts_with('/')
                    .then(|| (path.to_owned(), methods.to_owned()))
            })
            .collect();
        assert!(routes.len() > 15, "{routes:?}");
        let document = document();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let Some(path) = path.strip_prefix("/admin/v1") else {
                continue;
            };
            let methods = operations.as_object().unwrap().keys();
            let methods = methods.filter(|name| *name != "parameters");
            let methods: Vec<_> = methods.map(|name| name.to_ascii_uppercase()).collect();
            let route = (path.to_owned(), methods.join(", "));
            assert!(routes.remove(&route), "{route:?} is not in {routes:?}");
        }
        assert_eq!(routes, BTreeSet::new(), "without a description");
    }
}
