//! The state machine of dispatch: decides each step of the delivery of claimed lanes. This module is pure: it does no
//! IO and reads no clock.
//!
//! The caller reports each result and the time to a [`Core`], and the core returns the next action. The dispatcher
//! carries out the actions with tokio, the store and Imprint. The simulation in the tests carries out the same actions
//! under virtual time. No other module decides the next action of a delivery.
//!
//! A delivery is the work on one claimed lane, from the claim to the settlement. Each dispatch thread has one core. The
//! core alone owns the thread's deliveries, their permits, and the number of requests in flight. [`Destination`] owns
//! the state that the threads share. A single core for all threads would need a lock, and each thread would wait for
//! the lock while the core folds and decides.
//!
//! Invariants:
//! - The core removes a delivery only after the store has recorded its settlement, or has answered that the settlement
//!   is stale.
//! - Only the delivery itself holds its permits, so the end of a delivery always returns its permits.
//! - Dispatch sends no request without a [`SendPermit`](super::destination::SendPermit) and an [`InFlightPermit`].
//! - If a request was possibly sent and its result is unknown, its values are in doubt, even if the task of its
//!   delivery panicked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::delivery::Delivery;
use self::due_lanes::DueLanesKnown;
use self::in_flight::{InFlight, untried_places};
use super::destination::{Destination, Inquiry, SendPermits};
use super::evidence::SavedEvidence;
use super::lane_exchange::{ImprintCall, ImprintReply};
use super::rules::DeliveryRules;
use crate::outbox::{Claim, ClaimToken, EntryId, LaneId, Pick, Settled, Settlement, Standing};
use crate::time::Timestamp;

pub use self::conclude::{
    Delivered, DestinationChange, Report, conclude_inquiry, describe_lookup, describe_outcome,
};
pub use self::in_flight::InFlightPermit;
pub use super::moment::Moment;
pub use super::stored_wait::StoredWait;

mod claim_end;
mod conclude;
mod delivery;
mod due_lanes;
mod in_flight;
mod shares;
mod slow;

#[cfg(test)]
mod tests;

/// The longest wait before the dispatch loop asks the store for due lanes again. The poll finds lanes whose wake-up was
/// lost.
///
/// 400 ms is shorter than the 500 ms timer that awc sets for every request. The runtime makes a system call whenever a
/// new timer is earlier than all other timers. The timer of the loop is earlier, so the timers of awc cause no system
/// calls.
pub const POLL_EVERY: Duration = Duration::from_millis(400);
/// The delay before dispatch repeats an operation that the store refused because the store was busy or full.
pub const STORE_RETRY: Duration = Duration::from_millis(200);
/// Dispatch prefetches one lane for this number of concurrent requests.
///
/// A prefetched lane hides the latency of a store that needs half as long as Imprint for an answer. The limit on
/// prefetched lanes also limits the requests that dispatch sends twice after a crash.
const REQUESTS_PER_PREFETCHED_LANE: usize = 2;

/// The limits of one dispatch thread.
#[derive(Clone, Copy, Debug)]
pub struct DispatchLimits {
    /// The maximum number of requests of this dispatch thread that are in flight at once.
    pub concurrency: usize,
    /// The longest time of one request to Imprint.
    pub deadline: Duration,
    /// The delivery rules that the operator configured.
    pub rules: DeliveryRules,
}

/// The number of a delivery in its core. Each claim of a lane starts a new delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(u64);

/// The next action of the dispatch loop.
#[derive(Debug)]
pub enum LoopAction {
    /// Claim due lanes from the store. Then call [`Core::on_claimed`] or [`Core::on_claim_refused`].
    Claim {
        /// The maximum number of lanes to claim. With 0, the core only looks whether a lane is due.
        max: usize,
        /// The rule that selects among the due lanes.
        pick: Pick,
    },
    /// Retrieve the customer of the inquiry, pass the result to [`conclude_inquiry`], and call [`Core::poll`] again at
    /// once, without waiting for the result.
    AskWitness(Inquiry),
    /// Save the evidence in the store. If [`SavedEvidence::wakes_lanes`] is true, make due the lanes that wait for
    /// proof. Then call [`Core::poll`] again at once.
    SaveEvidence(SavedEvidence),
    /// Call [`Core::poll`] again at this time. The core will not claim a lane earlier.
    SleepUntil(Timestamp),
}

/// The next action for one delivery of a lane.
#[derive(Debug)]
pub enum LaneAction {
    /// If the claim is surely valid, also immediately before the first byte of an update, send this call to Imprint. Then
    /// pass the answer to [`Core::on_answer`]. Otherwise call [`Core::on_claim_ended`].
    Call {
        call: ImprintCall,
        /// The claim of the lane.
        claim: ClaimToken,
        /// The number of entries whose values the request contains.
        entries: usize,
        /// The entry that operators see with the request: the newest entry of the request. If the request has none, the newest
        /// entry of the lane.
        entry: Option<EntryId>,
    },
    /// Wait until this time. Then call [`Core::resume`].
    SleepUntil(Timestamp),
    /// Report the result, save the change of the destination in the store, and record the settlement. Then call
    /// [`Core::on_settled`] or [`Core::on_settle_refused`].
    ///
    /// If the store refuses the change of the destination, the dispatcher drops the change. A restart then possibly
    /// ends a throttling too early, or lanes rest some seconds longer.
    Settle(LaneResult),
    /// Do nothing: the delivery has ended.
    Done,
}

/// The result of one delivery: the report, the change of the destination, and the settlement.
#[derive(Debug)]
pub struct LaneResult {
    /// The report for the log and the metrics. `None` means that dispatch repeats a settlement.
    pub report: Option<Report>,
    /// A change of the destination that affects other lanes or a restart.
    pub change: Option<DestinationChange>,
    /// The settlement that the store records.
    pub settlement: Arc<Settlement>,
}

/// The deliveries of one dispatch thread.
#[derive(Debug)]
pub struct Core {
    destination: Arc<Destination>,
    limits: DispatchLimits,
    deliveries: HashMap<DeliveryId, Delivery>,
    /// The deliveries that wait for an [`InFlightPermit`], in the order of their claims. The standing decides which
    /// request slots are open to the lane.
    queue: VecDeque<(DeliveryId, Standing)>,
    in_flight: InFlight,
    /// The number of deliveries whose lanes came from the queue of failing lanes.
    failing: usize,
    /// The number of claimed lanes that Imprint answered before, since the last claim of an untried lane.
    well_in_a_row: usize,
    /// The send permits of the claim in progress.
    claiming: Option<SendPermits>,
    due: DueLanesKnown,
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
            well_in_a_row: 0,
            claiming: None,
            due: DueLanesKnown::default(),
            last_id: 0,
            is_stopping: false,
        }
    }

    /// Returns the number of deliveries that have not ended.
    pub fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    /// Returns the lane of a delivery. Returns `None` if the delivery has ended.
    pub fn lane(&self, id: DeliveryId) -> Option<LaneId> {
        self.deliveries.get(&id).map(|delivery| delivery.lane)
    }

    /// Returns the next action of the dispatch loop. At most one claim is in progress at a time.
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
        let well = self.deliveries.values().filter(|lane| lane.is_well());
        let limits = (self.limits.concurrency, self.limits.deadline);
        let slow = slow::limit(&self.in_flight, limits, well, moment.now);
        let free = slow.map_or(free, |slow| slow.free.min(free));
        let is_claiming = self.claiming.is_some() || self.due.is_looking();
        if free == 0 || is_claiming || self.is_stopping {
            let next = slow.and_then(|slow| slow.next).into_iter();
            let poll = moment.now.after(POLL_EVERY);
            return LoopAction::SleepUntil(next.fold(poll, Timestamp::min));
        }
        // A process that wins a probe and has no request slot for it would keep the other processes from probing.
        if !self.in_flight.is_free() && self.destination.is_shared_probe_due(moment.now) {
            return LoopAction::SleepUntil(moment.now.after(POLL_EVERY));
        }
        if let Some(look) = self.look(moment.now) {
            return look;
        }
        let mut permits = match self.destination.acquire(free, moment.now) {
            Ok(permits) => permits,
            Err(later) => return LoopAction::SleepUntil(later),
        };
        // Claim no lane for a probe before a request slot is free: dispatch could send a waiting probe just before the
        // next one.
        if permits.is_probe() && !self.in_flight.is_free() {
            return LoopAction::SleepUntil(moment.now.after(POLL_EVERY));
        }
        // Choose a lane that seldom fails for a probe: a lane that always fails shows nothing about the destination.
        let pick = if permits.is_arrival_probe() {
            Pick::NotFailed
        } else if permits.is_probe() {
            Pick::LeastFailed(moment.random)
        } else {
            Pick::LongestDue(self.shares(&mut permits, slow.is_some()))
        };
        let max = permits.count();
        self.claiming = Some(permits);
        self.due.claims(max);
        LoopAction::Claim { max, pick }
    }

    /// Returns the maximum number of lanes that the core delivers at the same time.
    ///
    /// Without a rate limit, the core prefetches some lanes: otherwise Imprint would be idle while a busy store records
    /// one settlement and returns the next lane. With a rate limit, each prefetched lane would hold a token while
    /// Imprint is slow, and dispatch would send all these lanes at once when Imprint recovers.
    fn lanes_max(&self) -> usize {
        let concurrency = self.limits.concurrency;
        let prefetched = if self.destination.is_paced() {
            0
        } else {
            concurrency.div_ceil(REQUESTS_PER_PREFETCHED_LANE)
        };
        concurrency.saturating_add(prefetched)
    }

    /// Adds the claimed lanes as deliveries and returns the time of the next [`Core::poll`]. [`Core::next_start`]
    /// returns the deliveries that can start.
    pub fn on_claimed(&mut self, claim: Claim, now: Timestamp) -> Timestamp {
        if let Some(poll_at) = self.looked(&claim, now) {
            return poll_at;
        }
        self.note_due(&claim, now);
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
            match standing {
                Standing::Well => self.well_in_a_row = self.well_in_a_row.saturating_add(1),
                Standing::Untried => self.well_in_a_row = 0,
                Standing::Failing => self.failing += 1,
            }
            self.deliveries.insert(id, Delivery::new(lane, permit));
            // A probe can use a reserved request slot: otherwise hanging untried lanes could delay the probe, and with
            // it every other probe.
            let places = if is_probe { Standing::Well } else { standing };
            self.queue.push_back((id, places));
        }
        let is_arrival_probe = permits.is_some_and(|permits| permits.is_arrival_probe());
        let next_probe = is_arrival_probe.then(|| self.destination.next_probe());
        let next_failing = (claim.is_failing_left && !is_arrival_probe).then(|| {
            // When the delivery of a failing lane ends, the dispatcher polls anyway. `next_failing` is therefore only
            // the time of the next token.
            let next = self.destination.next_failing();
            if now < next {
                next
            } else {
                now.after(POLL_EVERY)
            }
        });
        // When the delivery of an untried lane ends, the dispatcher polls anyway.
        let next_untried = claim.is_untried_left.then(|| now.after(POLL_EVERY));
        let next_due = claim
            .next_due
            .into_iter()
            .chain(next_failing)
            .chain(next_untried);
        let next_due = next_due.chain(next_probe.flatten()).min();
        next_due.unwrap_or_else(|| now.after(POLL_EVERY))
    }

    /// Returns the permits of a claim that the store refused. The result is the time of the next [`Core::poll`].
    pub fn on_claim_refused(&mut self, now: Timestamp) -> Timestamp {
        self.claiming = None;
        self.due.refused();
        now.after(STORE_RETRY)
    }

    /// Returns the next delivery for [`Core::start`] if a request slot is free. The dispatcher must call `next_start`
    /// after every call of a different function of the core.
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

    /// Folds the waiting entries of a delivery's lane into one request, and returns the first action of the delivery.
    pub fn start(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.start(context, moment))
    }

    /// Processes Imprint's answer to a call of a delivery and returns the next action of the delivery.
    pub fn on_answer(&mut self, id: DeliveryId, reply: ImprintReply, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| {
            delivery.on_answer(reply, context, moment)
        })
    }

    /// Continues a delivery after its [`LaneAction::SleepUntil`] and returns the next action of the delivery.
    pub fn resume(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.resume(context, moment))
    }

    /// Settles a delivery whose task panicked. The lane rests as after a failed request, and its entries continue to
    /// wait.
    pub fn on_lost(&mut self, id: DeliveryId, moment: Moment) -> LaneAction {
        self.advance(id, |delivery, context| delivery.on_lost(context, moment))
    }

    /// Returns the wait before the dispatcher repeats a settlement that the store refused. The lane stays claimed
    /// during the wait.
    pub fn on_settle_refused(&self, now: Timestamp) -> LaneAction {
        LaneAction::SleepUntil(now.after(STORE_RETRY))
    }

    /// Ends a delivery after the store has answered the settlement. If the store has recorded the settlement, returns
    /// the settlement for the metrics.
    ///
    /// A stale settlement has changed nothing: the lane's next claim ends with its own settlement.
    pub fn on_settled(&mut self, id: DeliveryId, answer: Settled) -> Option<Arc<Settlement>> {
        let delivery = self.deliveries.remove(&id)?;
        self.failing -= usize::from(delivery.is_failing());
        match answer {
            Settled::Recorded => delivery.into_settlement(),
            Settled::Stale => None,
        }
    }

    /// Stops the core: no further request starts. [`Core::next_start`] returns the queued deliveries, so that their
    /// lanes go back to the store unsent. Other deliveries continue until their settlement.
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
