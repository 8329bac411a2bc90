//! Reads the present values of counters and gauges by name and labels.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::Metrics;
use super::declare::NAMESPACE;

/// The labels of a series, by name.
pub type Labels = BTreeMap<String, String>;

/// The present value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesValue {
    /// The name of the metric without the prefix of all metrics of the bridge.
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

impl Metrics {
    /// Returns the values of the counters and gauges whose name is wanted. The name has no prefix.
    pub fn samples(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<SeriesValue> {
        let families = self.registry.gather();
        let wanted = families.iter().filter_map(|family| {
            let name = short_name(family)?;
            is_wanted(name).then_some((name, family))
        });
        let samples = wanted.flat_map(|(name, family)| {
            let kind = family.get_field_type();
            let metrics = family.get_metric().iter();
            metrics.filter_map(move |metric| sample(name, kind, metric))
        });
        samples.collect()
    }
}

fn short_name(family: &MetricFamily) -> Option<&str> {
    family.name().strip_prefix(NAMESPACE)?.strip_prefix('_')
}

fn sample(name: &str, kind: MetricType, metric: &Metric) -> Option<SeriesValue> {
    let value = match kind {
        MetricType::COUNTER => metric.get_counter().get_value(),
        MetricType::GAUGE => metric.get_gauge().get_value(),
        MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    let labels = metric.get_label().iter();
    Some(SeriesValue {
        name: name.to_owned(),
        labels: labels
            .map(|label| (label.name().to_owned(), label.value().to_owned()))
            .collect(),
        value,
    })
}
