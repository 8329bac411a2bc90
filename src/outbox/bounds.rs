//! The bounds of one claim, and of the lanes that a start after a crash takes for possibly in flight.
//!
//! No bound may change the final values at Imprint. The tests therefore run the engines also with very small bounds.

/// The most entries of a lane that one claim reads, starting with the newest.
///
/// The limit is high enough to fold the changes of a busy customer into few requests, and low enough to keep a claim of
/// many lanes small in memory.
pub const WAITING_WINDOW: usize = 1000;

/// The most entries of a longer lane that one claim reads in addition, starting with the oldest.
///
/// Without these entries, a customer with many new events would keep the oldest entries from ever ending.
pub const OLDEST_WINDOW: usize = 50;

/// The number of due lanes from which a probe selects the lane that has failed least.
pub const PROBE_WINDOW: usize = 256;

/// The most bytes of updates that one claim reads from a lane, not counting the last entry.
///
/// This limit times the number of lanes in flight is the limit on the memory of claims. The oldest entries of a lane may
/// use a quarter more.
pub const CLAIM_BYTES_MAX: usize = 256 * 1024;

/// The most lanes in flight at once, whatever the configuration says.
pub const IN_FLIGHT_MAX: usize = 4096;

/// The number of lanes, the first of each queue in due order, that a start after a crash takes for possibly in flight.
///
/// Dispatch claims half as many lanes in advance as it may have in flight, and the lanes of several dispatch threads
/// mix, so a lane in flight is among the first 1.5 times [`IN_FLIGHT_MAX`] lanes. The rest is for the
/// [`PROBE_WINDOW`], and for lanes that arrive at the same time.
const CLAIMED_MAX: usize = 2 * IN_FLIGHT_MAX;

/// The bounds of claims and of the doubt after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimBounds {
    /// The most waiting entries of a lane that a claim reads, starting with the newest.
    pub newest: usize,
    /// The most waiting entries that a claim reads in addition, starting with the oldest.
    pub oldest: usize,
    /// The most bytes of updates that a claim reads from a lane, starting with the newest entry.
    pub bytes: usize,
    /// The number of lanes of each queue that a start after a crash takes for possibly in flight.
    pub in_flight: usize,
    /// The number of due lanes from which a probe selects the lane that has failed least.
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
    /// Returns the most bytes of updates that a claim reads in addition, starting with the oldest entry.
    pub(super) const fn oldest_bytes(self) -> usize {
        self.bytes / 4
    }
}
