//! The shares of a claim for failing lanes and for untried lanes. This module is pure: it does no IO and reads no clock.

use super::Core;
use super::in_flight::untried_places;
use crate::dispatch::destination::SendPermits;
use crate::outbox::{FailingShare, LaneShares, Standing, UntriedOrder};

/// In each group of this many request slots, one slot is open to failing lanes: lanes whose last request failed.
///
/// Even if thousands of lanes fail or hang, three quarters of the request slots stay free for other lanes.
const REQUESTS_PER_FAILING_LANE: usize = 4;
/// While the first requests of many new customers fail, one untried lane follows after this number of lanes that Imprint
/// answered before. Otherwise a new customer could wait for hours behind the updates of known customers.
const WELL_PER_UNTRIED_LANE: usize = 7;

impl Core {
    /// Returns the shares of the next claim for failing and untried lanes.
    ///
    /// One place is kept for failing lanes, because other lanes can fill every claim for hours. A core with a single
    /// request slot keeps no place, because hanging failing lanes would fill the only slot.
    pub(super) fn shares(&self, permits: &mut SendPermits, newest_first: bool) -> LaneShares {
        let concurrency = self.limits.concurrency;
        let places = (concurrency / REQUESTS_PER_FAILING_LANE).max(1);
        let max = permits.allow_failing(places.saturating_sub(self.failing));
        let is_kept = concurrency > 1 && self.failing == 0;
        let failing = FailingShare {
            kept: max.min(usize::from(is_kept)),
            max,
        };
        let is_untried = |(_, standing): &&(_, Standing)| *standing == Standing::Untried;
        let queued = self.queue.iter().filter(is_untried).count();
        let held = queued + self.in_flight.untried() + self.failing;
        let kept = concurrency.saturating_sub(untried_places(concurrency));
        LaneShares {
            failing,
            untried_max: self.lanes_max().saturating_sub(kept + held),
            newest_first,
            untried: self.untried_order(),
        }
    }

    fn untried_order(&self) -> UntriedOrder {
        if self.destination.are_first_requests_failing() {
            let is_kept = self.well_in_a_row >= WELL_PER_UNTRIED_LANE;
            UntriedOrder::Last {
                kept: usize::from(is_kept),
            }
        } else {
            UntriedOrder::ByDueTime
        }
    }
}
