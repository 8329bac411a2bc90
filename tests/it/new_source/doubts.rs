//! Tests that a draft names the true reason why it does not use a member of the samples.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{checked_draft, draft, run_in};
use crate::commands::text;

const TIME: &str = "2025-02-13T19:08:07Z";

/// Drafts a source from flat contacts. Returns the source file and what the command prints.
#[track_caller]
fn drafted(folder: &Path, samples: &[Value]) -> (String, String) {
    let toml = checked_draft(folder, "crm2", samples, "");
    let again = tempfile::tempdir().unwrap();
    (toml, text(&draft(again.path(), "crm2", samples, "").stdout))
}

fn contact(updated_at: impl Into<Value>) -> Value {
    json!({"id": "c-9", "email": "ann@example.com", "updated_at": updated_at.into()})
}

/// FAULTS N406: one sample has the members of the customer in an object, and the other sample has them without it.
#[test]
fn samples_of_two_forms_are_named_with_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let samples = [contact(TIME), json!({"contact": contact(TIME)})];
    let (toml, report) = drafted(folder.path(), &samples);
    assert!(!report.contains("no time of the change"), "{report}");
    assert!(!report.contains("found none"), "{report}");
    for (path, other) in [
        (".updated_at", ".contact.updated_at"),
        (".id", ".contact.id"),
    ] {
        let line = format!(
            "the sample \"crm2-0.json\" has `{path}`, but the sample \"crm2-1.json\" has `{other}`. The bodies have \
             different forms: draft one source for each form, or add `split = \".contact // .\"` to [body]."
        );
        assert!(report.contains(&line), "{line} in {report}");
    }
    assert!(toml.contains("\n# version = \".updated_at\"\n"), "{toml}");
}

/// FAULTS N406: the samples have a time of the change that the draft cannot use.
#[test]
fn a_time_that_is_no_version_is_named_with_its_sample_and_its_flaw() {
    for (value, flaw) in [
        (
            json!("Thu, 13 Feb 2025 15:20:00 -0500"),
            "has a form that neither `utc` nor `moment` reads",
        ),
        (json!("2025-02-13 15:20:00"), "has no offset from UTC"),
        (json!("2025-02-13"), "is a date without a time of the day"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let samples = [contact(TIME), contact(value)];
        let (toml, report) = drafted(folder.path(), &samples);
        let line = format!(
            "The version of the event type \"customer\": `.updated_at` in the sample \"crm2-1.json\" {flaw}"
        );
        assert!(report.contains(&line), "{line} in {report}");
        assert!(toml.contains("\n# version = \".updated_at\"\n"), "{toml}");
    }
    let folder = tempfile::tempdir().unwrap();
    let samples = [contact(TIME), json!({"id": 1, "email": "a@example.com"})];
    let (_, report) = drafted(folder.path(), &samples);
    let line =
        "the sample \"crm2-0.json\" has `.updated_at`, but the sample \"crm2-1.json\" does not.";
    assert!(report.contains(line), "{report}");
    let folder = tempfile::tempdir().unwrap();
    let samples = [json!({"id": 1, "email": "a@example.com", "record_updated_at": "Thu 13 Feb"})];
    let (toml, report) = drafted(folder.path(), &samples);
    assert!(
        report.contains("`.record_updated_at` in the sample"),
        "{report}"
    );
    assert!(
        toml.contains("\n# version = \".record_updated_at\"\n"),
        "{toml}"
    );
    let folder = tempfile::tempdir().unwrap();
    let (toml, report) = drafted(folder.path(), &[json!({"id": 1, "email": "a@example.com"})]);
    assert!(
        report.contains("no member of the samples has the name of a time"),
        "{report}"
    );
    assert!(!toml.contains("updated_at"), "{toml}");
}

/// FAULTS N406: forms of a time that one function reads, and an empty text, which means a deleted value.
#[test]
fn a_time_in_two_forms_or_with_an_empty_text_is_the_version() {
    for (one, other, version) in [
        (
            json!(TIME),
            json!("2025-02-13 15:20:00 UTC"),
            "\".updated_at | utc\"",
        ),
        (
            json!(1_739_473_687),
            json!("1739473687"),
            "'.updated_at | whole | moment(\"s\")'",
        ),
        (json!(TIME), json!(""), "\".updated_at\""),
        (json!(TIME), json!(" "), "\".updated_at\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (toml, report) = drafted(folder.path(), &[contact(one), contact(other)]);
        let line = format!("\nversion = {version}\n");
        assert!(toml.contains(&line), "{line} in {toml} {report}");
    }
}

/// FAULTS N407: an empty text means a deleted value, so it is no reason to leave a field out.
#[test]
fn an_empty_text_loses_no_field() {
    for blank in ["", " "] {
        let folder = tempfile::tempdir().unwrap();
        let person = |phone: &str| json!({"id": 7, "email": "a@example.com", "mobile_number": phone, "updated_at": TIME});
        let (toml, _) = drafted(folder.path(), &[person("+14155552671"), person(blank)]);
        assert!(
            toml.contains("\nphone = \".mobile_number | e164\"\n"),
            "{toml}"
        );
    }
}

/// FAULTS N407: a value of another form in one sample.
#[test]
fn a_field_that_one_sample_prevents_is_a_suggestion_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let person = |phone: &str| json!({"id": 7, "email": "a@example.com", "mobile_number": phone, "updated_at": TIME});
    // FAULTS N672: the value of one sample is right, so the field stays.
    let samples = [person("+14155552671"), person("call the office")];
    let (toml, report) = drafted(folder.path(), &samples);
    let reason = "The value of .mobile_number in the sample \"crm2-1.json\" is not a phone number. The draft sets phone all the same, so the bridge refuses the event.";
    assert!(report.contains(reason), "{report}");
    assert!(
        toml.contains("\nphone = \".mobile_number | e164\"\n"),
        "{toml}"
    );
    assert!(!toml.contains("call the office"), "{toml}");
    // No value is right.
    let folder = tempfile::tempdir().unwrap();
    let samples = [person("ask her"), person("call the office")];
    let (toml, report) = drafted(folder.path(), &samples);
    let reason = "The value of .mobile_number in the sample \"crm2-0.json\" is not a phone number, and no sample has a right value, so the draft does not set phone.";
    assert!(report.contains(reason), "{report}");
    assert!(
        toml.contains("# The value of .mobile_number in the sample"),
        "{toml}"
    );
    let has_line = |line: &str| toml.lines().any(|found| found == line);
    assert!(
        has_line("# phone = '.mobile_number | e164(\"US\")'"),
        "{toml}"
    );
    assert!(!toml.contains("call the office"), "{toml}");
}

/// FAULTS N408: a sample that says that the source deleted a customer.
#[test]
fn a_type_of_deletions_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let updated = json!({"event": "contact_updated", "contact": contact(TIME)});
    let deleted = json!({"event": "contact_deleted", "contact": {"id": "c-9"}});
    let (toml, report) = drafted(folder.path(), &[updated, deleted]);
    let line = "ignore = [\"contact_deleted\"]";
    let says = "The event type \"contact_deleted\": its name says that the source deleted or merged the customer, so the draft ignores these events";
    assert!(report.contains(says), "{report}");
    let (head, updated) = toml.split_once("[events.\"contact_updated\"]").unwrap();
    assert!(head.contains(&format!("\n{line}\n")), "{toml}");
    assert!(!updated.contains("ignore"), "{toml}");
    assert!(!toml.contains("[events.\"contact_deleted\""), "{toml}");
}

/// FAULTS N409: a person drafts a source again, with other samples.
#[test]
fn a_forced_draft_removes_the_examples_of_the_earlier_draft() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    checked_draft(folder, "crm2", &[contact(TIME), contact("")], "");
    let other = json!({"contact_id": "c-9", "mail": "ann@example.com", "modified": TIME});
    fs::write(folder.join("other.json"), other.to_string()).unwrap();
    let arguments = [
        "new-source",
        "crm2",
        "--sample",
        "other.json",
        "--out",
        ".",
        "--force",
    ];
    let forced = run_in(folder, &arguments);
    let report = text(&forced.stdout);
    assert!(forced.status.success(), "{report}{}", text(&forced.stderr));
    assert!(
        report.contains("removed the examples of the earlier draft:"),
        "{report}"
    );
    assert!(report.contains("crm2-0.request.json"), "{report}");
    let mut names: Vec<_> = fs::read_dir(folder.join("config/sources/crm2"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["other.event.json", "other.request.json"]);
}
