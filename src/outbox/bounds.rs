//! The bounds of one claim, and the number of lanes that the store treats as possibly in flight after a crash.
//!
//! No bound is allowed to influence the final values at Imprint. The tests therefore also run the storage engines with
//! very small bounds.

/// The maximum number of entries of a lane that one claim reads, starting with the newest entry.
///
/// The limit is high enough to fold the changes of a busy customer into few requests, and low enough to keep a claim of
/// many lanes small in memory.
pub const WAITING_WINDOW: usize = 1000;

/// The maximum number of further entries that one claim reads from a lane with more than [`WAITING_WINDOW`] entries,
/// starting with the oldest entry.
///
/// Without this second window, the oldest entries of a customer with many new events would never finish.
pub const OLDEST_WINDOW: usize = 50;

/// The number of due lanes from which dispatch selects the lane with the fewest failures to probe Imprint, or the lane
/// that became due last while many requests hang.
///
/// A higher number finds the lanes of healthy customers behind more lanes of hanging customers.
pub const PROBE_WINDOW: usize = 1024;

/// The maximum number of bytes of updates that one claim reads from a lane. The last entry that the claim reads does
/// not count.
///
/// The product of this limit and the number of lanes in flight limits the memory of all claims. For the oldest entries
/// of a lane, a claim can read a quarter of this limit in addition.
pub const CLAIM_BYTES_MAX: usize = 256 * 1024;

/// The maximum number of lanes in flight at once. No configuration can raise this limit.
pub const IN_FLIGHT_MAX: usize = 4096;

/// After a crash, the store treats the first lanes of each queue as possibly in flight: this many lanes of each queue,
/// in the order of their due times.
///
/// Dispatch claims at most 1.5 times [`IN_FLIGHT_MAX`] lanes: the lanes in flight, and half as many lanes in advance. A
/// lane in flight is therefore among the first 1.5 times [`IN_FLIGHT_MAX`] lanes of its queue. The remaining lanes are
/// a reserve for probes, which select a lane from the [`PROBE_WINDOW`], and for lanes that arrive during a claim.
const CLAIMED_MAX: usize = 2 * IN_FLIGHT_MAX;

/// The bounds of claims, and the number of lanes that are possibly in flight after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimBounds {
    /// The maximum number of waiting entries that a claim reads from a lane, starting with the newest entry.
    pub newest: usize,
    /// The maximum number of further waiting entries that a claim reads from a lane, starting with the oldest entry.
    pub oldest: usize,
    /// The maximum number of bytes of updates that a claim reads from a lane, starting with the newest entry.
    pub bytes: usize,
    /// The number of lanes of each queue that the store treats as possibly in flight after a crash.
    pub in_flight: usize,
    /// The number of due lanes from which dispatch selects the lane with the fewest failures to probe Imprint, or the
    /// lane that became due last while many requests hang.
    pub probe: usize,
}

impl Default for ClaimBounds {
    fn default() -> Self {
        Self {
            newest: WAITING_WINDOW,
            oldest: OLDEST_WINDOW,
            bytes: CLAIM_BYTES_MAX,
            in_flight: CLAIMED_MAX,
            probe: PROBE_WINDOW,
        }
    }
}

impl ClaimBounds {
    /// Returns the maximum number of bytes of updates that a claim reads in addition, starting with the oldest entry.
    pub(super) const fn oldest_bytes(self) -> usize {
        self.bytes / 4
    }
}
