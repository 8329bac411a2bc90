//! Reads counters and histograms of the metrics library as typed data.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::Metric;
use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGaugeVec};

/// The counts of a counter metric, by label value.
pub type CountByLabel = BTreeMap<String, u64>;

/// The values of a histogram metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// The number of observations.
    pub count: u64,
    /// The sum of all observed values.
    pub sum: f64,
    /// The histogram buckets. A bucket is an upper bound and the number of observations that are less than or equal to
    /// the bound.
    pub buckets: Vec<(f64, u64)>,
}

/// Reads a counter that has one label.
pub(super) fn counts(counters: &IntCounterVec) -> CountByLabel {
    by_label(counters, |metric| count(metric.get_counter().get_value()))
}

/// Reads a gauge of whole numbers that has one label.
#[expect(
    clippy::as_conversions,
    reason = "a float has no other conversion to an integer; this one saturates"
)]
pub(super) fn gauges(gauges: &IntGaugeVec) -> BTreeMap<String, i64> {
    by_label(gauges, |metric| metric.get_gauge().get_value() as i64)
}

/// Reads a counter that has several labels: the sum for each value of the label `name`.
pub(super) fn counts_by(counters: &IntCounterVec, name: &str) -> CountByLabel {
    let mut sums = CountByLabel::new();
    for family in counters.collect() {
        for metric in family.get_metric() {
            let label = metric.get_label().iter().find(|label| label.name() == name);
            if let Some(label) = label {
                let sum: &mut u64 = sums.entry(label.value().to_owned()).or_default();
                *sum = sum.saturating_add(count(metric.get_counter().get_value()));
            }
        }
    }
    sums
}

/// Reads a histogram that has one label.
pub(super) fn distributions(histograms: &HistogramVec) -> BTreeMap<String, Distribution> {
    by_label(histograms, distribution_of)
}

/// Reads a histogram without labels.
pub(super) fn distribution(histogram: &Histogram) -> Distribution {
    let families = histogram.collect();
    let metric = families
        .iter()
        .flat_map(|family| family.get_metric())
        .next();
    metric.map(distribution_of).unwrap_or_default()
}

fn by_label<T>(metrics: &impl Collector, read: impl Fn(&Metric) -> T) -> BTreeMap<String, T> {
    let families = metrics.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let labelled = metrics.filter_map(|metric| {
        let label = metric.get_label().first()?;
        Some((label.value().to_owned(), read(metric)))
    });
    labelled.collect()
}

fn distribution_of(metric: &Metric) -> Distribution {
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket().iter();
    let buckets = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    Distribution {
        count: histogram.get_sample_count(),
        sum: histogram.get_sample_sum(),
        buckets: buckets.collect(),
    }
}

/// Converts a count to an integer, because the metrics library reports integer counters as floats.
#[expect(
    clippy::as_conversions,
    reason = "a float has no other conversion to an integer; this one saturates"
)]
const fn count(value: f64) -> u64 {
    value as u64
}
