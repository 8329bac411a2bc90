//! Checks that every test, file, setting, metric and alert that the security pages name exists.

use std::collections::BTreeSet;
use std::fs;

use super::source::{files_below, root};

/// The pages, in the folder `deploy`.
const PAGES: [&str; 4] = ["SECURITY.md", "ASVS.md", "RUNBOOK.md", "UPGRADE.md"];
/// The first parts of paths that the pages name.
const TOP: [&str; 5] = ["src/", "tests/", "deploy/", "config/", "schemas/"];
/// The files in the top folder that the pages name.
const TOP_FILES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "README.md", ".dockerignore"];
/// The states of a requirement.
const STATES: [&str; 3] = ["met", "platform", "not yet"];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// The names that exist in this repository.
struct Names {
    settings: BTreeSet<String>,
    alerts: String,
    sources: String,
}

impl Names {
    fn read() -> Self {
        let mut settings = BTreeSet::new();
        let mut section = String::new();
        for line in read("config/default.toml").lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.replace(']', ".");
            } else if let Some((key, _)) = line.split_once(" = ") {
                settings.insert(format!("{section}{key}"));
            }
        }
        let files = files_below(&root().join("src")).into_iter();
        Self {
            settings,
            alerts: read("deploy/monitoring/alerts.yaml"),
            sources: files
                .map(|file| fs::read_to_string(file).unwrap())
                .collect(),
        }
    }

    /// Returns whether the name in a code span exists. A span that is no name of a known kind counts as existing.
    fn exist(&self, span: &str) -> bool {
        let is_setting = |span: &str| {
            let is_word = |word: &str| {
                let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                !word.is_empty() && word.bytes().all(is_letter)
            };
            let parts = span.split_once('.');
            parts.is_some_and(|(section, key)| is_word(section) && is_word(key))
        };
        if let Some((file, test)) = span.split_once(".rs::") {
            return is_test(&read(&format!("{file}.rs")), test);
        }
        if TOP.iter().any(|top| span.starts_with(top)) || TOP_FILES.contains(&span) {
            return root().join(span).exists();
        }
        if let Some(metric) = span.strip_prefix("imprint_bridge_") {
            let metric = metric.split('{').next().unwrap_or_default();
            return self.sources.contains(&format!("\"{metric}\""));
        }
        if span.starts_with("ImprintBridge") {
            return self.alerts.contains(&format!("alert: {span}\n"));
        }
        !is_setting(span) || self.settings.contains(span)
    }
}

/// Returns whether a file has this test.
fn is_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let attributes = before.lines().rev().take(6).collect::<Vec<_>>();
    let is_end = |line: &&&str| line.trim() == "}";
    let mut attributes = attributes.iter().take_while(|line| !is_end(line));
    attributes.any(|line| line.trim() == "#[test]")
}

/// Returns the code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the targets of the links of a text, without their anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.split("](").skip(1);
    let targets = ends.filter_map(|end| end.split(')').next());
    targets.filter_map(|target| target.split('#').next())
}

#[test]
fn everything_that_the_security_pages_name_exists() {
    let names = Names::read();
    let mut wrong = Vec::new();
    for page in PAGES {
        let text = read(&format!("deploy/{page}"));
        let named = spans(&text).filter(|span| !names.exist(span));
        wrong.extend(named.map(|span| format!("{page}: {span}")));
        let linked = links(&text).filter(|link| !root().join("deploy").join(link).exists());
        wrong.extend(linked.map(|link| format!("{page}: link {link}")));
    }
    super::assert_none(&wrong);
}

#[test]
fn every_requirement_has_a_state_and_a_proof() {
    let text = read("deploy/ASVS.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let mut numbers = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in rows.filter(|row| row.starts_with(|first: char| first.is_ascii_digit())) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [requirement, state, proof] = cells[..] else {
            wrong.push(row.to_owned());
            continue;
        };
        let words = requirement.split([' ', ',']);
        for number in words.filter(|word| word.starts_with(|first: char| first.is_ascii_digit())) {
            let is_number = number.split('.').count() == 3;
            if is_number && !numbers.insert(number.to_owned()) {
                wrong.push(format!("{number} has two rows"));
            }
        }
        if !STATES.contains(&state) || (state == "met" && spans(proof).next().is_none()) {
            wrong.push(row.to_owned());
        }
    }
    super::assert_none(&wrong);
    assert!(numbers.len() > 100, "{} requirements", numbers.len());
}

#[test]
fn a_name_that_does_not_exist_is_noticed() {
    let names = Names::read();
    for (span, expected) in [
        (
            "tests/it/tidy/security.rs::a_name_that_does_not_exist_is_noticed",
            true,
        ),
        ("tests/it/tidy/security.rs::is_test", false),
        ("tests/it/none.rs::any", false),
        ("deploy/README.md", true),
        ("deploy/none.md", false),
        ("imprint.key_file", true),
        ("imprint.key", false),
        ("imprint_bridge_accepted_total", true),
        ("imprint_bridge_accepted_total{source=\"crm\"}", true),
        ("imprint_bridge_none_total", false),
        ("ImprintBridgeStopped", true),
        ("ImprintBridgeStop", false),
        ("--reveal", true),
    ] {
        assert_eq!(names.exist(span), expected, "{span}");
    }
    let found: Vec<&str> = links("[a](b.md#c) and [d](../e.md)").collect();
    assert_eq!(found, ["b.md", "../e.md"]);
}

/// FAULTS N890: each alert has a section in the runbook, a link to it, and a test in which it fires.
#[test]
fn every_alert_has_a_runbook_and_a_test() {
    let alerts = read("deploy/monitoring/alerts.yaml");
    let (runbook, tests) = (
        read("deploy/RUNBOOK.md"),
        read("tests/deploy/alerts_test.yaml"),
    );
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for rule in alerts.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap().trim();
        names.insert(name);
        let section = format!("\n## {name}\n");
        let link = format!("runbook_url: deploy/RUNBOOK.md#{}\n", name.to_lowercase());
        let fires = |case: &str| {
            case.lines().next() == Some(name) && case.contains("exp_alerts:\n          - ")
        };
        let checks = [
            ("section", runbook.contains(&section)),
            ("link", rule.contains(&link)),
            ("test", tests.split("- alertname: ").any(fires)),
        ];
        let missing = checks.into_iter().filter(|(_, is_there)| !is_there);
        wrong.extend(missing.map(|(what, _)| format!("{name} has no {what}")));
    }
    for section in runbook.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap();
        if name.starts_with("ImprintBridge") && !names.contains(name) {
            wrong.push(format!("the runbook explains {name}, which is no alert"));
        }
        if name.starts_with("ImprintBridge") && !section.contains("- **Over when:**") {
            wrong.push(format!("{name} does not say when it is over"));
        }
    }
    super::assert_none(&wrong);
}
