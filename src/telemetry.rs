//! The log: one line for each log event, on standard error. The bridge logs each error once, with all its causes.

use std::error::Error;
use std::fmt::Write as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// The error that prevented the start of the log.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("log.filter is not valid")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the log was started twice")]
    Twice(#[from] TryInitError),
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Log lines as text for people.
    Text,
    /// Log lines as JSON for a log collector, one object for each line.
    Json,
}

/// Starts the log. The log shows the place of a panic, but not the panic message, which may contain personal data.
///
/// # Errors
/// Returns a [`SetupError`] if the filter is not valid or a log is already running.
pub fn start(format: LogFormat, filter: &str) -> Result<(), SetupError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_target(false).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a task panicked");
    }));
    Ok(())
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
