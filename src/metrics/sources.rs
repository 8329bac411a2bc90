//! Metrics of the set of sources.

use prometheus::IntGauge;

use super::declare::Declare;

/// Gauges of the set of sources.
#[derive(Clone, Debug)]
pub struct SourcesMetrics {
    loaded_at: IntGauge,
    refused: IntGauge,
}

impl SourcesMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            loaded_at: declare.gauge(
                "sources_loaded_timestamp_seconds",
                "Time since which the bridge uses the current set of sources, in seconds since the Unix epoch.",
            )?,
            refused: declare.gauge(
                "sources_refused",
                "1 if the bridge does not use the newest files of the sources because they have errors, otherwise 0.",
            )?,
        })
    }

    /// Sets the time since which the bridge uses the current set of sources.
    pub fn loaded_at(&self, seconds: i64) {
        self.loaded_at.set(seconds);
    }

    /// Sets whether the bridge does not use the newest files of the sources because they have errors.
    pub fn refused(&self, is_refused: bool) {
        self.refused.set(i64::from(is_refused));
    }
}
