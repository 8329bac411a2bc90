//! Tests that a draft takes no doubtful member in silence, and copies no secret.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{checked_draft, draft, example};
use crate::commands::text;

const TIME: &str = "2025-02-13T19:08:07Z";
const SECRET: &str = "0123456789abcdef0123";

/// Drafts a source. Returns the source file and what the command prints.
#[track_caller]
fn drafted(folder: &Path, samples: &[Value], headers: &str) -> (String, String) {
    let toml = checked_draft(folder, "crm3", samples, headers);
    let again = tempfile::tempdir().unwrap();
    let output = draft(again.path(), "crm3", samples, headers);
    (toml, text(&output.stdout))
}

#[track_caller]
fn has_line(toml: &str, line: &str) {
    let found = toml.lines().any(|found| found == line);
    assert!(found, "{line} in\n{toml}");
}

#[track_caller]
fn says(report: &str, sentence: &str) {
    assert!(report.contains(sentence), "{sentence} in\n{report}");
}

/// FAULTS N602: a sample with secrets in the body.
#[test]
fn a_secret_in_a_sample_is_neither_mapped_nor_copied() {
    let folder = tempfile::tempdir().unwrap();
    let sample = json!({"id": "c-9", "email": "ann@example.com", "modified": TIME, "secret": SECRET, "key": SECRET,
        "api_key": SECRET, "session": {"access_token": SECRET, "password": SECRET}, "signature": {"value": SECRET},
        "fields": [{"key": "webhook_secret", "value": SECRET}, {"key": "plan", "value": "gold"}]});
    let (toml, report) = drafted(folder.path(), &[sample], "");
    for path in [
        ".secret",
        ".key",
        ".api_key",
        ".session.access_token",
        ".session.password",
        ".signature",
        ".fields[].value",
    ] {
        says(&report, &format!("`{path}`"));
    }
    says(
        &toml,
        "# Members of the samples that look like secrets: `.api_key`,",
    );
    for line in toml.lines() {
        let names_secret = ["secret", "key", "token", "password", "signature"]
            .iter()
            .any(|word| line.contains(word) && line.contains(" = "));
        assert!(!names_secret, "{line}");
    }
    has_line(
        &toml,
        "# metadata.plan = \".fields | from_entries | .plan\"",
    );
    let folder_of_examples = folder.path().join("config/sources/crm3");
    for file in fs::read_dir(folder_of_examples).unwrap() {
        let content = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!content.contains(SECRET), "{content}");
    }
    let event = example(folder.path(), "crm3", "event");
    assert_eq!(event["email"], "ann@example.com");
    assert_eq!(event["secret"], "replaced-by-new-source");
    assert_eq!(event["fields"][1]["value"], "gold");
}

/// FAULTS N603: a token in a header with an unusual name, and headers that the draft does not use.
#[test]
fn a_token_in_any_header_is_recognized_and_the_other_headers_are_named() {
    for (header, value, settings) in [
        (
            "Authentication",
            "Bearer",
            "header = \"authentication\"\nTOKENS\nprefix = \"Bearer \"",
        ),
        ("X-Copper-Token", "", "header = \"x-copper-token\"\nTOKENS"),
        (
            "X-Relay",
            "Token",
            "header = \"x-relay\"\nTOKENS\nprefix = \"Token \"",
        ),
        ("Authorization", "", "header = \"authorization\"\nTOKENS"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let headers = format!(
            "{header}: {value} {SECRET}\nIdempotency-Key: k-1\nContent-Type: application/json\nX-Crm-Region: eu\n"
        );
        let sample = json!({"id": "c-9", "email": "ann@example.com", "updated_at": TIME});
        let (toml, report) = drafted(folder.path(), &[sample], &headers);
        let tokens = "token_files = [\"/run/secrets/imprint-bridge/sources/crm3\"]";
        let settings = settings.replace("TOKENS", tokens);
        says(&toml, &format!("[auth]\nkind = \"token\"\n{settings}\n"));
        assert!(!toml.contains(SECRET) && !report.contains(SECRET), "{toml}");
        says(
            &report,
            "does not use these request headers of the samples: `idempotency-key`, `x-crm-region`.",
        );
    }
}
