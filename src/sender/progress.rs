//! The progress of the command `send`: the counts of results, and a progress bar if standard error is a terminal.

use std::fmt;
use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::print_notice;

/// The number of events for each result of `send`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendCounts {
    pub(crate) accepted: u64,
    /// The number of accepted events that the bridge has parked at once.
    pub(crate) parked: u64,
    /// The number of accepted events that the bridge holds, because they belong to a mass change.
    pub(crate) held: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
}

impl SendCounts {
    pub(crate) const fn sent(self) -> u64 {
        self.accepted
            .saturating_add(self.duplicates)
            .saturating_add(self.refused)
            .saturating_add(self.failed)
    }

    /// Returns whether the bridge accepted every event, and neither parked nor holds one of them.
    pub(crate) const fn is_clean(self) -> bool {
        self.refused == 0 && self.failed == 0 && self.parked == 0 && self.held == 0
    }
}

/// Formats the counts as the last line that the command `send` prints.
impl fmt::Display for SendCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            parked,
            held,
            duplicates,
            refused,
            failed,
        } = self;
        let aside = match (parked, held) {
            (0, 0) => String::new(),
            (parked, 0) => format!(" ({parked} of them parked)"),
            (0, held) => format!(" ({held} of them held as a mass change)"),
            (parked, held) => format!(" ({parked} of them parked, {held} held as a mass change)"),
        };
        write!(
            f,
            "sent {}{aside}: {accepted} accepted, {duplicates} duplicates, {refused} refused, {failed} failed",
            self.sent()
        )
    }
}

/// The progress bar of `send` on standard error. The bar is hidden if standard error is not a terminal.
#[derive(Clone, Debug)]
pub(super) struct SendProgress(ProgressBar);

impl SendProgress {
    /// Creates a progress bar whose end is the length of the input. Creates a spinner if the length is unknown.
    pub(super) fn new(length_bytes: Option<u64>, is_quiet: bool) -> Self {
        if is_quiet || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let template = if length_bytes.is_some() {
            "{bar:30} {percent:>3} %  {msg}  {eta} left"
        } else {
            "{spinner} {msg}  {elapsed}"
        };
        let bar = ProgressBar::with_draw_target(length_bytes, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows the counts of sent events and the position in the input.
    pub(super) fn show(&self, tally: SendCounts, position_bytes: u64) {
        let rate = match self.0.elapsed().as_secs() {
            0 => tally.sent(),
            seconds => tally.sent() / seconds,
        };
        let not_accepted = tally.refused.saturating_add(tally.failed);
        self.0.set_position(position_bytes.max(self.0.position()));
        self.0.set_message(format!(
            "{} events, {rate}/s, {not_accepted} not accepted",
            tally.sent()
        ));
    }

    /// Prints a line above the progress bar.
    pub(super) fn print_notice(&self, line: impl fmt::Display) {
        self.0.suspend(|| print_notice(line));
    }

    /// Removes the progress bar.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_the_sum_and_every_count() {
        let tally = SendCounts {
            accepted: 4,
            duplicates: 3,
            refused: 2,
            failed: 1,
            ..SendCounts::default()
        };
        assert_eq!(
            tally.to_string(),
            "sent 10: 4 accepted, 3 duplicates, 2 refused, 1 failed"
        );
        assert!(!tally.is_clean());
        let tally = SendCounts {
            accepted: 2,
            parked: 1,
            ..SendCounts::default()
        };
        assert_eq!(
            tally.to_string(),
            "sent 2 (1 of them parked): 2 accepted, 0 duplicates, 0 refused, 0 failed"
        );
        assert!(!tally.is_clean());
        let tally = SendCounts {
            accepted: 500,
            held: 475,
            ..SendCounts::default()
        };
        assert_eq!(
            tally.to_string(),
            "sent 500 (475 of them held as a mass change): 500 accepted, 0 duplicates, 0 refused, 0 failed"
        );
        assert!(!tally.is_clean());
    }
}
