//! Metrics of the sealing of the store.

use prometheus::IntGauge;

use super::declare::Declare;

/// Gauges of the sealing of the store.
#[derive(Clone, Debug)]
pub(super) struct SealingMetrics {
    missing_keys: IntGauge,
    removable_keys: IntGauge,
    locked_lanes: IntGauge,
    left: IntGauge,
    plain: IntGauge,
    unreadable: IntGauge,
}

/// The state of the sealing, as the gauges show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealingSnapshot {
    /// The number of keys that records need and that the process does not have.
    pub missing_keys: u64,
    /// The number of keys of the process that no record needs.
    pub removable_keys: u64,
    /// The number of customers whose entries wait for a missing key.
    pub locked_lanes: u64,
    /// The number of records at which the bridge has yet to look, to seal them again with the newest key.
    pub left: u64,
    /// True if some records, or remains of records in the files of the store, are possibly not sealed.
    pub has_plain: bool,
}

impl SealingMetrics {
    pub(super) fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            missing_keys: declare.gauge(
                "sealing_missing_keys",
                "Sealing keys that records in the store need and that the bridge does not have.",
            )?,
            removable_keys: declare.gauge(
                "sealing_removable_keys",
                "Sealing keys that no record in the store needs any more.",
            )?,
            locked_lanes: declare.gauge(
                "sealing_locked_lanes",
                "Customers whose entries wait because a sealing key is missing.",
            )?,
            left: declare.gauge(
                "sealing_left",
                "Entries, customers and audit records that the bridge has yet to look at, to seal them with the newest key.",
            )?,
            plain: declare.gauge(
                "sealing_plain",
                "1 if some records in the store, or remains of records in its file, are possibly not sealed, otherwise 0.",
            )?,
            unreadable: declare.gauge(
                "sealing_keys_unreadable",
                "1 if the bridge could not read the files of the sealing keys the last time, otherwise 0.",
            )?,
        })
    }

    pub(super) fn set(&self, sealing: SealingSnapshot) {
        for (gauge, value) in [
            (&self.missing_keys, sealing.missing_keys),
            (&self.removable_keys, sealing.removable_keys),
            (&self.locked_lanes, sealing.locked_lanes),
            (&self.left, sealing.left),
            (&self.plain, u64::from(sealing.has_plain)),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn set_unreadable(&self, is_unreadable: bool) {
        self.unreadable.set(i64::from(is_unreadable));
    }
}
