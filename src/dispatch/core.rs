//! The state machine that delivers lanes. This module is pure: it does no IO and reads no clock.
//!
//! The caller reports each event and the time to a [`Core`], and the core returns the next action. The dispatcher
//! carries the action out with tokio, the store and Imprint; the simulation in the tests carries out the same actions
//! under virtual time. No other module decides the next action of a delivery.
//!
//! Each dispatch thread has one core. The core alone owns the thread's deliveries (a delivery is a claimed lane, from
//! the claim to the settlement), their permits, and the number of requests in flight. [`Destination`] owns the state
//! that the threads share. One core for all threads would need a lock, and the threads would wait for each other while
//! the core folds and decides.
//!
//! Invariants:
//! - A delivery is removed only after the store recorded its settlement, or answered that the settlement is stale.
//! - Only the record of a delivery holds the permits of the delivery, so the end of a delivery always returns its
//!   permits.
//! - No request leaves without a [`SendPermit`](super::destination::SendPermit) and an [`InFlightPermit`].
//! - A request that may have been sent without an assessed result is in doubt, even if the task of its delivery
//!   panicked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::delivery::Delivery;
use self::in_flight::InFlight;
use super::destination::{Destination, Inquiry, SendPermits};
use super::evidence::SavedEvidence;
use super::lane_exchange::{ImprintCall, ImprintReply};
use super::rules::DeliveryRules;
use crate::outbox::{Claim, FailingShare, LaneId, LaneShares, Pick, Settled, Settlement, Standing};
use crate::time::Timestamp;

pub use self::conclude::{Delivered, DestinationChange, Report, conclude_inquiry};
pub use self::in_flight::InFlightPermit;
pub use super::moment::Moment;

mod conclude;
mod delivery;
mod in_flight;

#[cfg(test)]
mod tests;

/// The longest wait of the dispatch loop before it asks the store for due lanes again: the fallback for a lost wake-up.
///
/// 400 ms is shorter than the 500 ms timer that awc sets with every request. The runtime makes a system call for each
/// timer that becomes its earliest timer, so the timer of the loop should stay the earliest one.
pub const POLL_EVERY: Duration = Duration::from_millis(400);
/// The delay before dispatch repeats an operation that the store refused because the store was busy or full.
pub const STORE_RETRY: Duration = Duration::from_millis(200);
/// The number of concurrent requests for which the dispatcher prefetches one lane. The prefetched lane hides the
/// latency of a store that needs half as long as Imprint. The limit on prefetched lanes also limits the number of
/// requests that are sent twice after a crash.
const REQUESTS_PER_PREFETCHED_LANE: usize = 2;

/// The number of concurrent requests for which one request of a failing lane (a lane whose last request failed) may be
/// in flight. However many lanes fail or hang, three quarters of the places stay free for the other lanes.
const REQUESTS_PER_FAILING_LANE: usize = 4;

/// The number of concurrent requests for which one place is kept for lanes that Imprint answered before. New customers,
/// however many, cannot fill these places, even if their first requests hang.
const REQUESTS_PER_KEPT_PLACE: usize = 4;

/// The limits of one dispatch thread.
#[derive(Clone, Copy, Debug)]
pub struct DispatchLimits {
    /// The most requests that the dispatch thread may have in flight at once.
    pub concurrency: usize,
    /// The longest time that one request to Imprint may take.
    pub deadline: Duration,
    /// The delivery rules that the operator configured.
    pub rules: DeliveryRules,
}

/// The number of one delivery in a core. Each claim of a lane starts a new delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(u64);

/// The next action of the dispatch loop.
#[derive(Debug)]
pub enum LoopAction {
    /// Claim due lanes from the store; then call [`Core::on_claimed`] or [`Core::on_claim_refused`].
    Claim {
        /// The most lanes to claim from the store.
        max: usize,
        /// The rule that selects among the due lanes.
        pick: Pick,
    },
    /// Retrieve the customer of the inquiry, pass the result to [`conclude_inquiry`], and call [`Core::poll`] again at
    /// once, without waiting for the result.
    AskWitness(Inquiry),
    /// Save the evidence in the store, make the lanes due that wait for the evidence if the evidence says so, and call [`Core::poll`] again
    /// at once.
    SaveEvidence(SavedEvidence),
    /// Call [`Core::poll`] again at this time: nothing can be claimed earlier.
    SleepUntil(Timestamp),
}

/// The next action for one delivery of a lane.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an action is moved once; a box would be an allocation per request"
)]
pub enum LaneAction {
    /// Send this call to Imprint; then pass the answer to [`Core::on_answer`].
    Call {
        call: ImprintCall,
        /// The number of entries that the request carries.
        entries: usize,
    },
    /// Wait until this time; then call [`Core::resume`].
    SleepUntil(Timestamp),
    /// Report the result, save the change of the destination in the store, and record the settlement; then call
    /// [`Core::on_settled`] or [`Core::on_settle_refused`]. If the store refuses the change of the destination, the
    /// dispatcher drops the change: a restart may then end a throttling too early, or lanes may rest some seconds
    /// longer.
    Settle(LaneResult),
    /// Do nothing: the delivery has ended.
    Done,
}

/// The result of one delivery: the report, the change of the destination, and the settlement.
#[derive(Debug)]
pub struct LaneResult {
    /// The report for the log and the metrics; `None` when dispatch repeats a settlement.
    pub report: Option<Report>,
    /// The change of the destination that other lanes and a restart must know.
    pub change: Option<DestinationChange>,
    /// The settlement that the store records.
    pub settlement: Settlement,
}

/// The deliveries of one dispatch thread.
#[derive(Debug)]
pub struct Core {
    destination: Arc<Destination>,
    limits: DispatchLimits,
    deliveries: HashMap<DeliveryId, Delivery>,
    /// The deliveries that wait for an [`InFlightPermit`], in the order of their claim, with the standing that
    /// decides about the places of each lane.
    queue: VecDeque<(DeliveryId, Standing)>,
    in_flight: InFlight,
    /// The number of deliveries of failing lanes.
    failing: usize,
    /// The send permits of the claim that the store is working on.
    claiming: Option<SendPermits>,
    last_id: u64,
    is_stopping: bool,
}

impl Core {
    /// Creates a core without deliveries.
    pub fn new(destination: Arc<Destination>, limits: DispatchLimits) -> Self {
        Self {
            destination,
            limits,
            deliveries: HashMap::new(),
            queue: VecDeque::new(),
            in_flight: InFlight::new(limits.concurrency, untried_places(limits.concurrency)),
            failing: 0,
            claiming: None,
            last_id: 0,
            is_stopping: false,
        }
    }

    /// Returns the number of deliveries that have not ended.
    pub fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    /// Returns the lane of a delivery; `None` if the delivery has ended.
    pub fn lane(&self, id: DeliveryId) -> Option<LaneId> {
        self.deliveries.get(&id).map(|delivery| delivery.lane)
    }

    /// Decides whether the dispatch loop claims lanes now or sleeps. The core makes at most one claim at a time.
    pub fn poll(&mut self, moment: Moment) -> LoopAction {
        if !self.is_stopping
            && let Some(inquiry) = self.destination.ask_witness(moment.now)
        {
            return LoopAction::AskWitness(inquiry);
        }
        if let Some(evidence) = self.destination.evidence_to_save(moment.now) {
            return LoopAction::SaveEvidence(evidence);
        }
        let free = self.lanes_max().saturating_sub(self.deliveries.len());
        if free == 0 || self.claiming.is_some() || self.is_stopping {
            return LoopAction::SleepUntil(moment.now.after(POLL_EVERY));
        }
        let mut permits = match self.destination.acquire(free, moment.now) {
            Ok(permits) => permits,
            Err(later) => return LoopAction::SleepUntil(later),
        };
        // A prefetched probe would wait for a free request slot, and could then be sent just before the next probe.
        if permits.is_probe() && !self.in_flight.is_free() {
            return LoopAction::SleepUntil(moment.now.after(POLL_EVERY));
        }
        // A probe that uses a lane which always fails would show nothing about the destination.
        let pick = if permits.is_arrival_probe() {
            Pick::NotFailed
        } else if permits.is_probe() {
            Pick::LeastFailed(moment.random)
        } else {
            Pick::LongestDue(self.shares(&mut permits))
        };
        let max = permits.count();
        self.claiming = Some(permits);
        LoopAction::Claim { max, pick }
    }

    /// Returns the shares of the next claim for failing and untried lanes. One place is kept for failing lanes, because
    /// other lanes may be due for hours; a core with a single place keeps none, because failing lanes that hang would
    /// then fill the place.
    fn shares(&self, permits: &mut SendPermits) -> LaneShares {
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
        }
    }

    /// Returns the most lanes that the core may hold. Without a rate, the core prefetches some lanes: otherwise Imprint
    /// would idle while a busy store records one settlement and returns the next lane. With a rate, prefetched lanes
    /// would collect tokens while Imprint is slow, and dispatch would send them all at once when Imprint recovers.
    fn lanes_max(&self) -> usize {
        let concurrency = self.limits.concurrency;
        let prefetched = if self.destination.is_paced() {
            0
        } else {
            concurrency.div_ceil(REQUESTS_PER_PREFETCHED_LANE)
        };
        concurrency.saturating_add(prefetched)
    }

    /// Adds the claimed lanes as deliveries and returns the time of the next [`Core::poll`]; [`Core::next_start`]
    /// returns the deliveries that may start.
    pub fn on_claimed(&mut self, claim: Claim, now: Timestamp) -> Timestamp {
        let mut permits = self.claiming.take();
        let is_probe = permits.as_ref().is_some_and(SendPermits::is_probe);
        for lane in claim.lanes {
            self.last_id += 1;
            let id = DeliveryId(self.last_id);
            let standing = lane.standing;
            let permit = permits.as_mut().and_then(|permits| match standing {
                Standing::Failing => permits.take_one_failing(),
                Standing::Well | Standing::Untried => permits.take_one(),
            });
            self.failing += usize::from(standing == Standing::Failing);
            self.deliveries.insert(id, Delivery::new(lane, permit));
            // A probe may fill a kept place: if the probe waited for untried lanes that hang, nobody else could probe.
            let places = if is_probe { Standing::Well } else { standing };
            self.queue.push_back((id, places));
        }
        let is_arrival_probe = permits.is_some_and(|permits| permits.is_arrival_probe());
        let next_probe = is_arrival_probe.then(|| self.destination.next_probe());
        let next_failing = (claim.is_failing_left && !is_arrival_probe).then(|| {
            // The end of a failing lane's delivery also polls, so `next_failing` waits only for a token.
            let next = self.destination.next_failing();
            if now < next {
                next
            } else {
                now.after(POLL_EVERY)
            }
        });
        // The end of an untried lane's delivery also polls.
        let next_untried = claim.is_untried_left.then(|| now.after(POLL_EVERY));
        let next_due = claim
            .next_due
            .into_iter()
            .chain(next_failing)
            .chain(next_untried);
        let next_due = next_due.chain(next_probe.flatten()).min();
        next_due.unwrap_or_else(|| now.after(POLL_EVERY))
    }

    /// Gives back the permits of a claim that the store refused, and returns the time of the next [`Core::poll`].
    pub fn on_claim_refused(&mut self, now: Timestamp) -> Timestamp {
        self.claiming = None;
        now.after(STORE_RETRY)
    }

    /// Returns the next delivery for [`Core::start`] if one more request may be in flight. The dispatcher must call
    /// `next_start` after every other call of the core.
    pub fn next_start(&mut self) -> Option<DeliveryId> {
        let may_start =
            |(_, standing): &(_, Standing)| self.is_stopping || self.in_flight.admits(*standing);
        let place = self.queue.iter().position(may_start)?;
        let (next, standing) = self.queue.remove(place)?;
        let permit = match self.is_stopping {
            true => None,
            false => self.in_flight.acquire(standing),
        };
        if let Some(delivery) = self.deliveries.get_mut(&next) {
            delivery.in_flight = permit;
        }
        Some(next)
    }

    /// Folds the lane of a delivery and returns the first action of the delivery.
    pub fn start(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.start(context, moment))
    }

    /// Takes Imprint's answer to a call of a delivery and returns the next action of the delivery.
    pub fn on_answer(&mut self, id: DeliveryId, reply: ImprintReply, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| {
            delivery.on_answer(reply, context, moment)
        })
    }

    /// Continues a delivery after the time of its [`LaneAction::SleepUntil`] and returns the next action.
    pub fn resume(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.resume(context, moment))
    }

    /// Settles a delivery whose task panicked. The lane rests like a failed lane, and the entries of the lane still
    /// wait.
    pub fn on_lost(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.on_lost(context, moment))
    }

    /// Returns the wait before the dispatcher repeats a settlement that the store refused. The lane is not sent again
    /// during the wait.
    pub fn on_settle_refused(&self, now: Timestamp) -> LaneAction {
        LaneAction::SleepUntil(now.after(STORE_RETRY))
    }

    /// Ends a delivery after the store answered the settlement. Returns the settlement for the metrics if the store
    /// recorded the settlement. A stale settlement changed nothing: the process that claimed the lane again settles the
    /// entries of the lane.
    pub fn on_settled(&mut self, id: DeliveryId, answer: Settled) -> Option<Settlement> {
        let delivery = self.deliveries.remove(&id)?;
        self.failing -= usize::from(delivery.is_failing());
        match answer {
            Settled::Recorded => delivery.into_settlement(),
            Settled::Stale => None,
        }
    }

    /// Stops the core from starting requests. [`Core::next_start`] returns queued deliveries, whose lanes go back to
    /// the store unsent; deliveries with a request in flight continue to their settlement.
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

/// The destination and the rules that every delivery of a core uses.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    destination: &'a Destination,
    rules: &'a DeliveryRules,
}

/// Returns the number of places that untried lanes may fill: all but the places that are kept for lanes which Imprint
/// answered before. A core with a single place keeps none.
fn untried_places(concurrency: usize) -> usize {
    let kept = (concurrency / REQUESTS_PER_KEPT_PLACE).max(1);
    concurrency.saturating_sub(kept).max(1)
}
