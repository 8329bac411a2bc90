//! The log: one line for each log event, on standard error. The bridge logs each error once, with all its causes.
//!
//! Logging never stops the process. A log event only appends its line to a bounded queue; one thread writes the queue
//! to standard error. If standard error is blocked or broken, the queue fills up and further lines are dropped and
//! counted. Repeated warnings and errors are sampled. The crate `tracing-appender` is not used: it limits the number of
//! lines but not their bytes, does not count lines that it could not write, and prints when it cannot stop in time.

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

mod queue;
mod sampling;
mod writer;

/// The maximum time that the end of the process waits until the last lines are written. Nobody may read the lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The number of lines that are missing in the log of this process.
static MISSING: MissingLines = MissingLines::new();

/// The error that prevented the start of the log.
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
    /// Log lines as text for people.
    Text,
    /// Log lines as JSON for a log collector, one object for each line.
    Json,
}

/// The running log. Dropping a `Log` waits a limited time until the last lines are written.
#[derive(Debug)]
#[must_use = "the last lines are lost if the log is dropped before the end of the command"]
pub struct Log {
    queue: Arc<LineQueue>,
    sampling: Sampling,
}

/// Starts the log. The log shows the place of a panic, but not the panic message, which may contain personal data.
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
    /// Writes one line without level and time, which the log filter does not hide.
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

/// Counts the lines that are missing in the log, and tells why.
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

    /// Returns the number of lines that were dropped because standard error was blocked or broken.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of lines that were left out because many similar lines came in a short time.
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
