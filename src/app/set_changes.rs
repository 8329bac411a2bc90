//! The differences between two sets of sources: the changed sources, and the changed lines of their files. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::secrets::LoadedAuth;
use crate::config::sources::{SourceFiles, SourceSettings};
use crate::event::SourceName;
use crate::ingress::{Endpoint, Endpoints};
use crate::ops::operate::{ChangedFile, ChangedLine, SetChanges};
use crate::outbox::AuditEvent;
use crate::time::Timestamp;

/// The maximum number of changed lines of one source file that the bridge keeps for operators.
const LINES_MAX: usize = 60;
/// The maximum number of source files whose changed lines the bridge keeps.
const FILES_MAX: usize = 10;
/// The maximum length of a line that the bridge keeps, in characters.
const LINE_CHARS_MAX: usize = 300;
/// The maximum number of comparisons of lines. Beyond it, every line between the first and the last difference counts as
/// changed.
const COMPARISONS_MAX: usize = 1_000_000;
/// The maximum number of names of each kind of change in a record of the audit log.
const AUDITED_SOURCES_MAX: usize = 20;

/// The texts of the source files, by source. A text that is too long for a try-out is missing.
pub(super) type SourceTexts = BTreeMap<SourceName, Arc<str>>;

/// Compares two sets of sources by the digests of their files.
pub(super) fn changes(
    old: (&Endpoints, Option<&SourceFiles>),
    new: (&Endpoints, Option<&SourceFiles>),
) -> SetChanges {
    let names = |endpoints: &Endpoints| -> BTreeSet<String> {
        let names = endpoints.all().map(|endpoint| &endpoint.source.name);
        names.map(ToString::to_string).collect()
    };
    let (before, after) = (names(old.0), names(new.0));
    let is_changed = |endpoint: &&Arc<Endpoint>| {
        let digests = [
            (old.1, old.0.get(&endpoint.source.name)),
            (new.1, Some(*endpoint)),
        ]
        .map(|(files, endpoint)| Some(files?.digest_of(&endpoint?.source)));
        let [old, new] = digests;
        old.is_none() || old != new
    };
    let changed = new.0.all().filter(is_changed);
    let changed = changed.map(|endpoint| endpoint.source.name.to_string());
    SetChanges {
        changed: changed.filter(|name| before.contains(name)).collect(),
        added: after.difference(&before).cloned().collect(),
        removed: before.difference(&after).cloned().collect(),
    }
}

/// Returns the record of the audit log about changed files that the bridge noticed.
pub(super) fn audited(changes: &SetChanges, digest: &str, at: Timestamp) -> AuditEvent {
    let kinds = [
        ("added", &changes.added),
        ("changed", &changes.changed),
        ("removed", &changes.removed),
    ];
    let kinds = kinds.iter().filter(|(_, names)| !names.is_empty());
    let kinds = kinds.map(|(kind, names)| {
        let names = names.iter().take(AUDITED_SOURCES_MAX);
        let names: Vec<&str> = names.map(String::as_str).collect();
        format!(" {kind} {}", names.join(" "))
    });
    AuditEvent {
        // The name of an operator has no space.
        operator: "source files".to_owned(),
        action: "sources_changed",
        target: format!("digest {digest}{}", kinds.collect::<String>()),
        reason: None,
        at,
    }
}

/// Returns the texts of the source files, by source.
pub(super) fn texts(sources: &[(SourceSettings, LoadedAuth)]) -> SourceTexts {
    let texts = sources.iter().filter_map(|(settings, _)| {
        let text = settings.text.as_ref()?;
        Some((settings.source.name.clone(), Arc::clone(text)))
    });
    texts.collect()
}

/// Returns the changed lines of the changed source files. A file that is new or gone has no lines.
pub(super) fn changed_files(
    (before, after): (&SourceTexts, &SourceTexts),
    changes: &SetChanges,
) -> Vec<ChangedFile> {
    let texts = |source: &str| {
        let name = SourceName::parse(source).ok()?;
        Some((before.get(&name)?, after.get(&name)?))
    };
    let files = changes.changed.iter().take(FILES_MAX);
    let files = files.filter_map(|source| {
        let (before, after) = texts(source)?;
        let mut lines = changed_lines(before, after);
        let left_out = lines.len().saturating_sub(LINES_MAX);
        lines.truncate(LINES_MAX);
        Some(ChangedFile {
            source: source.clone(),
            lines,
            left_out,
        })
    });
    files.collect()
}

/// Returns the lines that only one of two texts has, in the order of the texts.
fn changed_lines(before: &str, after: &str) -> Vec<ChangedLine> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let start = old.iter().zip(&new).take_while(|(one, other)| one == other);
    let start = start.count();
    let (old, new) = (
        old.get(start..).unwrap_or_default(),
        new.get(start..).unwrap_or_default(),
    );
    let ends = old.iter().rev().zip(new.iter().rev());
    let end = ends.take_while(|(one, other)| one == other).count();
    let (old, new) = (
        old.get(..old.len().saturating_sub(end)).unwrap_or_default(),
        new.get(..new.len().saturating_sub(end)).unwrap_or_default(),
    );
    let common = CommonLines::of(old, new);
    let (mut at_old, mut at_new) = (0, 0);
    let mut changed = Vec::new();
    while at_old < old.len() || at_new < new.len() {
        let (one, other) = (old.get(at_old), new.get(at_new));
        if one == other && common.count(at_old, at_new) > 0 {
            (at_old, at_new) = (at_old + 1, at_new + 1);
            continue;
        }
        let keeps_more = common.count(at_old, at_new + 1) > common.count(at_old + 1, at_new);
        let is_new = one.is_none() || (other.is_some() && keeps_more);
        let (at, line) = match is_new {
            true => (&mut at_new, other),
            false => (&mut at_old, one),
        };
        *at += 1;
        changed.extend(line.map(|line| ChangedLine {
            is_new,
            number: start + *at,
            text: line.chars().take(LINE_CHARS_MAX).collect(),
        }));
    }
    changed
}

/// For each place in two lists of lines, the highest number of lines that the rests of both lists have in common, in the same
/// order.
struct CommonLines(Vec<Vec<usize>>);

impl CommonLines {
    /// Compares two lists. Lists that are too long have no line in common.
    fn of(old: &[&str], new: &[&str]) -> Self {
        if old.len().saturating_mul(new.len()) > COMPARISONS_MAX {
            return Self(Vec::new());
        }
        let mut rows = vec![vec![0; new.len() + 1]];
        for line in old.iter().rev() {
            let mut row = vec![0];
            let below = rows.last().map(Vec::as_slice).unwrap_or_default();
            let below = below.iter().rev().zip(below.iter().rev().skip(1));
            for (other, (diagonal, below)) in new.iter().rev().zip(below) {
                let right = row.last().copied().unwrap_or_default();
                row.push(match line == other {
                    true => diagonal + 1,
                    false => right.max(*below),
                });
            }
            row.reverse();
            rows.push(row);
        }
        rows.reverse();
        Self(rows)
    }

    fn count(&self, at_old: usize, at_new: usize) -> usize {
        let row = self.0.get(at_old);
        row.and_then(|row| row.get(at_new)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, expected: &[&str]) {
        let lines = changed_lines(before, after).into_iter();
        let lines: Vec<_> = lines
            .map(|line| {
                let sign = if line.is_new { '+' } else { '-' };
                format!("{sign}{} {}", line.number, line.text)
            })
            .collect();
        assert_eq!(lines, expected, "{before:?} {after:?}");
    }

    /// FAULTS N1185
    #[test]
    fn only_the_lines_that_differ_are_shown() {
        check("", "", &[]);
        check("a\nb\n", "a\nb\n", &[]);
        check("a\nb\nc\n", "a\nx\nc\n", &["-2 b", "+2 x"]);
        check("a\nc\n", "a\nb\nc\n", &["+2 b"]);
        check("a\nb\nc\n", "a\nc\n", &["-2 b"]);
        check("a\n", "a\na\n", &["+2 a"]);
        check("a\n\nb\n", "a\n\nb\n\nc\n", &["+4 ", "+5 c"]);
        // A line that moved to another table is a change.
        check(
            "[a]\nx = 1\n[b]\ny = 2\n",
            "[a]\n[b]\nx = 1\ny = 2\n",
            &["-2 x = 1", "+3 x = 1"],
        );
        check("a\nb\nc\nd\n", "b\nc\ne\n", &["-1 a", "-4 d", "+3 e"]);
    }

    /// FAULTS N1185
    #[test]
    fn long_files_and_lines_are_bounded() {
        let text = |letter: &str| letter.repeat(400) + "\n";
        let (before, after) = (text("a").repeat(1_100), text("b").repeat(1_100));
        let lines = changed_lines(&before, &after);
        assert_eq!(lines.len(), 2_200, "too long to compare");
        let is_cut = |line: &ChangedLine| line.text.len() == LINE_CHARS_MAX;
        assert!(lines.iter().all(is_cut));
        let name = || SourceName::parse("crm").unwrap();
        let texts = |text: String| SourceTexts::from([(name(), Arc::from(text))]);
        let changes = SetChanges {
            changed: vec!["crm".to_owned()],
            ..SetChanges::default()
        };
        let files = changed_files((&texts(before), &texts(after)), &changes);
        assert_eq!(
            (files[0].lines.len(), files[0].left_out),
            (LINES_MAX, 2_200 - LINES_MAX)
        );
    }
}
