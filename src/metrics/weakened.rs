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
        for name in metrics.names {
            metrics.show(name, false);
        }
        Ok(metrics)
    }

    /// Sets whether a weakening applies now.
    pub fn show(&self, name: &str, is_present: bool) {
        let gauge = self.gauges.with_label_values(&[name]);
        gauge.set(i64::from(is_present));
    }

    /// Returns the names of the weakenings that apply now.
    pub fn present(&self) -> Vec<&'static str> {
        let names = self.names.iter().copied();
        let is_present = |name: &&str| self.gauges.with_label_values(&[*name]).get() == 1;
        names.filter(is_present).collect()
    }
}
