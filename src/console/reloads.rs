//! How the page of the sources writes the last changes of their files. Pure.

use super::words::{TimeText, counted};
use crate::ops::operate::{ChangedLine, ReloadEffect, ReloadTrigger, ReloadView, SetChanges};
use crate::time::Timestamp;

/// A change of the files that the bridge has used or refused.
pub(super) struct ReloadText {
    pub(super) at: TimeText,
    pub(super) is_refused: bool,
    /// The changed sources, or the first error.
    pub(super) effect: String,
    pub(super) trigger: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// The last change of the file of one source.
pub(super) struct SourceChangeText {
    pub(super) at: TimeText,
    pub(super) trigger: String,
    pub(super) lines: Vec<ChangedLine>,
    /// What the lines do not show.
    pub(super) remark: Option<String>,
    /// True if the bridge has refused a request of the source since the change.
    pub(super) is_suspect: bool,
}

impl ReloadText {
    pub(super) fn of(reload: &ReloadView, now: Timestamp) -> Self {
        let (is_refused, effect) = match &reload.effect {
            ReloadEffect::Used { changes, .. } => (false, sources(changes)),
            ReloadEffect::Refused(errors) => {
                let first = errors.first().cloned().unwrap_or_default();
                let more = u64::try_from(errors.len().saturating_sub(1)).unwrap_or(u64::MAX);
                match more {
                    0 => (true, first),
                    _ => {
                        let more = counted(more, ["more error", "more errors"]);
                        (true, format!("{first}; {more}"))
                    }
                }
            }
        };
        Self {
            at: TimeText::of(reload.at, now),
            is_refused,
            effect,
            trigger: trigger(&reload.trigger),
            before: reload.before.clone(),
            after: reload.after.clone(),
        }
    }
}

impl SourceChangeText {
    /// Returns the last change of a source. `refused` is the time of the last refused request.
    pub(super) fn of(
        reloads: &[ReloadView],
        source: &str,
        (refused, now): (Option<Timestamp>, Timestamp),
    ) -> Option<Self> {
        let (reload, changes, files) = reloads.iter().find_map(|reload| match &reload.effect {
            ReloadEffect::Used { changes, files } if has_changed(changes, source) => {
                Some((reload, changes, files))
            }
            ReloadEffect::Used { .. } | ReloadEffect::Refused(_) => None,
        })?;
        let file = files.iter().find(|file| file.source == source);
        let remark = match file {
            _ if changes.added.iter().any(|added| added == source) => {
                Some("The source is new.".to_owned())
            }
            None => Some("The file is too long for a comparison.".to_owned()),
            Some(file) if file.lines.is_empty() => {
                Some("Only a schema or a comment is different.".to_owned())
            }
            Some(file) if file.left_out > 0 => {
                let left_out = u64::try_from(file.left_out).unwrap_or(u64::MAX);
                let lines = ["more line is different.", "more lines are different."];
                Some(counted(left_out, lines))
            }
            Some(_) => None,
        };
        Some(Self {
            at: TimeText::of(reload.at, now),
            trigger: trigger(&reload.trigger),
            lines: file.map(|file| file.lines.clone()).unwrap_or_default(),
            remark,
            is_suspect: refused.is_some_and(|refused| refused >= reload.at),
        })
    }
}

/// Returns the time of the last change of a source.
pub(super) fn changed_at(reloads: &[ReloadView], source: &str) -> Option<Timestamp> {
    let mut changes = reloads.iter().filter(|reload| match &reload.effect {
        ReloadEffect::Used { changes, .. } => has_changed(changes, source),
        ReloadEffect::Refused(_) => false,
    });
    changes.next().map(|reload| reload.at)
}

fn has_changed(changes: &SetChanges, source: &str) -> bool {
    let mut names = changes.changed.iter().chain(&changes.added);
    names.any(|name| name == source)
}

fn trigger(trigger: &ReloadTrigger) -> String {
    match trigger {
        ReloadTrigger::Watcher => "noticed by the bridge".to_owned(),
        ReloadTrigger::Signal => "after SIGHUP".to_owned(),
        ReloadTrigger::Operator(name) => format!("by {name}"),
    }
}

/// Returns the names of the sources that a change concerns.
fn sources(changes: &SetChanges) -> String {
    let parts = [
        ("changed", &changes.changed),
        ("new", &changes.added),
        ("removed", &changes.removed),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> = parts
        .map(|(word, names)| format!("{word}: {}", names.join(", ")))
        .collect();
    match parts.as_slice() {
        [] => "only examples or unused schemas are different".to_owned(),
        parts => parts.join("; "),
    }
}
