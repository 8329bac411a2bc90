//! What the preview of a replay says about values that Imprint has rejected. Pure.

use super::entry_text::ResultText;
use super::problem_clause::RejectionText;
use super::words::counted;
use crate::ops::operate::{RejectedEntry, ReplayPreview, ReplayedEntry};
use crate::outbox::Ending;

/// The entries of a replay whose stored values Imprint has rejected.
#[derive(Default)]
pub(super) struct RejectedText {
    /// The number of these entries.
    pub(super) entries: usize,
    /// The entries for which the replay sends the rejected values again, in a sentence. Empty if there are none.
    pub(super) same: String,
}

impl RejectedText {
    pub(super) fn of(rejected: &[RejectedEntry]) -> Self {
        let same = rejected.iter().filter(|rejected| rejected.is_same).count();
        let same = u64::try_from(same).unwrap_or(u64::MAX);
        let mut answers: Vec<String> = rejected.iter().map(answer).collect();
        answers.sort_unstable();
        answers.dedup();
        Self {
            entries: rejected.len(),
            same: match same {
                0 => String::new(),
                _ => format!(
                    "Imprint has rejected the values that this replay sends for {}: {}.",
                    counted(same, ["entry", "entries"]),
                    answers.join(", ")
                ),
            },
        }
    }
}

/// Returns the expected results of a replay. Nobody may expect the delivery of values that Imprint has rejected.
pub(super) fn results(preview: &ReplayPreview) -> Vec<ResultText> {
    let result = |entry: &ReplayedEntry| {
        let mut rejected = preview.rejected.iter();
        let rejected = rejected.find(|rejected| rejected.entry == entry.entry);
        match (&entry.ending, rejected.filter(|rejected| rejected.is_same)) {
            (None | Some(Ending::Delivered), Some(rejected)) => {
                ResultText::rejected_again(entry, &answer(rejected))
            }
            _ => ResultText::of(entry),
        }
    };
    preview.entries.iter().map(result).collect()
}

/// Returns Imprint's answer to an entry.
fn answer(rejected: &RejectedEntry) -> String {
    let detail = rejected.detail.as_deref().unwrap_or_default();
    RejectionText::parse(detail).map_or_else(
        || "Imprint rejects the update".to_owned(),
        |answer| answer.sentence(),
    )
}
