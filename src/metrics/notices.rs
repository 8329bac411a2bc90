//! Metrics of the notices.

use prometheus::IntCounterVec;

use super::declare::Declare;

/// The result of a notice: the receiver has it.
const SENT: &str = "sent";
/// The result of a notice: the bridge has given it up.
const FAILED: &str = "failed";

/// The counter of the notices.
#[derive(Clone, Debug)]
pub struct NoticeMetrics {
    notices: IntCounterVec,
}

impl NoticeMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        let notices = declare.counters(
            "notices_total",
            "Notices to the webhook of the operators, by result: sent, or failed after the last attempt.",
            "result",
        )?;
        for result in [SENT, FAILED] {
            notices.with_label_values(&[result]);
        }
        Ok(Self { notices })
    }

    /// Counts a notice that the receiver has confirmed.
    pub fn sent(&self) {
        self.notices.with_label_values(&[SENT]).inc();
    }

    /// Counts a notice that the bridge does not send again.
    pub fn failed(&self) {
        self.notices.with_label_values(&[FAILED]).inc();
    }
}
