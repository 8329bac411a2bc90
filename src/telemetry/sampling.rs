//! Sampling of repeated log lines. In each time window, the log contains the first [`LINES_MAX`] warnings and errors
//! from the same place in the program.
//!
//! The log leaves out all further lines of the window, and then reports their number.
//!
//! Without sampling, the bridge could write hundreds of kilobytes of log lines in a second: one line for each failed
//! login, or one line for each of thousands of entries that it parks. The log never leaves out lines of the levels
//! info, debug and trace. Info lines are rare, and an operator who turns on debug lines wants to see each line.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::MissingLines;
use crate::time::{Clock, Timestamp};

/// The maximum number of lines from one place in the program in one time window.
const LINES_MAX: u32 = 20;
/// The length of a time window.
const WINDOW: Duration = Duration::from_secs(10);
/// The `tracing` target of the lines that report how many lines were left out. The log never leaves out such a report.
const REPORT: &str = "imprint_bridge::telemetry::left_out";

/// A `tracing` layer that samples log lines. All clones share the same time windows.
#[derive(Clone, Debug)]
pub(super) struct Sampling {
    windows: Arc<Mutex<Windows<Identifier>>>,
    clock: Clock,
    missing: &'static MissingLines,
}

impl Sampling {
    pub(super) fn new(clock: Clock, missing: &'static MissingLines) -> Self {
        Self {
            windows: Arc::new(Mutex::new(Windows(HashMap::new()))),
            clock,
            missing,
        }
    }

    /// Logs the number of left-out lines of every time window that has ended.
    pub(super) fn report_due(&self) {
        let left_out = self.lock().take_ended(self.clock.now());
        report(&left_out);
    }

    /// Logs the number of left-out lines of every time window. The process calls this method when it ends.
    pub(super) fn report_all(&self) {
        let left_out = self.lock().take_all();
        report(&left_out);
    }

    fn lock(&self) -> MutexGuard<'_, Windows<Identifier>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(left_out: &[LeftOut]) {
    for LeftOut { lines, similar_to } in left_out {
        tracing::warn!(target: REPORT, similar_to, "{lines} similar lines were left out");
    }
}

impl<S: Subscriber> Layer<S> for Sampling {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || metadata.target() == REPORT {
            return true;
        }
        // The lock is free again before `event.record` formats the message, because this code can log too.
        let admitted = self.lock().admit(&metadata.callsite(), self.clock.now());
        match admitted {
            Admitted::Line => true,
            Admitted::FirstLeftOut => {
                let mut message = Message::default();
                event.record(&mut message);
                self.lock().name(&metadata.callsite(), message.0);
                self.missing.leave_out();
                false
            }
            Admitted::LeftOut => {
                self.missing.leave_out();
                false
            }
        }
    }
}

/// The message of a log event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// The decision whether the log contains a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    Line,
    /// The first left-out line of a time window. The report about the window shows the message of this line.
    FirstLeftOut,
    LeftOut,
}

/// The number of left-out lines of one time window, and the message of the first one.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    lines: u64,
    similar_to: String,
}

/// The time windows, by the place in the program that logs. The map stays small, because the program has a fixed number
/// of such places.
#[derive(Debug)]
struct Windows<P>(HashMap<P, Window>);

#[derive(Debug)]
struct Window {
    since: Timestamp,
    lines: u32,
    left_out: LeftOut,
}

impl<P: Clone + Eq + Hash> Windows<P> {
    fn admit(&mut self, place: &P, now: Timestamp) -> Admitted {
        let window = self.0.entry(place.clone()).or_insert_with(|| Window {
            since: now,
            lines: 0,
            left_out: LeftOut {
                lines: 0,
                similar_to: String::new(),
            },
        });
        // A new window keeps the number of left-out lines of the previous window, until the next report logs this
        // number.
        if now.since(window.since) >= WINDOW {
            window.since = now;
            window.lines = 0;
        }
        if window.lines < LINES_MAX {
            window.lines += 1;
            return Admitted::Line;
        }
        window.left_out.lines += 1;
        if window.left_out.lines == 1 {
            Admitted::FirstLeftOut
        } else {
            Admitted::LeftOut
        }
    }

    fn name(&mut self, place: &P, message: String) {
        if let Some(window) = self.0.get_mut(place) {
            window.left_out.similar_to = message;
        }
    }

    fn take_ended(&mut self, now: Timestamp) -> Vec<LeftOut> {
        let ended = |_: &P, window: &mut Window| now.since(window.since) >= WINDOW;
        let ended = self.0.extract_if(ended);
        reported(ended.map(|(_, window)| window))
    }

    fn take_all(&mut self) -> Vec<LeftOut> {
        reported(self.0.drain().map(|(_, window)| window))
    }
}

fn reported(windows: impl Iterator<Item = Window>) -> Vec<LeftOut> {
    windows
        .map(|window| window.left_out)
        .filter(|left_out| left_out.lines > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_a_window_pass_and_the_rest_is_counted() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut windows = Windows(HashMap::new());
        let place = "dispatcher.rs:371";
        for _ in 0..LINES_MAX {
            assert_eq!(windows.admit(&place, at(0)), Admitted::Line);
        }
        assert_eq!(windows.admit(&place, at(1)), Admitted::FirstLeftOut);
        windows.name(&place, "entry parked".to_owned());
        assert_eq!(windows.admit(&place, at(9)), Admitted::LeftOut);
        assert_eq!(windows.take_ended(at(9)), []);
        // The next window starts before the report of the first one.
        assert_eq!(windows.admit(&place, at(10)), Admitted::Line);
        assert_eq!(windows.take_ended(at(19)), []);
        let similar_to = "entry parked".to_owned();
        let reported = LeftOut {
            lines: 2,
            similar_to,
        };
        assert_eq!(windows.take_ended(at(20)), [reported]);
        assert_eq!(windows.take_all(), []);
    }
}
