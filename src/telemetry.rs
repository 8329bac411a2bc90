//! The log: one line for each log event, on standard error. The bridge logs each error once, with all its causes.
//!
//! Logging never stops the process. A log event only appends its line to a queue of limited size. One thread writes the
//! lines of the queue to standard error. If standard error is blocked or broken, the queue fills up, and the log drops
//! and counts further lines. The log also leaves out repeated warnings and errors; see `sampling`. The bridge does not
//! use the crate `tracing-appender`. That crate limits the number of lines but not their bytes, does not count lines
//! that it could not write, and prints a message if it cannot stop in time.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use self::queue::LineQueue;
use self::sampling::Sampling;
use crate::time::Clock;

mod filter;
mod queue;
mod sampling;
mod writer;

pub use filter::check_filter;

/// The maximum time for which a stopping process waits until the last lines are written. If nobody reads standard
/// error, the lines are never written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The number of lines that are missing in the log of this process.
static MISSING: MissingLines = MissingLines::new();

/// The reason why the log could not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("log.filter is not valid")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the log was started twice")]
    Twice(#[from] TryInitError),
    #[error("the thread that writes the log could not be started")]
    Thread(#[source] std::io::Error),
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Each log line is text, for people.
    Text,
    /// Each log line is a JSON object, for a log collector.
    Json,
}

/// The running log. The drop of a `Log` waits for a limited time until the last lines are written.
#[derive(Debug)]
#[must_use = "the last lines are lost if the log is dropped before the end of the command"]
pub struct Log {
    queue: Arc<LineQueue>,
    sampling: Sampling,
}

/// Starts the log. If a thread panics, the log shows the place in the code, but not the panic message, because the
/// message possibly contains personal data.
///
/// # Errors
/// Returns a [`SetupError`] if the filter is not valid, a log is already running, or no thread can be started.
pub fn start(format: LogFormat, filter: &str) -> Result<Log, SetupError> {
    let filter = EnvFilter::try_new(filter)?;
    let queue = Arc::new(LineQueue::new(&MISSING));
    let sampling = Sampling::new(Clock::machine(), &MISSING);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(queue::MakeLine(Arc::clone(&queue)))
        .log_internal_errors(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = Registry::default().with(lines).with(filter);
    subscriber.with(sampling.clone()).try_init()?;
    writer::start(&queue, &sampling).map_err(SetupError::Thread)?;
    std::panic::set_hook(Box::new(|panic| {
        // A panic in this hook would abort the process. Neither the subscriber nor the queue can panic.
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a task panicked");
    }));
    Ok(Log { queue, sampling })
}

impl Log {
    /// Writes one line without a level and a time. The log filter does not apply to this line.
    pub fn print(&self, line: &str) {
        self.queue.push(format!("{line}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sampling.report_all();
        self.queue.flush(FLUSH_MAX);
    }
}

/// Counters for the lines that are missing in the log: one counter for each reason.
#[derive(Debug)]
pub struct MissingLines {
    dropped: AtomicU64,
    left_out: AtomicU64,
}

impl MissingLines {
    const fn new() -> Self {
        Self {
            dropped: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of lines that the log dropped, because standard error was blocked or broken.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of lines that the log left out, because it already had many similar lines from a short time.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

/// Returns the counters of the lines that are missing in the log of this process.
pub fn missing_lines() -> &'static MissingLines {
    &MISSING
}

/// Formats an error and all its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _written: std::fmt::Result = write!(line, ": {error}");
        source = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_and_its_causes_are_one_line() {
        assert_eq!(
            chain(&Outer(std::io::Error::other("inner"))),
            "outer: inner"
        );
    }
}
