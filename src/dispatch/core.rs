//! The state machine of delivery, without IO. Pure.
//!
//! A [`Core`] is told what happened and what time it is, and answers with what to do next. The dispatcher carries that out
//! with tokio, the store and Imprint; the simulation in the tests carries out the same answers under virtual time. Nothing
//! about delivery is decided anywhere else.
//!
//! One core belongs to one dispatch thread. It is the only owner of that thread's deliveries (each a claimed lane, from the
//! claim to the settlement), of their permits, and of the count of requests in flight. What the threads share has its one
//! owner in [`Destination`]. The alternative, one core for all threads behind a lock, would hold that lock while it folds
//! and decides, and the threads would wait for each other.
//!
//! Invariants:
//! - A delivery is removed only when the store recorded its settlement, or answered that the lane is no longer ours.
//! - Permits are held by the record of a delivery and by nothing else, so whatever ends a delivery returns them.
//! - No request leaves without a [`SendPermit`](super::destination::SendPermit) and an [`InFlightPermit`].
//! - A request that may have been sent and was never assessed is in doubt, even if its task panicked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::delivery::Delivery;
use self::in_flight::InFlight;
use super::destination::{Destination, SendPermits};
use super::lane_exchange::{ImprintCall, ImprintReply};
use super::rules::DeliveryRules;
use crate::outbox::{Claim, LaneId, Pick, Settled, Settlement};
use crate::time::Timestamp;

pub use self::conclude::{Delivered, DestinationChange, Report};
pub use self::in_flight::InFlightPermit;

mod conclude;
mod delivery;
mod in_flight;

#[cfg(test)]
mod tests;

/// How often the store is asked for due lanes although nothing woke the loop: the fallback for a lost wake-up.
///
/// It is below the half second for which awc sets a timer with every request: the runtime makes a system call for each
/// timer that becomes its earliest.
pub const POLL_EVERY: Duration = Duration::from_millis(400);
/// How long to wait before the store is asked again for what it refused because it is busy or full.
pub const STORE_RETRY: Duration = Duration::from_millis(200);
/// One lane is prefetched per this many concurrent requests. That hides the latency of a store that needs half as long as
/// Imprint, and bounds the number of requests that are sent twice after a crash.
const REQUESTS_PER_PREFETCHED_LANE: usize = 2;

/// The limits of one dispatch thread.
#[derive(Clone, Copy, Debug)]
pub struct DispatchLimits {
    /// Requests in flight at once.
    pub concurrency: usize,
    /// How long one request may take.
    pub deadline: Duration,
    /// The delivery rules that the operator configured.
    pub rules: DeliveryRules,
}

/// What the caller reads before each call: the time, and a random number.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// Any number, each with the same probability.
    pub random: u32,
}

impl Moment {
    /// The random number as a fraction in `[0, 1)`.
    pub fn jitter(self) -> f64 {
        f64::from(self.random) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Names one delivery of a core. A lane that is claimed again is another delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(u64);

/// What the loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopAction {
    /// Claim due lanes; then call [`Core::on_claimed`] or [`Core::on_claim_refused`].
    Claim {
        /// At most this many.
        max: usize,
        /// Which of the due lanes.
        pick: Pick,
    },
    /// Nothing can be claimed before this time; then call [`Core::poll`].
    SleepUntil(Timestamp),
}

/// What is done next for one delivery.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an action is moved once; a box would be an allocation per request"
)]
pub enum LaneAction {
    /// Send this call to Imprint; then call [`Core::on_answer`].
    Call {
        /// The call.
        call: ImprintCall,
        /// The number of entries that the request carries.
        entries: usize,
    },
    /// Call [`Core::resume`] at this time.
    SleepUntil(Timestamp),
    /// Report the result, make the change of the destination durable, and record the settlement; then call
    /// [`Core::on_settled`] or [`Core::on_settle_refused`]. A change that the store refuses is given up: it costs a
    /// throttling that a restart cuts short, or some seconds of backoff.
    Settle(LaneResult),
    /// Nothing: the delivery has ended.
    Done,
}

/// The result of a delivery.
#[derive(Debug)]
pub struct LaneResult {
    /// What to log and count; `None` when the settlement is retried.
    pub report: Option<Report>,
    /// What other lanes and a restart must know.
    pub change: Option<DestinationChange>,
    /// What the store records.
    pub settlement: Settlement,
}

/// The deliveries of one dispatch thread.
#[derive(Debug)]
pub struct Core {
    destination: Arc<Destination>,
    limits: DispatchLimits,
    deliveries: HashMap<DeliveryId, Delivery>,
    /// Deliveries that wait for an [`InFlightPermit`], in the order of their claim.
    queue: VecDeque<DeliveryId>,
    in_flight: InFlight,
    /// The permits of the claim that the store is working on.
    claiming: Option<SendPermits>,
    last_id: u64,
    is_stopping: bool,
}

impl Core {
    /// A core without deliveries.
    pub fn new(destination: Arc<Destination>, limits: DispatchLimits) -> Self {
        Self {
            destination,
            limits,
            deliveries: HashMap::new(),
            queue: VecDeque::new(),
            in_flight: InFlight::new(limits.concurrency),
            claiming: None,
            last_id: 0,
            is_stopping: false,
        }
    }

    /// How many deliveries have not ended.
    pub fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    /// The lane of a delivery.
    pub fn lane(&self, id: DeliveryId) -> Option<LaneId> {
        self.deliveries.get(&id).map(|delivery| delivery.lane)
    }

    /// Says whether to claim lanes now. Only one claim is made at a time.
    pub fn poll(&mut self, moment: Moment) -> LoopAction {
        let free = self.lanes_max().saturating_sub(self.deliveries.len());
        if free == 0 || self.claiming.is_some() || self.is_stopping {
            return LoopAction::SleepUntil(moment.now.after(POLL_EVERY));
        }
        let permits = match self.destination.acquire(free, moment.now) {
            Ok(permits) => permits,
            Err(later) => return LoopAction::SleepUntil(later),
        };
        // A prefetched probe would be sent when a place becomes free, which may be just before the next probe.
        if permits.is_probe() && !self.in_flight.is_free() {
            return LoopAction::SleepUntil(moment.now.after(POLL_EVERY));
        }
        // A probe with a lane that always fails would tell nothing.
        let pick = if permits.is_probe() {
            Pick::LeastFailed(moment.random)
        } else {
            Pick::LongestDue
        };
        let max = permits.count();
        self.claiming = Some(permits);
        LoopAction::Claim { max, pick }
    }

    /// How many lanes may be held. Without a rate, some lanes are prefetched: otherwise Imprint would idle while a busy store
    /// takes one settlement and hands out the next lane. With a rate, prefetched lanes would collect tokens while Imprint is
    /// slow, and leave in one burst when it recovers.
    fn lanes_max(&self) -> usize {
        let concurrency = self.limits.concurrency;
        let prefetched = if self.destination.is_paced() {
            0
        } else {
            concurrency.div_ceil(REQUESTS_PER_PREFETCHED_LANE)
        };
        concurrency.saturating_add(prefetched)
    }

    /// Takes the claimed lanes in. Returns the time of the next [`Core::poll`]; [`Core::next_start`] says which of the lanes
    /// may start.
    pub fn on_claimed(&mut self, claim: Claim, now: Timestamp) -> Timestamp {
        let mut permits = self.claiming.take();
        for lane in claim.lanes {
            self.last_id += 1;
            let id = DeliveryId(self.last_id);
            let permit = permits.as_mut().and_then(SendPermits::take_one);
            self.deliveries.insert(id, Delivery::new(lane, permit));
            self.queue.push_back(id);
        }
        claim.next_due.unwrap_or_else(|| now.after(POLL_EVERY))
    }

    /// The store did not take the claim. Returns the time of the next [`Core::poll`].
    pub fn on_claim_refused(&mut self, now: Timestamp) -> Timestamp {
        self.claiming = None;
        now.after(STORE_RETRY)
    }

    /// The next delivery for [`Core::start`], if one more request may be in flight. To be asked after each other call.
    pub fn next_start(&mut self) -> Option<DeliveryId> {
        let next = self.queue.front().copied()?;
        let permit = if self.is_stopping {
            None
        } else {
            Some(self.in_flight.acquire()?)
        };
        self.queue.pop_front();
        if let Some(delivery) = self.deliveries.get_mut(&next) {
            delivery.in_flight = permit;
        }
        Some(next)
    }

    /// Folds the lane and says what to send first.
    pub fn start(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.start(context, moment))
    }

    /// Imprint answered a call.
    pub fn on_answer(&mut self, id: DeliveryId, reply: ImprintReply, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| {
            delivery.on_answer(reply, context, moment)
        })
    }

    /// The time of a [`LaneAction::SleepUntil`] has come.
    pub fn resume(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.resume(context, moment))
    }

    /// The task of a delivery panicked. The lane rests like one that failed; its entries still wait.
    pub fn on_lost(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.on_lost(context, moment))
    }

    /// The store did not take the settlement. Until it does, the lane is not sent again.
    pub fn on_settle_refused(&self, now: Timestamp) -> LaneAction {
        LaneAction::SleepUntil(now.after(STORE_RETRY))
    }

    /// The store answered a settlement. Returns it to be counted if it was recorded. A stale one changed nothing: the lane is
    /// no longer ours, and whoever claimed it again settles its entries.
    pub fn on_settled(&mut self, id: DeliveryId, answer: Settled) -> Option<Settlement> {
        let delivery = self.deliveries.remove(&id)?;
        match answer {
            Settled::Recorded => delivery.into_settlement(),
            Settled::Stale => None,
        }
    }

    /// Starts no further request. Deliveries in the queue are returned to the store by [`Core::next_start`]; those with a
    /// request in flight go on to their settlement.
    pub const fn stop(&mut self) {
        self.is_stopping = true;
    }

    fn advance(
        &mut self,
        id: DeliveryId,
        step: impl FnOnce(&mut Delivery, Context<'_>) -> LaneAction,
    ) -> LaneAction {
        let context = Context {
            destination: &self.destination,
            rules: &self.limits.rules,
        };
        self.deliveries
            .get_mut(&id)
            .map_or(LaneAction::Done, |delivery| step(delivery, context))
    }
}

/// What every delivery of a core works with.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    destination: &'a Destination,
    rules: &'a DeliveryRules,
}
