//! One step of the retirement of idle customers. See [`Ledger::retire_customers`](super::Ledger::retire_customers).

use super::LaneId;

/// The maximum number of lanes that one step scans. All other writers of the store wait meanwhile: about 20 ms if the step
/// retires them all.
pub const RETIRE_MAX: usize = 250;

/// The result of one step of the retirement of idle customers, which scans the lanes from one number upwards.
///
/// The lane of an idle customer becomes a tombstone: it keeps the versions, which contain no value, and a keyed digest
/// instead of the customer's id. The next event of the customer makes the tombstone a lane again, with the same versions.
///
/// A customer is idle if the store has no entry, no receipt and no identity link of the customer, if no request of the
/// customer is claimed, waits for its repetition or for proof, and if the newest of the deliveries whose values Imprint still
/// has is older than a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The number of customers that the step has retired.
    pub customers: usize,
    /// The lane from which the next step must continue. `None` after the last lane.
    pub next: Option<LaneId>,
}
