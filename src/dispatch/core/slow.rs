//! The rules while many requests are slow: a shard of Imprint possibly hangs. This module is pure: it does no IO and
//! reads no clock.
//!
//! Customers of the hanging shard were applied before, so their lanes look like all other lanes until their requests
//! time out. While many requests are slow, few further requests can start, so that free slots remain for lanes whose
//! requests Imprint answers quickly. The claim then takes the lanes that became due last, because the lanes of the
//! hanging shard wait longer.

use std::time::Duration;

use super::in_flight::InFlight;
use crate::time::Timestamp;

/// If this part of the request slots has slow requests, many requests are slow.
const SLOTS_PER_SLOW_REQUEST: usize = 4;
/// The number of deliveries of such lanes whose requests are not old yet, while many requests are slow.
const YOUNG_MAX: usize = 1;
/// While many requests are slow, hanging requests can take at most one part of this number of the request slots.
const SLOW_SHARE: u32 = 2;

/// The limit on deliveries while many requests are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlowLimit {
    /// The number of deliveries that can start now.
    pub(super) free: usize,
    /// The time at which a further delivery can start.
    pub(super) next: Option<Timestamp>,
}

/// Returns the limit on further deliveries. Returns `None` if few requests are slow. `well` contains the
/// deliveries of lanes that Imprint answered before and that did not fail. Untried and failing lanes have their own
/// limits.
///
/// A started delivery counts against the limit until its request is old. The age is so high that requests that hang
/// until the deadline cannot fill all slots.
pub(super) fn limit(
    in_flight: &InFlight,
    (concurrency, deadline): (usize, Duration),
    well: impl Iterator,
    now: Timestamp,
) -> Option<SlowLimit> {
    let many = (concurrency / SLOTS_PER_SLOW_REQUEST).max(1);
    if in_flight.slow(now) < many {
        return None;
    }
    let slots = u32::try_from(concurrency).unwrap_or(u32::MAX).max(1);
    let old = in_flight.slow_after().max(deadline * SLOW_SHARE / slots);
    let young = well.count().saturating_sub(in_flight.older_than(old, now));
    Some(SlowLimit {
        free: YOUNG_MAX.saturating_sub(young),
        next: in_flight.next_older(old, now),
    })
}
