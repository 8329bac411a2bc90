//! Writes and checks the page `config/REFERENCE.md`: every problem type, every message of `check`, every reason, every
//! bound and every metric, with its cause and its remedy.
//!
//! The explanations stand in `src/reference`, and the bounds in the constants of the code. To write the page, run this
//! test with the environment variable `WRITE_REFERENCE=1`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use imprint_bridge::metrics::{LabelSets, LogCounters, Metrics};
use imprint_bridge::outbox::{IgnoreReason, ParkReason};
use imprint_bridge::reference::{
    ADMIN_PROBLEMS, CAUSES, CONNECTIONS, DENIALS, DENIED, IGNORED, JSON_RULES, MessageExplanation,
    NOTATION, PARKED, PROBLEMS, REVIEW, RULES, SETTINGS, SOURCES, STORE,
};

use super::source::root;
use super::{assert_none, bounds, literals};

const PAGE: &str = "config/REFERENCE.md";
const INTRODUCTION: &str = "# Reference

This page explains every message of the bridge, and lists every bound and every metric. A test writes the page from the code: to change
an explanation, edit `src/reference`. `imprint-bridge reference TEXT` prints the rows that contain a text.
";

/// The files whose texts are messages of `check`. A folder stands for all files in it.
const CHECK_FILES: [&str; 36] = [
    "cli/check.rs",
    "cli/check/",
    "cli/production.rs",
    "config.rs",
    "config/",
    "draft/review.rs",
    "draft/review/",
    "event.rs",
    "ingress/auth/hmac.rs",
    "ingress/auth/hmac/encoding.rs",
    "ingress/auth/hmac/header_items.rs",
    "ingress/auth/hmac/signing_time.rs",
    "ingress/auth/hmac/template.rs",
    "ingress/auth/secret_length.rs",
    "ingress/auth/standard_webhooks.rs",
    "ingress/auth/token.rs",
    "intake/examples.rs",
    "intake/schema.rs",
    "intake/schema/bounds.rs",
    "intake/schema/keywords.rs",
    "intake/schema/patterns.rs",
    "mapping/call.rs",
    "mapping/compile.rs",
    "mapping/foreign.rs",
    "mapping/header.rs",
    "mapping/jq.rs",
    "mapping/jq/advice.rs",
    "mapping/jq/allowed.rs",
    "mapping/jq/replacements.rs",
    "mapping/jq/sanitize.rs",
    "mapping/jq/sanitize/",
    "mapping/lower.rs",
    "mapping/syntax.rs",
    "mapping/syntax/",
    "telemetry.rs",
    "telemetry/filter.rs",
];

/// The texts in these files that are no messages of `check`.
const OTHER_TEXTS: [&str; 18] = [
    "carriage return",
    "duplicate key",
    "invalid unquoted key",
    "with a dotted key",
    "inline table",
    "missing comma",
    "Unknown meta-schema",
    "first_name and last_name",
    "at line",
    "a task panicked",
    "the last lines are lost if the log is dropped before the end of the command",
    "catch empty)",
    "imprint-bridge bearer token",
    "Basic realm=\"imprint-bridge\", charset=\"UTF-8\"",
    "The event does not match the schema, and is too large for a list of its errors.",
    "The expression has several results; `first(…)` takes one.",
    "The body must have a value here.",
    "The expression finds no event in the body, because the body has no list here.",
];

/// The files with the tables of problem types.
const EVENT_PROBLEMS: [&str; 2] = ["ingress/refusal.rs", "app/refused.rs"];
const OPERATOR_PROBLEMS: [&str; 1] = ["ops/api/problem.rs"];

#[test]
fn the_reference_page_is_current() {
    let page = page();
    let path = root().join(PAGE);
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    let hint = "write config/REFERENCE.md: WRITE_REFERENCE=1 cargo test --features failpoints --test it reference";
    let is_new = |line: &&str| !written.lines().any(|known| known == *line);
    let new: Vec<&str> = page.lines().filter(is_new).collect();
    assert!(written == page, "{hint}\n{}", new.join("\n"));
}

/// FAULTS N428: each message of `check` has an explanation in `src/reference`.
#[test]
fn every_message_of_check_is_explained() {
    let mut in_code = BTreeSet::new();
    for file in CHECK_FILES {
        let files = super::source::files_below(&root().join("src"));
        let named = files.iter().filter(|path| {
            let path = path.strip_prefix(root().join("src")).unwrap();
            let path = path.to_str().unwrap();
            path == file || (file.ends_with('/') && path.starts_with(file))
        });
        for path in named {
            in_code.extend(literals::messages(&fs::read_to_string(path).unwrap()));
        }
    }
    let explained: BTreeSet<String> = names(SETTINGS)
        .chain(names(CONNECTIONS))
        .chain(names(STORE))
        .chain(names(SOURCES))
        .chain(names(DENIED))
        .chain(names(NOTATION))
        .chain(names(REVIEW))
        .map(|text| text.trim().to_owned())
        .collect();
    let is_other = |text: &String| OTHER_TEXTS.contains(&text.as_str());
    let missing = in_code
        .difference(&explained)
        .filter(|text| !is_other(text));
    let missing = missing.map(|text| format!("explain in src/reference: {text}"));
    let stale = explained.difference(&in_code);
    let stale = stale.map(|text| format!("no message of the code, remove it: {text}"));
    assert_none(&missing.chain(stale).collect::<Vec<_>>());
}

/// FAULTS N428: nobody meets a problem type or a reason that the reference does not explain.
#[test]
fn every_problem_type_and_every_reason_is_explained() {
    for (files, table) in [
        (&EVENT_PROBLEMS[..], PROBLEMS),
        (&OPERATOR_PROBLEMS[..], ADMIN_PROBLEMS),
    ] {
        let in_code: BTreeSet<String> = problems(files).into_keys().collect();
        let explained: BTreeSet<String> = names(table).map(str::to_owned).collect();
        assert_eq!(explained, in_code);
    }
    let reasons: BTreeSet<&str> = ParkReason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .collect();
    assert_eq!(names(PARKED).collect::<BTreeSet<_>>(), reasons);
    // FAULTS N926
    let ignored: BTreeSet<&str> = IgnoreReason::NAMES.into_iter().collect();
    assert_eq!(names(IGNORED).collect::<BTreeSet<_>>(), ignored);
    let causes: BTreeSet<&str> = names(CAUSES).collect();
    let in_code = fs::read_to_string(root().join("src/imprint/cause.rs")).unwrap();
    let in_code = in_code.split("#[cfg(test)]").next().unwrap().to_owned();
    let words = in_code.match_indices("=> \"").map(|(at, arrow)| {
        let word = &in_code[at + arrow.len()..];
        word.split('"').next().unwrap()
    });
    for word in words.chain(["proxy_…", "status_401", "status_…"]) {
        assert!(causes.contains(word), "{word} is not explained");
    }
    let json = fs::read_to_string(root().join("src/event/json.rs")).unwrap();
    let rules = json.split_once("pub const fn as_str").unwrap().1;
    let rules = rules.split_once("impl fmt::Display").unwrap().0;
    let rules: BTreeSet<&str> = rules.split('"').skip(1).step_by(2).collect();
    assert_eq!(names(JSON_RULES).collect::<BTreeSet<_>>(), rules);
    let denial = fs::read_to_string(root().join("src/ingress/auth/denial.rs")).unwrap();
    for reason in names(DENIALS) {
        assert!(denial.contains(&format!("=> \"{reason}\",")), "{reason}");
    }
    assert_eq!(denial.matches("=> \"").count(), DENIALS.len());
}

fn names(table: &'static [MessageExplanation]) -> impl Iterator<Item = &'static str> {
    table.iter().flat_map(|row| row.texts).copied()
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let events = "Problem types of the event listener";
    problem_section(&mut page, events, &EVENT_PROBLEMS, PROBLEMS);
    let operators = "Problem types of the admin API";
    problem_section(&mut page, operators, &OPERATOR_PROBLEMS, ADMIN_PROBLEMS);
    let rule = "The member `rule` of each error in `faults` has one of these names.";
    section(&mut page, "Rules for a JSON body", rule, JSON_RULES);
    section(&mut page, "Rules for an event", rule, RULES);
    let check =
        "`…` stands for a part that differs. `serve` and `explain` print the same messages.";
    section(&mut page, "Messages of check", check, SETTINGS);
    rows(&mut page, CONNECTIONS);
    rows(&mut page, STORE);
    rows(&mut page, SOURCES);
    rows(&mut page, DENIED);
    rows(&mut page, NOTATION);
    rows(&mut page, REVIEW);
    section(
        &mut page,
        "Reasons for a parked entry",
        "`imprint-bridge parked` and the receipt show the reason.",
        PARKED,
    );
    section(
        &mut page,
        "Reasons for an ignored event",
        "`imprint-bridge events`, the receipt and the metric `ignored_total` show the reason.",
        IGNORED,
    );
    section(
        &mut page,
        "Causes of a failed request to Imprint",
        "The log, the metrics and `imprint-bridge destination` show the cause.",
        CAUSES,
    );
    section(
        &mut page,
        "Reasons for a denied request",
        "The sender gets 401 without the reason.",
        DENIALS,
    );
    heading(
        &mut page,
        "Bounds",
        "Each bound is a constant of the code. A setting can have a lower maximum or a default; see `config/default.toml`.",
    );
    page.push_str("| bound | value | meaning |\n|---|---|---|\n");
    for bound in bounds::all() {
        let meaning = cell(&bound.meaning);
        writeln!(page, "| `{}` | {} | {meaning} |", bound.name, bound.value).unwrap();
    }
    metric_section(&mut page);
    page
}

/// Adds the table of all metrics, from their declarations.
fn metric_section(page: &mut String) {
    let text = "`GET /metrics` on the second listener prints these metrics. The values of each label come from a fixed set, or are the names of the configured sources.";
    heading(page, "Metrics", text);
    page.push_str("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for row in Metrics::new(LabelSets::default(), LogCounters::NONE)
        .unwrap()
        .rows()
    {
        let labels: Vec<String> = row.labels.iter().map(|label| code(label)).collect();
        let (labels, meaning) = (labels.join(", "), cell(&row.help));
        writeln!(
            page,
            "| `{}` | {} | {labels} | {meaning} |",
            row.name, row.kind
        )
        .unwrap();
    }
}

fn problem_section(
    page: &mut String,
    title: &str,
    files: &[&str],
    table: &'static [MessageExplanation],
) {
    let text = "The `type` of the answer is `urn:imprint-bridge:problem:` and this word.";
    heading(page, title, text);
    page.push_str("| type | status | title | cause | remedy |\n|---|---|---|---|---|\n");
    let known = problems(files);
    for row in table {
        let (cause, remedy) = (cell(row.cause), cell(row.remedy));
        for word in row.texts {
            let (status, title) = &known[*word];
            writeln!(
                page,
                "| `{word}` | {status} | {title} | {cause} | {remedy} |"
            )
            .unwrap();
        }
    }
}

fn heading(page: &mut String, title: &str, text: &str) {
    writeln!(page, "\n## {title}\n\n{text}\n").unwrap();
}

fn section(page: &mut String, title: &str, text: &str, table: &'static [MessageExplanation]) {
    heading(page, title, text);
    page.push_str("| message | cause | remedy |\n|---|---|---|\n");
    rows(page, table);
}

fn rows(page: &mut String, table: &'static [MessageExplanation]) {
    for row in table {
        let texts: BTreeSet<String> = row.texts.iter().map(|text| code(text.trim())).collect();
        let texts: Vec<String> = texts.into_iter().collect();
        writeln!(
            page,
            "| {} | {} | {} |",
            texts.join("<br>"),
            cell(row.cause),
            cell(row.remedy)
        )
        .unwrap();
    }
}

/// Formats a text as code. A text with back quotes needs two of them around it.
fn code(text: &str) -> String {
    let text = cell(text);
    match text.as_str() {
        "…" => text,
        _ if text.contains('`') => format!("`` {text} ``"),
        _ => format!("`{text}`"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Returns the status and the title of each problem type in the tables of the given files.
fn problems(files: &[&str]) -> BTreeMap<String, (u16, String)> {
    let mut rows = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(root().join("src").join(file)).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for (before, after) in text.match_indices('(').map(|(at, _)| text.split_at(at + 1)) {
            let Some(status) = after
                .trim_start()
                .get(..3)
                .and_then(|digits| digits.parse().ok())
            else {
                continue;
            };
            let end = after.find(')').unwrap();
            let texts: Vec<&str> = after[..end].split('"').skip(1).step_by(2).collect();
            let (word, title) = match texts.as_slice() {
                [word, title] => ((*word).to_owned(), *title),
                [title] if is_class(before) => (class(before), *title),
                _ => continue,
            };
            rows.insert(word, (status, title.to_owned()));
        }
    }
    rows
}

/// Returns whether a rejection class stands before its row.
fn is_class(before: &str) -> bool {
    let line = before.lines().last().unwrap_or_default();
    line.contains("RejectionClass::")
}

/// Returns the word of a rejection class, which stands before its row: `RejectionClass::UnknownEventType => (`.
fn class(before: &str) -> String {
    let name = before.rsplit("::").next().unwrap();
    let name = name.split(' ').next().unwrap();
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}
