//! What came of the events so far: the counts, and the bar that shows them where somebody looks on.

use std::fmt;
use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::print_notice;

/// How many events came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendCounts {
    pub(crate) accepted: u64,
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

    /// Whether the bridge has everything.
    pub(crate) const fn is_clean(self) -> bool {
        self.refused == 0 && self.failed == 0
    }
}

/// The last line of the command.
impl fmt::Display for SendCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            duplicates,
            refused,
            failed,
        } = self;
        write!(
            f,
            "sent {}: {accepted} accepted, {duplicates} duplicates, {refused} refused, {failed} failed",
            self.sent()
        )
    }
}

/// The bar on standard error; hidden where that is no terminal.
#[derive(Clone, Debug)]
pub(super) struct SendProgress(ProgressBar);

impl SendProgress {
    /// A bar towards the length of a file, or a spinner where nobody knows how much will come.
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

    /// Shows how far it is.
    pub(super) fn show(&self, tally: SendCounts, position_bytes: u64) {
        let rate = match self.0.elapsed().as_secs() {
            0 => tally.sent(),
            seconds => tally.sent() / seconds,
        };
        let trouble = tally.refused.saturating_add(tally.failed);
        self.0.set_position(position_bytes.max(self.0.position()));
        self.0.set_message(format!(
            "{} events, {rate}/s, {trouble} refused",
            tally.sent()
        ));
    }

    /// Says something above the bar.
    pub(super) fn print_notice(&self, line: impl fmt::Display) {
        self.0.suspend(|| print_notice(line));
    }

    /// Leaves the terminal as it was.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_adds_up() {
        let tally = SendCounts {
            accepted: 4,
            duplicates: 3,
            refused: 2,
            failed: 1,
        };
        assert_eq!(
            tally.to_string(),
            "sent 10: 4 accepted, 3 duplicates, 2 refused, 1 failed"
        );
        assert!(!tally.is_clean());
    }
}
