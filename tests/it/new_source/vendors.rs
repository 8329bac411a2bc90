//! Tests of `new-source` with the samples of known vendors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Case, checked_draft, draft, example, run_in};
use crate::commands::text;

/// The vendors with a ready source in `config/examples`.
const READY: [&str; 6] = [
    "debezium",
    "dynamics",
    "hubspot",
    "salesforce",
    "segment",
    "shopify",
];
/// The maximum number of lines that differ between a draft and the ready source. A person edits these lines.
const EDITED_LINES_MAX: usize = 10;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")
}

/// Lists the names of the examples of a ready source whose events produce requests.
fn accepted(vendor: &str) -> Vec<String> {
    let files = fs::read_dir(examples().join(vendor)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names = names.filter_map(|name| name.strip_suffix(".request.json").map(str::to_owned));
    let produces_request = |name: &String| {
        let file = examples().join(vendor).join(format!("{name}.request.json"));
        let result = fs::read_to_string(file).unwrap();
        result.contains("\"body\"") && !result.contains("\"invalid\"")
    };
    let mut names: Vec<String> = names.filter(produces_request).collect();
    names.sort();
    names
}

/// Counts the lines of settings, without comments.
fn settings(toml: &str) -> BTreeMap<String, i32> {
    let mut lines = BTreeMap::new();
    for line in toml.lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    lines
}

/// Returns the lines that only one of two source files has.
fn differing_lines(drafted: &str, ready: &str) -> Vec<String> {
    let (drafted, ready) = (settings(drafted), settings(ready));
    let mut lines: Vec<&String> = drafted.keys().chain(ready.keys()).collect();
    lines.sort();
    lines.dedup();
    let count =
        |lines: &BTreeMap<String, i32>, line: &String| lines.get(line).copied().unwrap_or(0);
    let differs = |line: &&&String| count(&drafted, line) != count(&ready, line);
    lines
        .iter()
        .filter(differs)
        .map(|line| (*line).clone())
        .collect()
}

/// Returns whether a result has every member of another result. The files of the ready sources leave some members out.
fn contains(result: &Value, expected: &Value) -> bool {
    match (result, expected) {
        (Value::Object(result), Value::Object(expected)) => expected.iter().all(|(name, value)| {
            let found = result.get(name);
            found.is_some_and(|found| contains(found, value))
        }),
        (Value::Array(result), Value::Array(expected)) if result.len() == expected.len() => {
            let mut pairs = result.iter().zip(expected);
            pairs.all(|(result, expected)| contains(result, expected))
        }
        (_, _) => result == expected,
    }
}

/// FAULTS N405: each sample of a known vendor leads to the ready source of the vendor.
#[test]
fn a_sample_of_a_known_vendor_becomes_its_ready_source() {
    for vendor in READY {
        let ready_file = fs::read_to_string(examples().join(format!("{vendor}.toml"))).unwrap();
        let names = accepted(vendor);
        assert!(names.len() >= 4, "{vendor}: {names:?}");
        for name in names {
            let folder = tempfile::tempdir().unwrap();
            let event = examples().join(vendor).join(format!("{name}.event.json"));
            let mut arguments = vec![
                "new-source",
                vendor,
                "--out",
                ".",
                "--sample",
                event.to_str().unwrap(),
            ];
            let headers = event.with_file_name(format!("{name}.headers.txt"));
            if headers.exists() {
                arguments.extend(["--headers", headers.to_str().unwrap()]);
            }
            let output = run_in(folder.path(), &arguments);
            let report = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert!(
                output.status.success() && report.contains("no errors"),
                "{vendor} {name}: {report}"
            );
            let drafted =
                fs::read_to_string(folder.path().join(format!("config/sources/{vendor}.toml")))
                    .unwrap();
            let lines = differing_lines(&drafted, &ready_file);
            assert!(
                lines.len() <= EDITED_LINES_MAX,
                "{vendor} {name}: {lines:#?}"
            );
            let result = |folder: &Path| -> Value {
                let file = folder.join(format!("{name}.request.json"));
                serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
            };
            let drafted = result(&folder.path().join("config/sources").join(vendor));
            let ready = result(&examples().join(vendor));
            assert!(
                contains(&drafted, &ready),
                "{vendor} {name}: {drafted:#} {ready:#}"
            );
        }
    }
}

/// Drafts a source from the body of each case, and returns the name of the case, the source file and the first request.
fn drafts(folder: &Path, cases: &str) -> Vec<(String, String, Value)> {
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    let draft = |case: Case| {
        let toml = checked_draft(folder, &case.name, &[case.body], "");
        for line in case.lines {
            let has_line = toml.lines().any(|found| found == line);
            assert!(has_line, "{}: {line} in\n{toml}", case.name);
        }
        let request = example(folder, &case.name, "request");
        let first = request.as_array().map_or(&request, |list| &list[0]);
        (case.name, toml, first.clone())
    };
    cases.into_iter().map(draft).collect()
}

/// FAULTS N405: the records of a known vendor have other members than the ready source, or another kind.
#[test]
fn the_records_of_a_known_vendor_can_have_other_members() {
    let folder = tempfile::tempdir().unwrap();
    for (name, toml, request) in drafts(folder.path(), include_str!("records.json")) {
        for (field, value) in [
            ("email", "ann@example.com"),
            ("first_name", "Ann"),
            ("last_name", "Lee"),
            ("phone", "+14155552671"),
        ] {
            assert_eq!(request["body"][field], value, "{name} {field}\n{toml}");
        }
        let tier = &request["body"]["customer_history"]["loyalty_tier"];
        assert_eq!(tier, "gold", "{name}\n{toml}");
    }
}

/// FAULTS N405: the vendors without a ready source have the envelope that their documentation describes.
#[test]
fn a_vendor_without_a_ready_source_has_its_own_envelope() {
    let folder = tempfile::tempdir().unwrap();
    for (name, toml, request) in drafts(folder.path(), include_str!("envelopes.json")) {
        assert!(
            !toml.contains("Owner") && !toml.contains("previous."),
            "{toml}"
        );
        assert_eq!(request["partner_id"], "9", "{name}\n{toml}");
        assert_eq!(
            request["body"]["email"], "ann@example.com",
            "{name}\n{toml}"
        );
    }
    let notification =
        json!({"channel_id": "1", "module": "Contacts", "ids": ["9"], "operation": "update"});
    let output = draft(folder.path(), "notified", &[notification], "");
    assert_eq!(output.status.code(), Some(1));
    let reason = text(&output.stderr);
    assert!(
        reason.contains("only the ids of the changed records"),
        "{reason}"
    );
}

/// A sample of Shopify without its header gets the usual header, and the output says so.
#[test]
fn a_missing_header_of_a_known_vendor_is_assumed() {
    let folder = tempfile::tempdir().unwrap();
    let event = fs::read_to_string(examples().join("shopify/customer-updated.event.json")).unwrap();
    let output = draft(
        folder.path(),
        "shop",
        &[serde_json::from_str(&event).unwrap()],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("no header x-shopify-topic"),
        "{}",
        text(&output.stdout)
    );
    let headers = folder.path().join("config/sources/shop/shop-0.headers.txt");
    assert_eq!(
        fs::read_to_string(headers).unwrap(),
        "x-shopify-topic: customers/update\n"
    );
}

/// FAULTS N1406: the body has the form of a vendor, and records that the vendor's draft does not know.
#[test]
fn a_vendor_whose_draft_takes_no_sample_gives_way_to_the_general_draft() {
    let folder = tempfile::tempdir().unwrap();
    let profile = json!({"type": "profile", "id": "01GDD", "attributes": {"email": "ann@example.com",
        "phone_number": "+14155552671", "external_id": "C-9", "first_name": "Ann", "last_name": "Lee",
        "updated": "2026-11-28T14:02:11+00:00"}});
    let sample = json!({"data": [{"topic": "profile:klaviyo.created", "external_id": "01JE5",
        "payload": {"data": profile}}], "meta": {"timestamp": "2026-11-28T14:02:14+00:00"}});
    let output = draft(folder.path(), "profiles", &[sample], "");
    let report = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{report}");
    for part in [
        "  - The samples have the form of Klaviyo, system webhooks, but the draft for it takes 1 of 1 samples for invalid (/data/0/topic: ",
        "So this is the general draft",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(!report.contains("maps 0 fields"), "{report}");
    let request = example(folder.path(), "profiles", "request");
    let first = request.as_array().map_or(&request, |list| &list[0]);
    assert_eq!(first["body"]["email"], "ann@example.com", "{request:#}");
}
