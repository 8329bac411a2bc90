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
    /// Returns the values of the counters and gauges whose name is wanted, and the wanted sums and counts of the histograms.
    /// The name has no prefix.
    pub fn samples(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<SeriesValue> {
        let mut found = Vec::new();
        for family in self.registry.gather() {
            let Some(name) = short_name(&family) else {
                continue;
            };
            for (suffix, read) in values(family.get_field_type()) {
                let name = format!("{name}{suffix}");
                let metrics = family.get_metric().iter().filter(|_| is_wanted(&name));
                found.extend(metrics.map(|metric| sample(&name, metric, read(metric))));
            }
        }
        found
    }
}

/// A value of one series: the end of its name, and the function that reads it.
type Value = (&'static str, fn(&Metric) -> f64);

/// Returns the values of a metric of this kind.
fn values(kind: MetricType) -> &'static [Value] {
    match kind {
        MetricType::COUNTER => &[("", |metric| metric.get_counter().get_value())],
        MetricType::GAUGE => &[("", |metric| metric.get_gauge().get_value())],
        MetricType::HISTOGRAM => &[
            ("_sum", |metric| metric.get_histogram().get_sample_sum()),
            ("_count", |metric| {
                float(metric.get_histogram().get_sample_count())
            }),
        ],
        MetricType::SUMMARY | MetricType::UNTYPED => &[],
    }
}

fn short_name(family: &MetricFamily) -> Option<&str> {
    family.name().strip_prefix(NAMESPACE)?.strip_prefix('_')
}

/// Returns a count as a number, in two halves: a conversion of the whole count can lose its last digits.
fn float(count: u64) -> f64 {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).map_or(0.0, f64::from);
    half(count >> 32).mul_add(4_294_967_296.0, half(count))
}

fn sample(name: &str, metric: &Metric, value: f64) -> SeriesValue {
    let labels = metric.get_label().iter();
    SeriesValue {
        name: name.to_owned(),
        labels: labels
            .map(|label| (label.name().to_owned(), label.value().to_owned()))
            .collect(),
        value,
    }
}
