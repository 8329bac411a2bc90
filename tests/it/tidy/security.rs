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
/// The sections of OWASP ASVS 5.0.0 with requirements of level 1 or 2, and the last number of such a requirement.
const SECTIONS: [(&str, u32); 75] = [
    ("1.1", 2),
    ("1.2", 9),
    ("1.3", 11),
    ("1.4", 3),
    ("1.5", 2),
    ("2.1", 3),
    ("2.2", 3),
    ("2.3", 4),
    ("2.4", 1),
    ("3.2", 2),
    ("3.3", 4),
    ("3.4", 6),
    ("3.5", 5),
    ("3.7", 2),
    ("4.1", 3),
    ("4.2", 1),
    ("4.3", 2),
    ("4.4", 4),
    ("5.1", 1),
    ("5.2", 3),
    ("5.3", 2),
    ("5.4", 3),
    ("6.1", 3),
    ("6.2", 12),
    ("6.3", 4),
    ("6.4", 4),
    ("6.5", 5),
    ("6.6", 3),
    ("6.8", 4),
    ("7.1", 3),
    ("7.2", 4),
    ("7.3", 2),
    ("7.4", 5),
    ("7.5", 2),
    ("7.6", 2),
    ("8.1", 2),
    ("8.2", 3),
    ("8.3", 1),
    ("8.4", 1),
    ("9.1", 3),
    ("9.2", 4),
    ("10.1", 2),
    ("10.2", 2),
    ("10.3", 4),
    ("10.4", 11),
    ("10.5", 5),
    ("10.6", 2),
    ("10.7", 3),
    ("11.1", 2),
    ("11.2", 3),
    ("11.3", 3),
    ("11.4", 4),
    ("11.5", 1),
    ("11.6", 1),
    ("12.1", 3),
    ("12.2", 2),
    ("12.3", 4),
    ("13.1", 1),
    ("13.2", 5),
    ("13.3", 2),
    ("13.4", 5),
    ("14.1", 2),
    ("14.2", 4),
    ("14.3", 3),
    ("15.1", 3),
    ("15.2", 3),
    ("15.3", 7),
    ("16.1", 1),
    ("16.2", 5),
    ("16.3", 4),
    ("16.4", 3),
    ("16.5", 3),
    ("17.1", 1),
    ("17.2", 4),
    ("17.3", 2),
];

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
    attributes.any(|line| line.trim().starts_with("#[") && line.trim().ends_with("test]"))
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

/// One row of the table of requirements.
#[derive(Debug)]
struct Requirements<'a> {
    /// Numbers of requirements (`1.2.3`) and of sections (`1.2`), and names of chapters (`V1`).
    numbers: Vec<&'a str>,
    state: &'a str,
    proof: &'a str,
}

impl<'a> Requirements<'a> {
    /// Returns the rows of a page, and the lines that are no complete row.
    fn read(page: &'a str) -> (Vec<Self>, Vec<String>) {
        let lines = page.lines().filter_map(|line| line.strip_prefix("| "));
        let is_number = |text: &&str| {
            let word = text.split([' ', ',']).next().unwrap_or_default();
            let digits = word.strip_prefix('V').unwrap_or(word).replace('.', "");
            let is_numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_numeric && (word.starts_with('V') || word.contains('.'))
        };
        let (mut rows, mut wrong) = (Vec::new(), Vec::new());
        for line in lines.filter(is_number) {
            let cells: Vec<&str> = line.split(" | ").collect();
            let [requirement, state, proof] = cells[..] else {
                wrong.push(line.to_owned());
                continue;
            };
            let words = requirement
                .split([' ', ','])
                .filter(|word| !word.is_empty());
            rows.push(Self {
                numbers: words.take_while(is_number).collect(),
                state,
                proof,
            });
        }
        (rows, wrong)
    }

    /// Returns whether the row has what its state needs: what is met has a test, a script, or the reason for none.
    fn is_complete(&self) -> bool {
        let is_test = |span: &str| {
            span.contains(".rs::") || (span.starts_with("tests/") && span.ends_with(".py"))
        };
        match self.state {
            "met" => spans(self.proof).any(is_test) || self.proof.contains("No test: "),
            // A chapter or a section never holds as a whole.
            "platform" | "not yet" => self.numbers.iter().all(|number| is_single(number)),
            "does not apply" => !self.proof.trim_end_matches([' ', '|']).is_empty(),
            _ => false,
        }
    }
}

fn is_single(number: &str) -> bool {
    number.split('.').count() == 3
}

/// Returns every requirement of level 1 and 2. In each section, the requirements of level 3 have the highest numbers.
fn level_2() -> BTreeSet<String> {
    let all = SECTIONS
        .iter()
        .flat_map(|(section, last)| (1..=*last).map(move |number| format!("{section}.{number}")));
    all.collect()
}

/// Returns the faults of a page with the table of requirements.
fn table_faults(page: &str) -> Vec<String> {
    let (rows, mut wrong) = Requirements::read(page);
    let mut seen = BTreeSet::new();
    for row in &rows {
        if !row.is_complete() {
            wrong.push(format!("{:?}: {}: {}", row.numbers, row.state, row.proof));
        }
        let twice = row.numbers.iter().filter(|number| !seen.insert(**number));
        wrong.extend(twice.map(|number| format!("{number} has two rows")));
    }
    let expected = level_2();
    for number in &expected {
        let (section, _) = number.rsplit_once('.').unwrap();
        let (chapter, _) = section.split_once('.').unwrap();
        let chapter = format!("V{chapter}");
        if ![number, section, &chapter]
            .iter()
            .any(|name| seen.contains(name))
        {
            wrong.push(format!("{number} has no row"));
        }
    }
    let unknown = seen
        .iter()
        .filter(|number| is_single(number) && !expected.contains(**number));
    wrong.extend(unknown.map(|number| format!("{number} is no requirement of level 1 or 2")));
    wrong
}

/// FAULTS N1441: 18 requirements had no row, and 21 rows said "met" and named no test.
#[test]
fn every_requirement_of_level_2_has_a_row() {
    assert_eq!(level_2().len(), 253);
    super::assert_none(&table_faults(&read("deploy/ASVS.md")));
}

#[test]
fn an_incomplete_table_of_requirements_is_noticed() {
    let page = read("deploy/ASVS.md");
    for (old, new, expected) in [
        ("| 1.1.1 ", "| ", "1.1.1 has no row"),
        ("| V17 ", "| ", "17.3.2 has no row"),
        ("| 6.8 ", "| ", "6.8.4 has no row"),
        ("| 1.1.1 ", "| 1.1.2 ", "1.1.2 has two rows"),
        ("| 1.1.1 ", "| 1.1.1, 1.1.9 ", "1.1.9 is no requirement"),
        ("No test: the compiler", "The compiler", "1.3.10"),
        (
            "14.3.3 storage of the browser | met",
            "14.3.3 | almost",
            "almost",
        ),
    ] {
        assert!(page.contains(old), "{old}");
        let faults = table_faults(&page.replacen(old, new, 1));
        assert!(faults.join("\n").contains(expected), "{old}: {faults:?}");
    }
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
