//! Metrics of the log: the numbers of missing lines.
//!
//! The log starts before the metrics exist. Therefore the log counts the missing lines itself, and the metrics page
//! reads its counters.

use super::declare::Declare;
use super::read_counter::to_value;

/// The functions that read the counters of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogCounters {
    /// Returns the number of lines that the log dropped, because standard error was blocked or broken.
    pub dropped: fn() -> u64,
    /// Returns the number of lines that the log left out, because it already had many similar lines from a short time.
    pub left_out: fn() -> u64,
}

impl LogCounters {
    /// The counters of a process without a log.
    pub const NONE: Self = Self {
        dropped: || 0,
        left_out: || 0,
    };
}

pub(super) fn declare(declare: &Declare<'_>, counters: LogCounters) -> prometheus::Result<()> {
    declare.read_counter(
        "log_lines_dropped_total",
        "Log lines that were dropped because standard error was blocked or broken.",
        move || to_value((counters.dropped)()),
    )?;
    declare.read_counter(
        "log_lines_left_out_total",
        "Log lines that were left out because many similar lines came in a short time.",
        move || to_value((counters.left_out)()),
    )
}
