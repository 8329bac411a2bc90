//! Shows how far a copy is: a bar on a terminal, and otherwise a line every few seconds.

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::outbox::TransferStep;
use crate::terminal::{print_notice, print_status};
use crate::time::{Clock, Timestamp};

/// The time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The time between two changes of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// The width of the bar in characters.
const WIDTH: u64 = 30;

pub(super) struct CopyProgress {
    clock: Clock,
    shown: Timestamp,
    is_terminal: bool,
    has_bar: bool,
}

impl CopyProgress {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            shown: clock.now(),
            clock,
            is_terminal: std::io::stderr().is_terminal(),
            has_bar: false,
        }
    }

    pub(super) fn show(&mut self, step: TransferStep) {
        let now = self.clock.now();
        let every = if self.is_terminal {
            BAR_EVERY
        } else {
            LINE_EVERY
        };
        if now.since(self.shown) < every {
            return;
        }
        self.shown = now;
        match self.is_terminal {
            true => {
                self.has_bar = true;
                print_status(bar(step));
            }
            false => print_notice(line(step)),
        }
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        if self.has_bar {
            print_status("");
        }
    }
}

/// Returns the share of the finished work in parts of `whole`.
fn share(step: TransferStep, whole: u64) -> u64 {
    let done = step.done.min(step.total);
    done.saturating_mul(whole)
        .checked_div(step.total)
        .unwrap_or(whole)
}

fn line(step: TransferStep) -> String {
    let percent = share(step, 100);
    format!(
        "{percent} %: {} of {} rows copied and compared",
        step.done, step.total
    )
}

fn bar(step: TransferStep) -> String {
    let full = share(step, WIDTH);
    let bar: String = (0..WIDTH)
        .map(|place| if place < full { '#' } else { '.' })
        .collect();
    format!("[{bar}] {}", line(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_empty_at_the_start_and_full_at_the_end() {
        for (done, total, expected) in [
            (0, 90, "[..............................] 0 %"),
            (45, 90, "[###############...............] 50 %"),
            (90, 90, "[##############################] 100 %"),
            (91, 90, "[##############################] 100 %"),
            (0, 0, "[##############################] 100 %"),
        ] {
            let bar = bar(TransferStep { done, total });
            assert!(bar.starts_with(expected), "{bar}");
        }
    }
}
