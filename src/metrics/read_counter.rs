//! Counters that other parts of the process count. The metrics page reads their values.

use prometheus::core::{Collector, Desc, Describer as _};
use prometheus::proto::{Counter, Metric, MetricFamily, MetricType};

use super::declare::opts;

/// A counter that gets its value from a function.
pub(super) struct ReadCounter {
    description: Desc,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl ReadCounter {
    pub(super) fn new(
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            description: opts(name, help).describe()?,
            read: Box::new(read),
        })
    }
}

impl Collector for ReadCounter {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut counter = Counter::default();
        counter.set_value((self.read)());
        let mut metric = Metric::default();
        metric.set_counter(counter);
        let mut family = MetricFamily::default();
        family.set_name(self.description.fq_name.clone());
        family.set_help(self.description.help.clone());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

/// Converts a count to the value of a metric.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a metric value is an f64"
)]
pub(super) const fn to_value(count: u64) -> f64 {
    count as f64
}
