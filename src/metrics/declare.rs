//! Creates and registers metrics under the namespace `imprint_bridge`.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::read_counter::ReadCounter;

/// The prefix of every metric name.
pub(super) const NAMESPACE: &str = "imprint_bridge";

/// The declaration of one metric, for the documentation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricRow {
    /// The full name on the metrics page.
    pub name: String,
    /// The type of the metric, in the words of Prometheus.
    pub kind: &'static str,
    /// The names of the labels.
    pub labels: Vec<String>,
    /// The meaning and the unit.
    pub help: String,
}

/// A builder that creates metrics in one registry, and keeps the declarations.
pub(super) struct Declare<'a> {
    registry: &'a Registry,
    rows: RefCell<Vec<MetricRow>>,
}

impl<'a> Declare<'a> {
    pub(super) const fn new(registry: &'a Registry) -> Self {
        let rows = RefCell::new(Vec::new());
        Self { registry, rows }
    }

    /// Returns the declarations of all metrics, sorted by name.
    pub(super) fn into_rows(self) -> Vec<MetricRow> {
        let mut rows = self.rows.into_inner();
        rows.sort();
        rows
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<IntCounterVec> {
        self.labelled_counters(name, help, &[label])
    }

    pub(super) fn labelled_counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(opts(name, help), &[label])?)
    }

    /// Declares a gauge without labels that has no series before its first value.
    pub(super) fn optional_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(opts(name, help), &[])?)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, &[label])?)
    }

    /// Declares a counter that gets its value from a function.
    pub(super) fn read_counter(
        &self,
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        self.collector(ReadCounter::new(name, help, read)?)
    }

    pub(super) fn collector(&self, collector: impl Collector + 'static) -> prometheus::Result<()> {
        self.rows.borrow_mut().extend(rows(&collector));
        self.registry.register(Box::new(collector))
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.collector(metric.clone())?;
        Ok(metric)
    }
}

pub(super) fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

/// Returns the declarations of the metrics of a collector. A collector has a family for each metric, also before the
/// metric has a series.
fn rows(collector: &impl Collector) -> Vec<MetricRow> {
    let descriptions = collector.desc();
    let families = collector.collect();
    let rows = families.iter().map(|family| {
        let mut found = descriptions.iter();
        let found = found.find(|description| description.fq_name == family.name());
        MetricRow {
            name: family.name().to_owned(),
            kind: match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::HISTOGRAM => "histogram",
                MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => "gauge",
            },
            labels: found.map_or_else(Vec::new, |found| found.variable_labels.clone()),
            help: family.help().to_owned(),
        }
    });
    rows.collect()
}
