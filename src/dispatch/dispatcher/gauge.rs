//! The gauge of requests in flight.

use crate::metrics::DispatchMetrics;

/// Counts one request as in flight while this value exists.
pub(super) struct InFlightGauge<'a>(&'a DispatchMetrics);

impl<'a> InFlightGauge<'a> {
    pub(super) fn raise(metrics: &'a DispatchMetrics) -> Self {
        metrics.in_flight(1);
        Self(metrics)
    }
}

impl Drop for InFlightGauge<'_> {
    fn drop(&mut self) {
        self.0.in_flight(-1);
    }
}
