//! Metrics of the log: the numbers of missing lines.
//!
//! The log starts before the metrics exist. Therefore the log counts the missing lines itself, and the metrics page
//! reads its counters.

use prometheus::core::{Collector, Desc, Describer as _};
use prometheus::proto::{Counter, Metric, MetricFamily, MetricType};

use super::declare::{Declare, opts};

/// The functions that read the counters of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogCounters {
    /// Returns the number of lines that the log dropped, because standard error was blocked or broken.
    pub dropped: fn() -> u64,
    /// Returns the number of lines that the log left out, because it already had many similar lines from a short time.
    pub left_out: fn() -> u64,
}

pub(super) fn declare(declare: &Declare<'_>, counters: LogCounters) -> prometheus::Result<()> {
    declare.collector(ReadCounter::new(
        "log_lines_dropped_total",
        "Log lines that were dropped because standard error was blocked or broken.",
        counters.dropped,
    )?)?;
    declare.collector(ReadCounter::new(
        "log_lines_left_out_total",
        "Log lines that were left out because many similar lines came in a short time.",
        counters.left_out,
    )?)
}

/// A counter that gets its value from a function.
struct ReadCounter {
    desc: Desc,
    read: fn() -> u64,
}

impl ReadCounter {
    fn new(name: &str, help: &str, read: fn() -> u64) -> prometheus::Result<Self> {
        let desc = opts(name, help).describe()?;
        Ok(Self { desc, read })
    }
}

impl Collector for ReadCounter {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut counter = Counter::default();
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a metric value is an f64"
        )]
        counter.set_value((self.read)() as f64);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
