//! The result of a change: the present states of the changed entries, with their counts.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use super::Console;
use super::entry_row::EntryText;
use super::page::{Frame, PageResult, Section, page};
use super::visitor::Visitor;
use super::words::{counted, length};
use crate::ops::AdminProblem;
use crate::ops::operate::{CHANGE_ENTRIES_MAX, Operations};
use crate::outbox::EntryId;

#[derive(Template)]
#[template(path = "result.html", config = "src/console/askama.toml")]
struct ResultPage {
    frame: Frame,
    title: String,
    /// The number of entries in each state, the most frequent state first.
    counts: String,
    /// The number of entries that the store does not have any more.
    missing: Option<String>,
    /// True if an entry still waits.
    is_open: bool,
    rows: Vec<EntryText>,
    path: String,
}

#[derive(Deserialize)]
struct ResultQuery {
    #[serde(default)]
    entries: String,
}

/// Returns the path of the page with the result of a change of these entries. Numbers in a row become a range, so that the
/// address stays short.
pub(super) fn result_path(entries: &[u64]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut sorted = entries.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for number in sorted {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            Some(_) | None => ranges.push((number, number)),
        }
    }
    let ranges = ranges.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let ranges: Vec<String> = ranges.collect();
    format!("/entries/result?entries={}", ranges.join(","))
}

/// Answers `GET /entries/result`.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    request: HttpRequest,
) -> PageResult {
    let query = web::Query::<ResultQuery>::from_query(request.query_string());
    let entries = query.map_err(|_error| wrong())?.into_inner().entries;
    let numbers = numbers(&entries)?;
    let now = operations.clock.now();
    let entries = numbers.iter().copied().map(EntryId).collect();
    let found = operations.summaries(visitor.operator(), entries).await?;
    let found = found.iter().map(|summary| EntryText::of(summary, now));
    let rows: Vec<EntryText> = found.collect();
    let missing = numbers.len().saturating_sub(rows.len());
    let missing = u64::try_from(missing).unwrap_or(u64::MAX);
    page(&ResultPage {
        frame: console.frame(&visitor, Section::Entries, &operations).await,
        title: counted(length(&rows), ["changed entry", "changed entries"]),
        counts: counts(&rows),
        missing: (missing > 0).then(|| counted(missing, ["entry", "entries"])),
        is_open: rows.iter().any(|row| row.state.word == "waiting"),
        rows,
        path: result_path(&numbers),
    })
}

fn counts(rows: &[EntryText]) -> String {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        *states.entry(row.state.word).or_default() += 1;
    }
    let mut states: Vec<(&str, u64)> = states.into_iter().collect();
    states.sort_by_key(|(_, entries)| std::cmp::Reverse(*entries));
    let states = states.into_iter();
    let states = states.map(|(word, entries)| format!("{entries} {word}"));
    states.collect::<Vec<_>>().join(", ")
}

/// Parses numbers and ranges of numbers, at most as many entries as one change can have.
fn numbers(text: &str) -> Result<Vec<u64>, AdminProblem> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |number: &str| number.parse::<u64>().map_err(|_error| wrong());
        let (first, last) = (parse(first)?, parse(last)?);
        let room = CHANGE_ENTRIES_MAX.saturating_sub(numbers.len());
        let room = u64::try_from(room).unwrap_or_default();
        if last < first || last - first >= room {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

fn wrong() -> AdminProblem {
    AdminProblem::Malformed("the address has no entries of a change".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1314: a replay ended with a list of waiting entries, and no page showed the result.
    #[test]
    fn the_address_of_a_result_has_its_entries() {
        let path = result_path(&[9, 3, 1, 2, 12, 13]);
        assert_eq!(path, "/entries/result?entries=1-3,9,12-13");
        assert_eq!(numbers("1-3,9,12-13").unwrap(), [1, 2, 3, 9, 12, 13]);
        assert_eq!(numbers("2,1-2").unwrap(), [1, 2]);
        let all = format!("1-{CHANGE_ENTRIES_MAX}");
        assert_eq!(numbers(&all).unwrap().len(), CHANGE_ENTRIES_MAX);
        for wrong in [
            "",
            "x",
            "3-1",
            "1-",
            "1-18446744073709551615",
            &format!("{all},1"),
        ] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }
}
