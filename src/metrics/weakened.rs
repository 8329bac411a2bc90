//! The metric of the weakenings: each protection that the configuration or the machine has switched off.

use prometheus::IntGaugeVec;

use super::LabelSets;
use super::declare::Declare;

/// A gauge for each weakening of the protection.
#[derive(Clone, Debug)]
pub struct WeakenedMetrics {
    gauges: IntGaugeVec,
    names: &'static [&'static str],
}

impl WeakenedMetrics {
    pub(super) fn new(declare: &Declare<'_>, labels: LabelSets) -> prometheus::Result<Self> {
        let metrics = Self {
            gauges: declare.gauges(
                "weakened",
                "1 for each protection that the configuration or the machine has switched off, otherwise 0.",
                "weakening",
            )?,
            names: labels.weakenings,
        };
        metrics.set(&[]);
        Ok(metrics)
    }

    /// Sets the weakenings that apply now.
    pub fn set(&self, present: &[&str]) {
        for name in self.names {
            let gauge = self.gauges.with_label_values(&[*name]);
            gauge.set(i64::from(present.contains(name)));
        }
    }
}
