//! Checks that tests/FAULTS.md lists every fault code that a comment cites.
//!
//! A citation in a comment is the word `FAULTS`, a space, and codes with commas between the codes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::source::{files_below, root};

/// The word that begins a citation of fault codes.
const CITATION: &str = "FAULTS ";

#[test]
fn every_cited_fault_code_is_listed() {
    let list = list();
    let listed = listed(&list);
    let mut unknown = Vec::new();
    for (file, text) in files() {
        let codes = unlisted(&text, &listed);
        unknown.extend(codes.map(|code| format!("{}: {code}", file.display())));
    }
    super::assert_none(&unknown);
}

#[test]
fn no_comment_begins_with_a_bare_fault_code() {
    let list = list();
    let listed = listed(&list);
    let mut bare = Vec::new();
    for (file, text) in files() {
        let codes = bare_codes(&text, &listed);
        bare.extend(codes.map(|code| format!("{}: {code}", file.display())));
    }
    super::assert_none(&bare);
    let found: Vec<&str> = bare_codes("/// P01, V1: text\n/// FAULTS P01", &listed).collect();
    assert_eq!(found, ["P01"]);
}

#[test]
fn a_fault_code_is_listed_once() {
    let list = list();
    let rows = list.lines().filter_map(row_code).count();
    assert_eq!(rows, listed(&list).len());
    assert!(rows > 100, "only {rows} codes in tests/FAULTS.md");
}

#[test]
fn an_unlisted_fault_code_is_reported() {
    let listed = listed("| code | fault |\n|---|---|\n| P01 | a |\n| V1 | b |\n");
    assert_eq!(listed, BTreeSet::from(["P01", "V1"]));
    let table: [(&str, &[&str]); 5] = [
        ("/// FAULTS P01, Q7, V1: more P02, and P03", &["Q7"]),
        ("    // As the row says (FAULTS V1, V2).", &["V2"]),
        ("//! FAULTS of a disk", &["of"]),
        ("let text = \"FAULTS Q7\"; // a string", &[]),
        ("//! See tests/FAULTS.md.", &[]),
    ];
    for (line, expected) in table {
        let reported: Vec<&str> = unlisted(line, &listed).collect();
        assert_eq!(reported, expected, "{line}");
    }
}

/// Returns the path and the text of every Rust file in `src` and `tests`.
fn files() -> impl Iterator<Item = (PathBuf, String)> {
    ["src", "tests"]
        .into_iter()
        .flat_map(|folder| files_below(&root().join(folder)))
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file, text)
        })
}

/// Returns the listed fault codes at the beginning of comments that have no [`CITATION`] before the code.
fn bare_codes<'a>(text: &'a str, listed: &'a BTreeSet<&str>) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("//"))
        .filter_map(|comment| {
            let comment = comment.trim_start_matches(['/', '!', ' ']);
            comment.split(|c: char| !c.is_alphanumeric()).next()
        })
        .filter(|word| listed.contains(word))
}

fn list() -> String {
    fs::read_to_string(root().join("tests/FAULTS.md")).unwrap()
}

/// Returns the fault codes of all table rows in the text of tests/FAULTS.md.
fn listed(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(row_code).collect()
}

/// Returns the fault code in the first cell of a table row.
fn row_code(line: &str) -> Option<&str> {
    let (code, _) = line.strip_prefix("| ")?.split_once(" | ")?;
    is_code(code).then_some(code)
}

/// Returns the codes that the comments of a file cite and that `listed` does not have.
fn unlisted<'a>(text: &'a str, listed: &'a BTreeSet<&str>) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter(|line| line.trim_start().starts_with("//"))
        .flat_map(|line| line.split(CITATION).skip(1))
        .flat_map(cited)
        .filter(|code| !listed.contains(code))
}

/// Returns the cited codes at the start of `rest`, the text after [`CITATION`]: the first word, and all codes that
/// follow the first word.
fn cited(rest: &str) -> impl Iterator<Item = &str> {
    let mut words = rest.split(", ").map(|part| {
        let end = part.find(|c: char| !c.is_alphanumeric());
        end.map_or((part, false), |end| (&part[..end], true))
    });
    let first = words.next();
    let mut is_over = first.is_none_or(|(_, is_last)| is_last);
    let more = words.take_while(move |(word, is_last)| {
        let is_cited = !is_over && is_code(word);
        is_over |= is_last;
        is_cited
    });
    first.into_iter().chain(more).map(|(word, _)| word)
}

/// Returns true if the word is a fault code: a capital letter with a number.
fn is_code(word: &str) -> bool {
    let number = word.strip_prefix(|c: char| c.is_ascii_uppercase());
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}
